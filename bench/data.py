"""The data: sessions of many tenants, seeded, as import lines and as the peers' documents."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

Document = dict[str, Any]

SEED = 2026
PER_OWNER = 100
"""Sessions of a tenant, so that a page of 100 is full."""

_START = datetime(2026, 1, 5, 7, tzinfo=UTC)
_MODES = {"vector": 1, "text": 2, "hybrid": 3}
_OVERFLOWS = {None: 0, "truncate": 1, "adaptive": 2}
_TEXT = """
invoice order parcel depot warranty battery drill seat plan team renewal card bank refund window address
phone code mail second factor reset account desk answer customer question delivery weekend Tuesday morning
shelf book atlas map voucher member event garden machine paper dust bag rental sander grit ear protection
café naïve Zürich
"""
_WORDS = _TEXT.split()


@dataclass(frozen=True, slots=True)
class Size:
    """How much data there is."""

    owners: int

    @property
    def records(self) -> int:
        """The number of sessions."""
        return self.owners * PER_OWNER

    def names(self) -> list[str]:
        """Return the tenants."""
        return [f"tenant-{number:05}" for number in range(self.owners)]


def bodies(size: Size) -> Iterator[tuple[str, Document]]:
    """Yield each session with its tenant, as its REST contract prints it: about 2 KB."""
    dice = Random(SEED)
    for owner in size.names():
        moment = _START + timedelta(milliseconds=dice.randrange(10**9))
        for _ in range(PER_OWNER):
            moment += timedelta(milliseconds=dice.randrange(1, 10**7))
            yield owner, _body(dice, moment)


def _body(dice: Random, created: datetime) -> Document:
    updated = created + timedelta(milliseconds=dice.randrange(10**8))
    tools = dice.random() < 0.2
    return {
        "situation": _text(dice, 70),
        "system_template": _text(dice, 60) if dice.random() < 0.9 else None,
        "summary": _text(dice, 40),
        "render_templates": True,
        "token_budget": dice.choice((None, 4000, 16000)),
        "context_overflow": dice.choice(tuple(_OVERFLOWS)),
        "auto_run_tools": tools,
        "forward_tool_calls": not tools,
        "recall_options": {
            "mode": dice.choice(tuple(_MODES)),
            "num_search_messages": dice.randrange(1, 9),
            "max_query_length": 2000,
            "alpha": 0.7,
            "confidence": 0.55,
            "limit": 20,
            "lang": "en-GB",
            "metadata_filter": {"section": "faq", "public": True},
            "mmr_strength": 0.25,
            "trigram_similarity_threshold": 0.6,
            "k_multiplier": 7,
        },
        "id": str(uuid.UUID(int=dice.getrandbits(128), version=4)),
        "metadata": {
            "customer": f"C-{dice.randrange(10**6)}",
            "plan": dice.choice(("free", "pro", "team")),
            "priority": dice.randrange(4),
            "score": dice.choice((0.5, 0.82, 0.97)),
            "tags": dice.sample(_WORDS, 3),
            "device": {"os": dice.choice(("android", "ios")), "tablet": tools},
            "note": _text(dice, 30),
        },
        "created_at": _printed(created),
        "updated_at": _printed(updated),
        "kind": dice.choice((None, "single_agent_single_user")),
    }


def _text(dice: Random, words: int) -> str:
    return " ".join(dice.choices(_WORDS, k=words))


def _printed(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def line(owner: str, body: Document) -> Document:
    """Return a session's import line."""
    return {"kind": "session", "owner": {"developer_id": owner}, "body": body}


def rest_document(owner: str, body: Document) -> Document:
    """Return a session as a peer of REST keeps it: dates are dates."""
    times = {name: datetime.fromisoformat(body[name]) for name in ("created_at", "updated_at")}
    return {"developer_id": owner, **body, **times, "etag": body["id"][:24]}


def grpc_document(owner: str, body: Document) -> Document:
    """Return a session as a peer of gRPC keeps it: enums are numbers, as its message has them."""
    recall = {**body["recall_options"], "mode": _MODES[body["recall_options"]["mode"]]}
    overflow = _OVERFLOWS[body["context_overflow"]]
    return {**rest_document(owner, body), "recall_options": recall, "context_overflow": overflow}

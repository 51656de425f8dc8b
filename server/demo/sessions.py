"""Julep sessions: support desks of three tenants."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from server.demo.dice import DAY, HOUR, MINUTE, Dice, printed

Document = dict[str, Any]

SEED = 202


@dataclass(frozen=True, slots=True)
class _Case:
    """Why somebody writes, and how it ended; `tags` are what the desk files it under."""

    situation: str
    summary: str
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Tenant:
    id: str
    sessions: int
    about: str
    prefix: str
    plans: tuple[str, ...]
    cases: tuple[_Case, ...]


_TENANTS = (
    _Tenant(
        "acme",
        150,
        "You answer for Acme Tools, which sells workshop tools and rents out machines.",
        "C",
        ("free", "pro", "team"),
        (
            _Case(
                "{name} was charged twice for invoice {number} and would like one payment back.",
                "Found the second charge on invoice {number}; refunded, the bank needs up to five days.",
                ("billing", "refund"),
            ),
            _Case(
                "{name} asks where order {number} is; the parcel left the warehouse a few days ago.",
                "Order {number} was held at the depot over the weekend and arrives on Tuesday.",
                ("orders", "shipping"),
            ),
            _Case(
                "The battery of the cordless drill in order {number} no longer charges. {name} wants to know "
                "if the warranty covers it.",
                "Covered by the warranty. A new battery goes out today, the old one comes back in its box.",
                ("warranty",),
            ),
            _Case(
                "{name} wants to move from the free plan to a team plan for six people.",
                "Explained how seats are billed; {name} starts the team plan on the first of the month.",
                ("billing", "upgrade"),
            ),
            _Case(
                "{name} would like to rent a floor sander next weekend and asks what else is needed.",
                "Booked the sander with two grits of paper, ear protection and a dust bag.",
                ("rental",),
            ),
            _Case(
                "{name} cannot sign in after changing phones and has no recovery codes left.",
                "Confirmed who {name} is by e-mail and reset the second factor.",
                ("account", "security"),
            ),
        ),
    ),
    _Tenant(
        "harbour-books",
        90,
        "You help customers of Harbour Books, a small bookshop by the sea.",
        "HB",
        ("reader", "member"),
        (
            _Case(
                "{name} is looking for a picture book about lighthouses for a four-year-old.",
                "Suggested three titles; {name} reserved one for Saturday.",
                ("recommendation", "children"),
            ),
            _Case(
                "{name} ordered a second-hand atlas (order {number}) and two maps are missing.",
                "Took half off the price of order {number}; {name} keeps the atlas.",
                ("orders", "second-hand"),
            ),
            _Case(
                "{name} asks if the reading group on Thursday still has room.",
                "Two seats were left. {name} comes with a friend and brings lemon cake.",
                ("events",),
            ),
            _Case(
                "{name} wants to send gift voucher {number} to somebody else.",
                "Voucher {number} now goes to the new address.",
                ("vouchers",),
            ),
        ),
    ),
    _Tenant(
        "meadow-clinic",
        62,
        "You are the front desk of Meadow Clinic, a practice for animals. You give no diagnoses.",
        "P",
        ("standard", "care-plus"),
        (
            _Case(
                "{name} wants to move the vaccination of a young cat to next week.",
                "Moved to Wednesday morning; sent a reminder about the vaccination card.",
                ("appointment",),
            ),
            _Case(
                "{name} asks what bill {number} contains and whether insurance pays for it.",
                "Explained the three items of bill {number} and sent a copy for the insurer.",
                ("billing", "insurance"),
            ),
            _Case(
                "The dog of {name} has eaten half a pair of socks.",
                "Passed on to the vet on duty at once; the socks came out, the dog is well.",
                ("urgent",),
            ),
            _Case(
                "{name} needs more of the rabbit's eye drops.",
                "The prescription is good until autumn; the drops are ready at the desk.",
                ("prescription",),
            ),
        ),
    ),
)
_NAMES = (
    "Amara Okafor",
    "Benoît Lefèvre",
    "Chiara Conti",
    "Dmitri Volkov",
    "Elif Demir",
    "Freya Lindqvist",
    "Goran Petrović",
    "Hana Suzuki",
    "Ismael Ortega",
    "Jana Nováková",
    "Kwame Mensah",
    "Leila Haddad",
    "Mateus Rocha",
    "Niamh Byrne",
    "Oskar Wiśniewski",
    "Pooja Nair",
)
_TEMPLATE = (
    "{%- if agent.name -%}\nYou are {{agent.name}}.\n{%- endif -%}\n\n"
    "ABOUT\n\n"
    "{%- if user.name -%}\nYou are talking to {{user.name}}.\n{%- endif -%}\n\n"
    "{%- if session.situation -%}\nSituation: {{session.situation}}\n{%- endif -%}\n\n"
    "{%- for doc in docs -%}\n- {{doc.title}}: {{doc.content}}\n{%- endfor -%}"
)
_KINDS = (None, None, "single_agent_single_user", "single_agent_single_user", "multi_agent_single_user")
_RECALLS: tuple[Document | None, ...] = (
    None,
    None,
    {},
    {"mode": "vector", "limit": 5},
    {"mode": "hybrid", "alpha": 0.5, "trigram_similarity_threshold": 0.6, "k_multiplier": 7},
    {"mode": "text", "lang": "fi-FI", "metadata_filter": {"public": True}},
    {
        "mode": "vector",
        "num_search_messages": 6,
        "max_query_length": 2000,
        "alpha": 0.7,
        "confidence": 0.55,
        "limit": 20,
        "lang": "en-GB",
        "metadata_filter": {"section": "faq"},
        "mmr_strength": 0.25,
    },
)


def lines() -> Iterator[Document]:
    """Yield the import lines of all tenants."""
    dice = Dice(SEED)
    for tenant in _TENANTS:
        for _ in range(tenant.sessions):
            yield {
                "kind": "session",
                "owner": {"developer_id": tenant.id},
                "body": _session(dice, tenant),
            }


def _session(dice: Dice, tenant: _Tenant) -> Document:
    case = dice.choice(tenant.cases)
    customer = dice.randrange(len(_NAMES))
    words = {"name": _NAMES[customer], "number": f"{dice.randint(10200, 98700)}"}
    created = dice.moment()
    ended = dice.once_in(2)
    untouched = not ended and dice.once_in(6)
    updated = created if untouched else dice.later(created, MINUTE, dice.choice((2 * HOUR, 4 * DAY)))
    template = _TEMPLATE.replace("ABOUT", tenant.about) if dice.once_in(4) else None
    tools = dice.once_in(5)
    return {
        "situation": None if dice.once_in(12) else case.situation.format(**words),
        "system_template": template,
        "summary": case.summary.format(**words) if ended else None,
        "render_templates": template is not None or dice.once_in(2),
        "token_budget": dice.choice((None, None, 4000, 16000, 128000)),
        "context_overflow": dice.choice((None, None, "truncate", "adaptive")),
        "auto_run_tools": tools,
        "forward_tool_calls": not tools and dice.once_in(6),
        "recall_options": dice.choice(_RECALLS),
        "id": dice.uuid(),
        "metadata": _metadata(dice, tenant, case, customer),
        "created_at": printed(created),
        "updated_at": printed(updated),
        "kind": dice.choice(_KINDS),
    }


def _metadata(dice: Dice, tenant: _Tenant, case: _Case, customer: int) -> Document:
    if dice.once_in(15):
        return {}
    metadata: Document = {
        "customer": f"{tenant.prefix}-{1042 + 7 * customer}",
        "plan": tenant.plans[customer % len(tenant.plans)],
        "priority": dice.choice((1, 2, 2, 3)),
        "tags": dice.some(case.tags, 1, 2),
    }
    if dice.once_in(3):
        metadata["channel"] = dice.choice(("chat", "email", "phone"))
    if dice.once_in(5):
        metadata["score"] = dice.choice((0.5, 0.82, 0.97, 1))
    if dice.once_in(8):
        metadata["app.version"] = dice.choice(("4.2.0", "4.3.1"))
    if dice.once_in(8):
        metadata["device"] = {"os": dice.choice(("android", "ios")), "tablet": dice.once_in(3)}
    if dice.once_in(10):
        metadata["escalated"] = True
    return metadata

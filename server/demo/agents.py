"""Foundry's agents and the sessions people have with them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from server.demo.dice import DAY, MINUTE, Dice, printed

Document = dict[str, Any]

SEED = 505

_FAR = 73 * 365
"""Days until 2099, where sessions of the demo expire."""
_CLIENTS = ("console", "field-app")


@dataclass(frozen=True, slots=True)
class _Agent:
    """Who may see an agent, who talks to it, and what about; {n} and {number} stand for numbers."""

    viewers: tuple[str, ...]
    users: tuple[str, ...]
    titles: tuple[str, ...]
    version: str = "1.0"


_EVERYBODY = ("ada", "noor", "pavel", "ruth", "tomas")
_AGENTS = (
    _Agent(
        ("*",),
        _EVERYBODY,
        (
            "What is the status of my order?",
            "Where is order {number}?",
            "Can I still change the address of order {number}?",
            "Why was order {number} split into two deliveries?",
        ),
    ),
    _Agent(
        ("*",),
        _EVERYBODY,
        (
            "How many days of leave do I have left?",
            "Who signs my travel expenses?",
            "Which holidays fall on a Monday this year?",
        ),
        "2.1",
    ),
    _Agent(
        ("*",),
        _EVERYBODY,
        ("Book a room for {n} people", "Is the projector in room {n} fixed?", "Where can I park my bicycle?"),
    ),
    _Agent(
        ("group:support",),
        ("ada", "ruth"),
        (
            "Summarise ticket {number}",
            "Which tickets have waited longest?",
            "Draft a reply to ticket {number}",
            "Are tickets {number} and {next} about the same fault?",
        ),
        "3.0",
    ),
    _Agent(
        ("group:support", "group:quality"),
        ("ada", "pavel", "ruth"),
        (
            "What do customers say about batch {number}?",
            "Compare complaints of April and May",
            "Top causes of returns",
        ),
        "1.4",
    ),
    _Agent(
        ("group:warehouse",),
        ("noor", "tomas"),
        ("How full is aisle {n}?", "Which pallets leave today?", "Plan the night shift", "Recount shelf {n}"),
        "1.2",
    ),
    _Agent(
        ("group:finance", "user:ada"),
        ("ada", "noor"),
        (
            "Which invoices are overdue?",
            "Explain the forecast for the second quarter",
            "Find payment {number}",
        ),
        "2.0",
    ),
    _Agent(
        ("user:ada",),
        ("ada",),
        ("Plan my week", "Prepare the review on Thursday", "What did I promise to whom?"),
    ),
    _Agent(
        ("user:ada", "user:pavel"),
        ("ada", "pavel"),
        ("Draft the release notes of 4.{n}", "What changed since 4.{n}?", "Who reviewed change {number}?"),
        "1.1",
    ),
    _Agent(
        ("user:noor",),
        ("noor",),
        ("Translate the safety sheet", "Summarise the meeting with the port"),
    ),
    _Agent(
        ("group:maintenance", "user:tomas"),
        ("tomas", "pavel"),
        ("When was pump {n} last serviced?", "Order seals for pump {n}", "Why did line {n} stop?"),
        "1.3",
    ),
    # Access for a few people was withdrawn: their old sessions are there, but not listed.
    _Agent(
        ("group:pilot",),
        ("ada", "ruth", "tomas"),
        ("What can you do?", "Try the new planner", "Simulate a delay of {n} minutes"),
        "0.9",
    ),
)
_SESSIONS = {"ada": 168, "noor": 26, "pavel": 26, "ruth": 26, "tomas": 26}


def lines() -> Iterator[Document]:
    """Yield the import lines of the agents, then of their sessions."""
    dice = Dice(SEED)
    rids = [_rid(dice, "agent") for _ in _AGENTS]
    for agent, rid in zip(_AGENTS, rids, strict=True):
        yield {"kind": "agent", "owner": {"viewers": list(agent.viewers)}, "body": {"rid": rid}}
    for user, count in _SESSIONS.items():
        known = [(agent, rid) for agent, rid in zip(_AGENTS, rids, strict=True) if user in agent.users]
        for _ in range(count):
            (client,) = dice.choices(_CLIENTS, (8, 1) if user == "ada" else (1, 1))
            agent, rid = dice.choice(known)
            yield {
                "kind": "agent_session",
                "owner": {"user_id": user, "client_id": client},
                "body": _session(dice, agent, rid),
            }


def _rid(dice: Dice, kind: str) -> str:
    return f"ri.aip-agents..{kind}.{dice.uuid()}"


def _session(dice: Dice, agent: _Agent, rid: str) -> Document:
    created = dice.moment()
    count = 0 if dice.once_in(15) else 2 * dice.randint(1, 14)
    updated = dice.later(created, MINUTE, (count + 1) * 3 * MINUTE) if count else created
    expires = updated + DAY if dice.once_in(10) else dice.moment(_FAR, _FAR + 300)
    number = dice.randint(10200, 98700)
    words = {"n": dice.randint(2, 40), "number": number, "next": number + 1}
    return {
        "rid": _rid(dice, "session"),
        "agentRid": rid,
        "agentVersion": agent.version,
        "metadata": {
            "title": dice.choice(agent.titles).format(**words),
            "createdTime": printed(created),
            "updatedTime": printed(updated),
            "estimatedExpiresTime": printed(expires),
            "messageCount": count,
        },
    }

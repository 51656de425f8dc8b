"""Lifelike data of every kind, the same on every run, for trying the service out."""

from collections.abc import Iterator
from itertools import chain
from typing import Any

from server.demo import agents, robots, sessions, user_sessions
from server.records.caller import READ, WRITE, Caller

__all__ = ["CALLER", "lines"]

CALLER = Caller(
    sub="ada",
    tenant="acme",
    client_id="console",
    permissions=frozenset({"USE_ROBOTS"}),
    scopes=frozenset({"api:aip-agents-write", READ, WRITE}),
    groups=frozenset({"support"}),
)
"""Sees demo data on every documented path."""


def lines() -> Iterator[dict[str, Any]]:
    """Yield an import line for every record: `kind`, `owner`, `body`."""
    return chain(user_sessions.lines(), sessions.lines(), robots.lines(), agents.lines())

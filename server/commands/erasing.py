"""`rollcall erase`: everything about one user or tenant, for good."""

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from server import audit
from server.app import KINDS
from server.commands.working import run_with_store
from server.records import agent
from server.records.kind import PB, Kind
from server.records.query import Query
from server.settings import Settings
from server.store import driver
from server.store.api_keys import StoredKeys
from server.store.reads import Reads
from server.store.writes import StaleError, Writes

AGENTS_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class _Duty:
    """What is to be erased: how many there are, and how they go."""

    count: Callable[[], Awaitable[int]]
    erase: Callable[[], Awaitable[object]]


def erase(settings: Settings, subject: str, name: str) -> dict[str, tuple[int, int]]:
    """Erase what there is about a "user" or "tenant"; return how many there were and are left, by sort.

    Safe to repeat, and to stop: what was not erased then is erased the next time.
    """
    counts: dict[str, tuple[int, int]] = {}
    try:
        counts = run_with_store(settings, lambda connection: _erase(connection, subject, name))
    finally:
        erased = {sort: before - after for sort, (before, after) in counts.items()}
        audit.by_operator("erase", **{subject: name}, erased=erased, complete=bool(counts))
    return counts


async def _erase(connection: driver.Connection, subject: str, name: str) -> dict[str, tuple[int, int]]:
    duties = _duties(connection, subject, name)
    before = {sort: await duty.count() for sort, duty in duties.items()}
    for duty in duties.values():
        await duty.erase()
    return {sort: (before[sort], await duty.count()) for sort, duty in duties.items()}


def _duties(connection: driver.Connection, subject: str, name: str) -> dict[str, _Duty]:
    """Return what is to be erased, the keys first.

    Servers take a key as known for ROLLCALL_CREDENTIAL_CACHE_SECONDS more, and a token until it ends.
    """
    reads, writes, keys = Reads(connection.database), Writes(connection), StoredKeys(connection.database)

    def of_kind(kind: Kind) -> _Duty:
        filter_ = {kind.subjects[subject]: name}
        return _Duty(lambda: reads.matches(kind, filter_), lambda: writes.erase(kind, filter_))

    duties = {"api_key": _Duty(lambda: keys.count(subject, name), lambda: keys.erase(subject, name))}
    duties |= {kind.name: of_kind(kind) for kind in KINDS if subject in kind.subjects}
    if subject == "user":
        viewer = agent.viewer(name)
        duties["agent_viewer"] = _Duty(
            lambda: reads.matches(agent.KIND, {"viewers": viewer}),
            lambda: _forget_viewer(reads, writes, viewer),
        )
    return duties


async def _forget_viewer(reads: Reads, writes: Writes, viewer: str) -> None:
    """Take a viewer out of every agent that names it; an agent that changes meanwhile is read again."""
    query = Query(agent.KIND, {"viewers": viewer}, agent.ORDER, AGENTS_AT_ONCE)
    while rows := await reads.find(query, PB, "etag"):
        for row in rows:
            with contextlib.suppress(StaleError):
                await writes.replace(agent.KIND, agent.without_viewer(row[PB], viewer), row["etag"])

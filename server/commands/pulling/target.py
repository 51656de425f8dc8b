"""The store of this rollcall, as far as a pull writes it; or nowhere, for a dry run."""

import contextlib
from collections.abc import Sequence
from typing import Protocol

from server.commands.import_lines import Puts
from server.records import agent
from server.records.kind import PB, Document, Kind
from server.store.driver import Connection
from server.store.reads import Reads
from server.store.writes import Creation, ExistsError, StaleError, Writes


class Target(Puts, Protocol):
    """Where records go."""

    async def admit(self, rid: str, viewer: str) -> list[str]:
        """Let a viewer access an agent, which need not be on record.

        Returns all viewers that there would be if they are too many, else none.
        """


class Store:
    """The store of this rollcall."""

    def __init__(self, connection: Connection) -> None:
        self._writes = Writes(connection)
        self._reads = Reads(connection.database)

    async def put(self, kind: Kind, documents: Sequence[Document]) -> None:
        """Upsert documents."""
        await self._writes.put(kind, documents)

    async def admit(self, rid: str, viewer: str) -> list[str]:
        """Let a viewer access an agent; one that changes meanwhile is read again."""
        while True:
            row = await self._reads.get(agent.KIND, {}, rid, PB, "etag")
            with contextlib.suppress(StaleError, ExistsError):
                if row is None:
                    await self._writes.create(agent.KIND, [Creation(agent.first_seen(rid, viewer))])
                    return []
                viewers = agent.viewers_of(row[PB])
                if viewer in viewers or "*" in viewers:
                    return []
                wanted = sorted((*viewers, viewer))
                if len(wanted) > agent.MOST_VIEWERS:
                    return wanted
                await self._writes.replace(agent.KIND, agent.with_viewers(row[PB], wanted), row["etag"])
                return []


class Nowhere:
    """Takes everything and keeps nothing."""

    async def put(self, kind: Kind, documents: Sequence[Document]) -> None:
        """Drop documents."""

    async def admit(self, rid: str, viewer: str) -> list[str]:  # noqa: ARG002 # as Target's
        """Let nobody in."""
        return []

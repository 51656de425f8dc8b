"""The store of this rollcall, as far as a pull writes it; or nowhere, for a dry run."""

from collections.abc import Sequence
from typing import Protocol

from server.records import agent
from server.records.kind import PB, Document, Kind, message_of
from server.store.driver import Connection
from server.store.reads import Reads
from server.store.writes import Writes


class Target(Protocol):
    """Where records go."""

    async def put(self, kind: Kind, documents: Sequence[Document]) -> None:
        """Upsert documents."""

    async def viewers(self, rid: str) -> list[str]:
        """Return who may access an agent as it is on record."""


class Store:
    """The store of this rollcall."""

    def __init__(self, connection: Connection) -> None:
        self._writes = Writes(connection)
        self._reads = Reads(connection.database)

    async def put(self, kind: Kind, documents: Sequence[Document]) -> None:
        """Upsert documents."""
        await self._writes.put(kind, documents)

    async def viewers(self, rid: str) -> list[str]:
        """Return who may access an agent as it is on record."""
        row = await self._reads.get(agent.KIND, {}, rid, PB)
        return [] if row is None else list(message_of(agent.KIND, row[PB]).viewers)  # type: ignore[attr-defined] # an Agent has them


class Nowhere:
    """Takes everything and keeps nothing."""

    async def put(self, kind: Kind, documents: Sequence[Document]) -> None:
        """Drop documents."""

    async def viewers(self, rid: str) -> list[str]:  # noqa: ARG002 # as Target's
        """Return nobody: nothing is on record."""
        return []

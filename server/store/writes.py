"""Writes: majority-acknowledged, with counters in the same transaction."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

from pymongo import InsertOne, ReplaceOne
from pymongo.asynchronous.client_session import AsyncClientSession

from server.records.kind import BASIC, JSON, PB, Document, Kind, renewed
from server.store import tallies
from server.store.driver import Connection
from server.store.failures import translated

T = TypeVar("T")

RENEWED_AT_ONCE = 16

_LIGHT = {PB: 0, BASIC: 0, JSON: 0}
"""Everything of a document but its ready-made forms."""


class Writes:
    """Upserts, creations, replacements and deletions of stored documents."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._database = connection.database

    async def put(self, kind: Kind, documents: Sequence[Document]) -> None:
        """Upsert documents by their `_id`: the last of two of one `_id` stays."""
        latest = {tuple(document["_id"].values()): document for document in documents}
        replacements = [ReplaceOne({"_id": each["_id"]}, each, upsert=True) for each in latest.values()]
        if not replacements:
            return
        collection = self._database[kind.collection]
        with translated():
            if kind.tallies is None:
                await collection.bulk_write(replacements, ordered=False)
                return

            async def body(session: AsyncClientSession) -> None:
                ids = [each["_id"] for each in latest.values()]
                before = await collection.find({"_id": {"$in": ids}}, _LIGHT, session=session).to_list(None)
                await collection.bulk_write(replacements, session=session)
                change = tallies.difference(kind, before, latest.values())
                await tallies.add(self._database, session, change)

            await self._in_transaction(body)

    async def renew(self, kind: Kind) -> AsyncIterator[tuple[int, int]]:
        """Derive again every record without a current rendering; yield (done, of how many) after each.

        A record that someone writes meanwhile is left as it was written.
        """
        collection = self._database[kind.collection]
        old = {JSON: {"$exists": False}, "whole": {"$ne": False}}
        with translated():
            total = await collection.count_documents(old)
            cursor = collection.find(old, {PB: 1, "etag": 1})
            done = 0
            while rows := await cursor.to_list(RENEWED_AT_ONCE):
                for row in rows:
                    unchanged = {"_id": row["_id"], "etag": row["etag"]}
                    await collection.replace_one(unchanged, renewed(kind, row[PB]))
                    done += 1
                    yield done, total

    async def _in_transaction(self, body: Callable[[AsyncClientSession], Awaitable[T]]) -> T:
        async with await self._connection.start_session() as session:
            return await session.with_transaction(body)

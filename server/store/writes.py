"""Writes: majority-acknowledged and journaled, with counters in the same transaction."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from pymongo import ReplaceOne
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import (
    BulkWriteError,
    DuplicateKeyError,
    InvalidOperation,
    OperationFailure,
    PyMongoError,
)

from server.errors import UnavailableError
from server.records.kind import BASIC, JSON, PB, WHOLE, Document, Kind, renewed
from server.store import tallies
from server.store.driver import Connection
from server.store.failures import remaining, translated
from server.store.sessions import ended

T = TypeVar("T")

REQUESTS = "requests"
"""What the creations with a request_id made, for a day."""
RACES = 3
"""How often calls with the same request ids may come between."""
PAUSE_SECONDS = 0.05
"""How long, at most, a transaction waits before it is tried again because another one came between."""
TRANSACTION_SECONDS = 120
"""Where there is no deadline: as long as the drivers try."""
RENEWED_AT_ONCE = 16
ERASED_AT_ONCE = 500
DUPLICATE_KEY = 11000
TRANSACTION_TOO_LARGE = 388
"""For the cache, which holds a transaction's index entries until its end."""

_LIGHT = {PB: 0, BASIC: 0, JSON: 0}
"""Everything of a document but its ready-made forms."""


@dataclass(frozen=True, slots=True)
class Whole:
    """The record that another one is a part of."""

    kind: Kind
    id: Document


class StaleError(Exception):
    """The record is no longer as it was read."""


class _IndexedError(Exception):
    """One of several creations cannot be."""

    def __init__(self, index: int) -> None:
        super().__init__(index)
        self.index = index


class ExistsError(_IndexedError):
    """There is a record with this key."""


class RequestIdError(_IndexedError):
    """The request id belongs to another creation."""


class GoneError(_IndexedError):
    """What was created under the request id, with `key`, has been deleted since."""

    def __init__(self, index: int, key: str) -> None:
        super().__init__(index)
        self.key = key


class WholeMissingError(Exception):
    """There is no record that the new one could be a part of."""

    def __init__(self, whole: Whole) -> None:
        super().__init__(whole.kind.name)
        self.whole = whole


class TooLargeError(Exception):
    """The creations are more than MongoDB takes in one transaction."""


class _RequestRaceError(Exception):
    """Another call with the same request id came first."""


@dataclass(frozen=True, slots=True)
class Creation:
    """A document to create; if it has a request id, only once.

    `asked` is a digest of the request, so that a request id is not used for two.
    `whole` must be there, if it is named.
    """

    document: Document
    request_id: str = ""
    asked: str = ""
    whole: Whole | None = None

    def request(self) -> Document:
        """Return what is remembered of the request."""
        made = self.document["_id"]
        return {"_id": self.request_id, "asked": self.asked, "made": made, "at": datetime.now(UTC)}


class Writes:
    """Creations, replacements, deletions and upserts of stored documents."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._database = connection.database

    async def create(self, kind: Kind, creations: Sequence[Creation]) -> list[Document]:
        """Insert documents, all or none, and return them.

        What was created before under a creation's request id is returned as it is now.
        Raises ExistsError, RequestIdError, GoneError or TooLargeError.
        """
        for creation in creations:
            if creation.whole is not None:
                await self._check_whole(creation.whole)
        for _ in range(RACES):
            made = await self._made(kind, creations)
            try:
                await self._insert(kind, creations, made)
            except _RequestRaceError:
                continue
            except OperationFailure as error:
                if error.code == TRANSACTION_TOO_LARGE:
                    raise TooLargeError from None
                raise
            await self._keep_with_wholes(kind, creations)
            return [made.get(index, creation.document) for index, creation in enumerate(creations)]
        raise UnavailableError

    async def _keep_with_wholes(self, kind: Kind, creations: Sequence[Creation]) -> None:
        """Take back what was inserted while the record that it is a part of was deleted.

        Its deletion deletes parts once more when it is done: one of the two sees the other.
        """
        for creation in creations:
            if creation.whole is None:
                continue
            try:
                await self._check_whole(creation.whole)
            except WholeMissingError:
                with translated():
                    await self._database[kind.collection].delete_one({"_id": creation.document["_id"]})
                    await self._database[REQUESTS].delete_one({"_id": creation.request_id})
                raise

    async def _made(self, kind: Kind, creations: Sequence[Creation]) -> dict[int, Document]:
        """Return what was created before under request ids, by index."""
        asked = {
            creation.request_id: index for index, creation in enumerate(creations) if creation.request_id
        }
        if not asked:
            return {}
        with translated():
            requests = await self._database[REQUESTS].find({"_id": {"$in": list(asked)}}).to_list(None)
            ids = [request["made"] for request in requests]
            records = await self._database[kind.collection].find({"_id": {"$in": ids}}).to_list(None)
        by_id = {tuple(record["_id"].values()): record for record in records}
        made = {}
        for request in requests:
            index = asked[request["_id"]]
            if request["asked"] != creations[index].asked:
                raise RequestIdError(index)
            try:
                made[index] = by_id[tuple(request["made"].values())]
            except KeyError:
                raise GoneError(index, request["made"]["id"]) from None
        return made

    async def _insert(self, kind: Kind, creations: Sequence[Creation], made: Mapping[int, Document]) -> None:
        """Insert what was not made before."""
        indexes = [index for index in range(len(creations)) if index not in made]
        new = [creations[index] for index in indexes]
        documents = [creation.document for creation in new]
        requests = [creation.request() for creation in new if creation.request_id]
        collection = self._database[kind.collection]
        live = kind.live()

        async def body(session: AsyncClientSession) -> None:
            if requests:
                try:
                    await self._database[REQUESTS].insert_many(requests, session=session)
                except BulkWriteError as error:
                    _raise_if_duplicate(error, _RequestRaceError())
                    raise
            if live:
                ids = [document["_id"] for document in documents]
                await collection.delete_many({"_id": {"$in": ids}, "$nor": [live]}, session=session)
            try:
                await collection.insert_many(documents, session=session)
            except BulkWriteError as error:
                _raise_if_duplicate(error, ExistsError(indexes[error.details["writeErrors"][0]["index"]]))
                raise
            await tallies.add(self._database, session, tallies.difference(kind, (), documents))

        with translated():
            if not documents:
                return
            if len(documents) > 1 or requests or live or kind.tallies is not None:
                await self._in_transaction(body)
                return
            try:
                await collection.insert_one(documents[0])
            except DuplicateKeyError:
                raise ExistsError(indexes[0]) from None

    async def replace(self, kind: Kind, document: Document, etag: str) -> None:
        """Put a document in the place of the one with its `_id` and `etag`.

        Raises StaleError if that is gone.
        """
        collection = self._database[kind.collection]
        unchanged = {"_id": document["_id"], "etag": etag}

        async def body(session: AsyncClientSession) -> None:
            before = await collection.find_one(unchanged, _LIGHT, session=session)
            if before is None:
                raise StaleError
            await collection.replace_one(unchanged, document, session=session)
            await tallies.add(self._database, session, tallies.difference(kind, [before], [document]))

        with translated():
            if kind.tallies is not None:
                await self._in_transaction(body)
            elif not (await collection.replace_one(unchanged, document)).matched_count:
                raise StaleError

    async def delete(self, kind: Kind, id_: Document, etag: str) -> None:
        """Delete the document with this `_id` and `etag`, and its parts; raise StaleError if it is gone."""
        collection = self._database[kind.collection]
        unchanged = {"_id": id_, "etag": etag}

        async def body(session: AsyncClientSession) -> None:
            before = await collection.find_one_and_delete(unchanged, _LIGHT, session=session)
            if before is None:
                raise StaleError
            for part in kind.parts:
                owner = part.kind.owner_document({part.owner: id_["id"]})
                await self._database[part.kind.collection].delete_many({"owner": owner}, session=session)
            await tallies.add(self._database, session, tallies.difference(kind, [before], ()))

        with translated():
            await self._in_transaction(body)
            for part in kind.parts:
                owner = part.kind.owner_document({part.owner: id_["id"]})
                await self._database[part.kind.collection].delete_many({"owner": owner})

    async def put(self, kind: Kind, documents: Sequence[Document]) -> None:
        """Upsert documents by their `_id`; the last of two of one `_id` stays."""
        latest = {tuple(document["_id"].values()): document for document in documents}
        replacements = [ReplaceOne({"_id": each["_id"]}, each, upsert=True) for each in latest.values()]
        collection = self._database[kind.collection]

        async def body(session: AsyncClientSession) -> None:
            ids = [each["_id"] for each in latest.values()]
            before = await collection.find({"_id": {"$in": ids}}, _LIGHT, session=session).to_list(None)
            await collection.bulk_write(replacements, ordered=False, session=session)
            await tallies.add(self._database, session, tallies.difference(kind, before, latest.values()))

        with translated():
            if kind.tallies is not None:
                await self._in_transaction(body)
            else:
                await collection.bulk_write(replacements, ordered=False)

    async def erase(self, kind: Kind, filter_: Mapping[str, Any]) -> int:
        """Delete all documents that match, and their parts; return how many documents."""
        collection = self._database[kind.collection]
        erased = 0

        async def body(session: AsyncClientSession) -> int:
            before = await collection.find(filter_, _LIGHT, limit=ERASED_AT_ONCE, session=session).to_list(
                None
            )
            await collection.delete_many({"_id": {"$in": [each["_id"] for each in before]}}, session=session)
            for part in kind.parts:
                owners = [part.kind.owner_document({part.owner: each["id"]}) for each in before]
                parts = self._database[part.kind.collection]
                await parts.delete_many({"owner": {"$in": owners}}, session=session)
            await tallies.add(self._database, session, tallies.difference(kind, before, ()))
            return len(before)

        with translated():
            while taken := await self._in_transaction(body):
                erased += taken
        return erased

    async def renew(self, kind: Kind) -> AsyncIterator[tuple[int, int]]:
        """Derive again every record without a current rendering; yield (done, of how many) after each.

        A record that someone writes meanwhile is left as it was written.
        """
        collection = self._database[kind.collection]
        old = {JSON: {"$exists": False}, WHOLE: {"$ne": False}}
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

    async def _check_whole(self, whole: Whole) -> None:
        with translated():
            found = await self._database[whole.kind.collection].find_one({"_id": whole.id}, {"_id": 1})
        if found is None:
            raise WholeMissingError(whole)

    async def _in_transaction(self, body: Callable[[AsyncClientSession], Awaitable[T]]) -> T:
        try:
            # The drivers try a transaction again for two minutes, whatever the deadline.
            left = remaining()
            async with asyncio.timeout(TRANSACTION_SECONDS if left is None else left):
                async with ended(await self._connection.start_session()) as session:
                    while True:
                        try:
                            return await session.with_transaction(body)
                        except PyMongoError as error:
                            # motor tries again if an operation fails, but not if the commit does.
                            if not error.has_error_label("TransientTransactionError"):
                                raise
                        await asyncio.sleep(random.uniform(0, PAUSE_SECONDS))  # noqa: S311 # no secret
        except (TimeoutError, InvalidOperation):
            # motor ends a transaction twice when it is cancelled while it ends one.
            raise UnavailableError from None


def _raise_if_duplicate(error: BulkWriteError, meaning: Exception) -> None:
    if error.details["writeErrors"] and error.details["writeErrors"][0]["code"] == DUPLICATE_KEY:
        raise meaning from None

"""Indexes, made at start: those that the kinds declare, and the counters'."""

from collections.abc import Iterable

from pymongo import IndexModel
from pymongo.asynchronous.database import AsyncDatabase

from server.records.kind import EXPIRY, Document, Kind
from server.store.failures import translated
from server.store.tallies import TALLIES
from server.store.writes import REQUESTS

REQUEST_SECONDS = 24 * 3600


async def make(database: AsyncDatabase[Document], kinds: Iterable[Kind]) -> None:
    """Create every index that is not there; wait until it is usable."""
    with translated():
        for kind in kinds:
            models = [IndexModel(list(index)) for index in kind.indexes]
            if kind.expiry is not None:
                models.append(IndexModel([(EXPIRY, 1)], expireAfterSeconds=0))
            await database[kind.collection].create_indexes(models)
        await database[TALLIES].create_indexes([IndexModel([("tally", 1), ("n", 1)])])
        await database[REQUESTS].create_indexes([IndexModel([("at", 1)], expireAfterSeconds=REQUEST_SECONDS)])

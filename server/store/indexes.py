"""Indexes, made at start: those that the kinds declare, and the counters'."""

from collections.abc import Iterable

import pymongo
from pymongo import IndexModel
from pymongo.asynchronous.database import AsyncDatabase

from server.records.kind import EXPIRY, Document, Kind
from server.settings import Settings
from server.store import driver
from server.store.failures import translated
from server.store.tallies import TALLIES
from server.store.writes import REQUESTS

REQUEST_SECONDS = 24 * 3600
BUILD_SECONDS = 24 * 3600
"""How long, at most, MongoDB may build an index: not as short as a request."""


async def make_for(settings: Settings, kinds: Iterable[Kind]) -> None:
    """Create every index that is not there, in the database of these settings, whichever driver they name.

    PyMongo's client ends when it is cancelled; motor works in threads, for which the end of a process waits.
    """
    async with driver.connected(settings.model_copy(update={"mongodb_driver": "pymongo"})) as connection:
        await make(connection.database, kinds)


async def make(database: AsyncDatabase[Document], kinds: Iterable[Kind]) -> None:
    """Create every index that is not there; wait until it is usable."""
    with translated():
        # A store that is away shows at once; one that is there may take its time over many records.
        await database.command("ping")
    with pymongo.timeout(BUILD_SECONDS), translated():
        for kind in kinds:
            models = [IndexModel(list(index)) for index in kind.indexes]
            if kind.expiry is not None:
                models.append(IndexModel([(EXPIRY, 1)], expireAfterSeconds=0))
            await database[kind.collection].create_indexes(models)
        await database[TALLIES].create_indexes([IndexModel([("tally", 1), ("n", 1)])])
        await database[REQUESTS].create_indexes([IndexModel([("at", 1)], expireAfterSeconds=REQUEST_SECONDS)])

"""The driver seam: motor, or PyMongo's own AsyncMongoClient.

Both answer the same calls, but for starting a session and closing the client.
motor's life ends in 2027; it is imported only when it is chosen.  Beside either, a
server has connections for pages (direct.py).
"""

import asyncio
import inspect
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, cast

from pymongo import AsyncMongoClient
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import ConfigurationError, InvalidURI
from pymongo.monitoring import CommandListener, ConnectionPoolListener

from server.records.kind import Document
from server.settings import Settings, SettingsError
from server.store.direct import Direct, suits

Listener = CommandListener | ConnectionPoolListener

APP_NAME = "rollcall"
CONNECT_MS = 2000
DIRECT_SELECTION_MS = 1000
"""How long opening a connection for pages looks for a primary: meanwhile the driver reads them."""


@dataclass(frozen=True, slots=True)
class Connection:
    """A client of one event loop, with what differs between the drivers."""

    database: AsyncDatabase[Document]
    start_session: Callable[[], Awaitable[AsyncClientSession]]
    close: Callable[[], Awaitable[None]]
    direct: Direct | None = None


async def start_snapshot(database: AsyncDatabase[Document]) -> AsyncClientSession:
    """Return a session in which every read sees the store as the first one did."""
    session: Any = database.client.start_session(snapshot=True)
    return cast("AsyncClientSession", await session if inspect.isawaitable(session) else session)


def must_not_be_cancelled(settings: Settings) -> bool:
    """Return whether a cancelled operation may lock the driver for good.

    Before Python 3.12, asyncio.wait_for waits for PyMongo's condition in a task of its own; a
    cancel at the wrong moment leaves the lock of the topology to nobody.
    """
    return settings.mongodb_driver == "pymongo" and sys.version_info < (3, 12)


def connect(settings: Settings, listeners: Sequence[Listener] = (), *, pages: bool = False) -> Connection:
    """Return a connection of the driver that the settings name; nothing is sent yet.

    Call it inside the event loop that will use it.  `listeners` hear of its commands and connections.
    With `pages`, these are read directly, of which the listeners hear nothing.
    """
    options: dict[str, Any] = {
        "appname": APP_NAME,
        "w": "majority",
        "journal": True,
        "connectTimeoutMS": CONNECT_MS,
        "serverSelectionTimeoutMS": round(settings.mongodb_seconds * 1000),
        "socketTimeoutMS": round(settings.request_seconds * 1000),
    }
    heard = {**options, "event_listeners": listeners} if listeners else options
    uri = settings.mongodb_uri.get_secret_value()
    try:
        make = _motor if settings.mongodb_driver == "motor" else _pymongo
        connection = make(uri, heard, settings.mongodb_database)
        return _with_pages(connection, uri, options, settings.mongodb_database) if pages else connection
    except (InvalidURI, ConfigurationError, ValueError, OSError):
        raise SettingsError("ROLLCALL_MONGODB_URI: must be a MongoDB connection string") from None


@asynccontextmanager
async def connected(settings: Settings) -> AsyncIterator[Connection]:
    """Have a connection, as `connect` returns it, during the block."""
    connection = connect(settings)
    try:
        yield connection
    finally:
        await connection.close()


def _with_pages(connection: Connection, uri: str, options: dict[str, Any], database: str) -> Connection:
    options = {**options, "serverSelectionTimeoutMS": DIRECT_SELECTION_MS}
    client: AsyncMongoClient[Document] = AsyncMongoClient(uri, **options)
    if not suits(client):
        return connection
    direct = Direct(client, database)

    async def close() -> None:
        await direct.close()
        await connection.close()

    return replace(connection, direct=direct, close=close)


def _pymongo(uri: str, options: dict[str, Any], database: str) -> Connection:
    client: AsyncMongoClient[Document] = AsyncMongoClient(uri, **options)

    async def start_session() -> AsyncClientSession:
        return client.start_session()

    return Connection(client[database], start_session, client.close)


def _motor(uri: str, options: dict[str, Any], database: str) -> Connection:
    from motor.motor_asyncio import AsyncIOMotorClient  # noqa: PLC0415 # only the chosen driver is needed

    client: Any = AsyncIOMotorClient(uri, **options)

    async def close() -> None:
        # It says goodbye to MongoDB, and waits for the answer.
        await asyncio.to_thread(client.close)

    return Connection(cast("AsyncDatabase[Document]", client[database]), client.start_session, close)

"""Pages by connections of our own: what a driver does around a find costs several times the find.

PyMongo's client opens them, with TLS and credentials, and knows which server is the primary; then
each is ours (op_msg.py), for one find of one batch at a time.  Nobody waits here: a find that meets
no idle connection is the driver's, and so is one that fails: the driver is asked again, with its
own retry.
"""

import asyncio
import logging
from collections.abc import Mapping
from contextvars import Context
from typing import Any

from bson.errors import InvalidBSON
from pymongo import AsyncMongoClient, ReadPreference
from pymongo.asynchronous.pool import AsyncConnection
from pymongo.errors import PyMongoError

from server.errors import UnavailableError
from server.records.kind import Document
from server.store.failures import remaining
from server.store.op_msg import OpMsg

PAUSE_SECONDS = 0.5
"""How long no connection is opened after one could not be."""
FAULT_SECONDS = 60.0
"""As above, after what is not MongoDB's failure."""
FIND_SECONDS = 30.0
"""How long a find may take where no deadline is set."""
SILENCE_SECONDS = 0.5
"""Who has waited this long in vain has met a silent server, not a busy one."""
CLOSE_SECONDS = 1.0
"""How long closing waits for a connection that is being opened."""

_Address = tuple[str, int | None]

_OWN_SHARE = 0.9
"""MongoDB ends a slow command by itself within this share of the time: its word spares the connection."""
_TIME_IS_OVER = 50
_NOT_THE_PRIMARY = frozenset((91, 189, 10107, 11600, 11602, 13435, 13436))
"""Codes of servers that are not, or are about to stop."""

log = logging.getLogger(__name__)


def suits(client: AsyncMongoClient[Document]) -> bool:
    """Return whether finds here are as the URI says that reads, and connections, should be."""
    return (
        client.read_preference == ReadPreference.PRIMARY
        and not client.read_concern.document
        and client.options.pool_options.max_idle_time_seconds is None
    )


class Direct:
    """Connections to the primary, or to the routers of a sharded cluster."""

    def __init__(self, client: AsyncMongoClient[Document], database: str) -> None:
        self._client = client
        self._common = {"comment": "rollcall", "$db": database}
        self._idle: list[OpMsg] = []
        self._opened: dict[OpMsg, AsyncConnection] = {}
        self._topology: object = None
        self._writable: frozenset[_Address] = frozenset()
        self._holding: set[asyncio.Task[None]] = set()
        self._opening = False
        self._may_open_at = 0.0
        self._closed = False

    @property
    def connections(self) -> int:
        """How many there are, busy or idle."""
        return len(self._opened)

    async def find(self, command: Mapping[str, Any]) -> list[Document] | None:
        """Return what a find command finds, if its first batch has it all; None: the driver should.

        Raises UnavailableError if that takes longer than the deadline allows.
        """
        left = remaining()
        seconds = FIND_SECONDS if left is None else left
        if seconds <= 0:
            raise UnavailableError
        connection = self._take()
        if connection is None:
            return None
        try:
            reply = await self._asked(connection, command, seconds)
        except TimeoutError:
            if seconds >= SILENCE_SECONDS:
                # The others may lead into the same silence.
                self._close_idle()
            raise UnavailableError from None
        except (OSError, InvalidBSON):
            return None
        if reply.get("code") in _NOT_THE_PRIMARY:
            connection.close()
            return None
        self._idle.append(connection)
        if reply.get("code") == _TIME_IS_OVER:
            raise UnavailableError
        cursor = reply.get("cursor", {})
        batch: list[Document] | None = None if cursor.get("id") else cursor.get("firstBatch")
        return batch

    async def _asked(self, connection: OpMsg, command: Mapping[str, Any], seconds: float) -> Document:
        """Return the reply to a find, which leaves no cursor open."""
        end = asyncio.get_running_loop().time() + seconds
        most = max(1, int(seconds * _OWN_SHARE * 1000))
        reply = await connection.ask({**command, "maxTimeMS": most, **self._common}, end)
        cursor = reply.get("cursor", {}).get("id")
        if cursor:
            # The batch ended at 16 MB.
            await connection.ask({"killCursors": command["find"], "cursors": [cursor], **self._common}, end)
        return reply

    async def close(self) -> None:
        """End all connections."""
        self._closed = True
        for connection in tuple(self._opened):
            connection.close()
        if self._holding:
            await asyncio.wait(self._holding, timeout=CLOSE_SECONDS)
        await self._client.close()

    def _take(self) -> OpMsg | None:
        """Return an idle connection to a server that is still the one to ask; if there is none, open one."""
        topology = self._client.topology_description
        if topology is not self._topology:
            servers = topology.server_descriptions().items()
            self._writable = frozenset(address for address, server in servers if server.is_writable)
            self._topology = topology
        while self._idle:
            connection = self._idle.pop()
            opened = self._opened.get(connection)
            if opened is not None and opened.address in self._writable and not _is_stale(opened):
                return connection
            connection.close()
        self._open_one()
        return None

    def _open_one(self) -> None:
        if self._opening or self._closed or asyncio.get_running_loop().time() < self._may_open_at:
            return
        self._opening = True
        # In a context of its own: the call's deadline is not that of a connection.
        task = asyncio.create_task(self._hold(), context=Context())
        self._holding.add(task)
        task.add_done_callback(self._holding.discard)

    async def _hold(self) -> None:
        """Have a connection opened, and hold it until it ends."""
        try:
            # Nothing public opens one: pyproject.toml bounds PyMongo for this.
            async with await self._client._conn_for_writes(None, "find") as opened:  # noqa: SLF001 # see above
                transport, protocol = opened.conn.conn
                connection = OpMsg(transport)
                self._opened[connection] = opened
                self._idle.append(connection)
                self._opening = False
                if self._closed:
                    connection.close()
                try:
                    await connection.ended
                finally:
                    self._forget(connection)
                    protocol.connection_lost()
                    await opened.close_conn(None)
        except PyMongoError as error:
            log.info("no connection for pages: %s", type(error).__name__)
            self._pause(PAUSE_SECONDS)
        except Exception:
            # Such as by another PyMongo; the driver goes on alone.
            log.exception("no connection for pages")
            self._pause(FAULT_SECONDS)

    def _pause(self, seconds: float) -> None:
        self._may_open_at = asyncio.get_running_loop().time() + seconds
        self._opening = False

    def _forget(self, connection: OpMsg) -> None:
        del self._opened[connection]
        if connection in self._idle:
            self._idle.remove(connection)

    def _close_idle(self) -> None:
        for connection in self._idle:
            connection.close()


def _is_stale(opened: AsyncConnection) -> bool:
    """Return whether the driver has parted from all connections of that time, as after a failed heartbeat."""
    return opened.pool_gen.stale(opened.generation, opened.service_id)

"""Pages by connections of our own: what a driver does around a find costs several times the find.

PyMongo's client opens them, with TLS and credentials, and knows which server is the primary; then
each is ours (op_msg.py), for one find of one batch at a time.  Nobody waits here: a find that meets
no idle connection is the driver's, and so is one that fails, which makes that the one retry on a
healthy server.
"""

import asyncio
import logging
from collections.abc import Mapping
from contextvars import Context
from typing import Any

from bson.errors import InvalidBSON
from pymongo import AsyncMongoClient, ReadPreference
from pymongo.errors import PyMongoError

from server.errors import UnavailableError
from server.records.kind import Document
from server.store.failures import remaining
from server.store.op_msg import OpMsg

PAUSE_SECONDS = 0.5
"""How long no connection is opened after one could not be."""
FIND_SECONDS = 30.0
"""How long a find may take where no deadline is set."""
_TIME_IS_OVER = 50
"""MongoDB's code for a command that took longer than it was given: the connection is as good as before."""

_Address = tuple[str, int | None]

log = logging.getLogger(__name__)


def suits(client: AsyncMongoClient[Document]) -> bool:
    """Return whether a plain find means what the driver's own would, by what the URI says."""
    return client.read_preference == ReadPreference.PRIMARY and not client.read_concern.document


class Direct:
    """Connections to the primary, or to the routers of a sharded cluster."""

    def __init__(self, client: AsyncMongoClient[Document], database: str) -> None:
        self._client = client
        self._database = database
        self._idle: list[OpMsg] = []
        self._addresses: dict[OpMsg, _Address] = {}
        self._topology: object = None
        self._writable: frozenset[_Address] = frozenset()
        self._holding: set[asyncio.Task[None]] = set()
        self._opening = False
        self._may_open_at = 0.0
        self._closed = False

    @property
    def connections(self) -> int:
        """How many there are, busy or idle."""
        return len(self._addresses)

    async def find(self, command: Mapping[str, Any]) -> list[Document] | None:
        """Return what a find command finds, if its first batch has it all; None: the driver should.

        Raises UnavailableError if there is no reply before the deadline.
        """
        left = remaining()
        seconds = FIND_SECONDS if left is None else left
        if seconds <= 0:
            raise UnavailableError
        connection = self._take()
        if connection is None:
            return None
        end = asyncio.get_running_loop().time() + seconds
        timed = {**command, "maxTimeMS": int(seconds * 1000) + 1, "$db": self._database}
        try:
            reply = await connection.ask(timed, end)
            cursor = reply.get("cursor")
            if cursor is not None and cursor["id"]:
                # The batch ended at 16 MB.
                kill = {"killCursors": command["find"], "cursors": [cursor["id"]], "$db": self._database}
                await connection.ask(kill, end)
        except TimeoutError:
            # The others may lead into the same silence.
            self._close_idle()
            raise UnavailableError from None
        except (OSError, InvalidBSON):
            return None
        if cursor is None and reply.get("code") != _TIME_IS_OVER:
            # Such as from a server that is not the primary any more.
            connection.close()
            return None
        self._idle.append(connection)
        if cursor is None or cursor["id"]:
            return None
        batch: list[Document] = cursor["firstBatch"]
        return batch

    async def close(self) -> None:
        """End all connections."""
        self._closed = True
        for connection in tuple(self._addresses):
            connection.close()
        await asyncio.gather(*self._holding)
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
            if self._addresses.get(connection) in self._writable:
                return connection
            connection.close()
        if not self._opening and asyncio.get_running_loop().time() >= self._may_open_at:
            self._opening = True
            # In a context of its own: the call's deadline is not that of a connection.
            task = asyncio.create_task(self._hold(), context=Context())
            self._holding.add(task)
            task.add_done_callback(self._holding.discard)
        return None

    async def _hold(self) -> None:
        """Have a connection opened, and hold it until it ends."""
        try:
            # Nothing public opens one: pyproject.toml bounds PyMongo for this.
            async with await self._client._conn_for_writes(None, "find") as opened:  # noqa: SLF001 # see above
                transport, protocol = opened.conn.conn
                connection = OpMsg(transport)
                self._addresses[connection] = opened.address
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
            self._may_open_at = asyncio.get_running_loop().time() + PAUSE_SECONDS
            self._opening = False
        except Exception:
            # Such as by another PyMongo: none is opened any more, the driver goes on alone.
            log.exception("no connection for pages")

    def _forget(self, connection: OpMsg) -> None:
        del self._addresses[connection]
        if connection in self._idle:
            self._idle.remove(connection)

    def _close_idle(self) -> None:
        for connection in self._idle:
            connection.close()

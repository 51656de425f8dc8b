"""A cancelled call stops its query, whichever driver waits for it.

motor cannot interrupt the thread that waits for MongoDB, but MongoDB can be asked to
kill the operation, which is found by its comment.
"""

import asyncio
import itertools
import logging
import os
import secrets
from collections.abc import Awaitable
from typing import Any, TypeVar

from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError

from server.records.kind import Document
from server.store.failures import deadline

T = TypeVar("T")

KILL_SECONDS = 2.0

log = logging.getLogger(__name__)


class Cancellation:
    """Names operations, and kills those whose callers have gone."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._admin = database.client.admin
        self._prefix = f"rollcall-{os.getpid()}-{secrets.token_hex(4)}"
        self._numbers = itertools.count()
        self._killing: set[asyncio.Task[None]] = set()

    def name(self) -> str:
        """Return a comment for one operation, which no other has."""
        return f"{self._prefix}-{next(self._numbers)}"

    async def stop_if_cancelled(self, name: str, work: Awaitable[T]) -> T:
        """Return the result of the operation called `name`; if the wait is cancelled, kill it."""
        try:
            return await work
        except asyncio.CancelledError:
            task = asyncio.get_running_loop().create_task(self._kill(name))
            self._killing.add(task)
            task.add_done_callback(self._killing.discard)
            raise

    async def _kill(self, name: str) -> None:
        try:
            with deadline(KILL_SECONDS):
                for operation in await self._running(name):
                    await self._admin.command("killOp", op=operation["opid"])
        except PyMongoError as error:
            # The deadline that went out with the operation ends it all the same.
            log.info("could not stop a cancelled query: %s", type(error).__name__)

    async def _running(self, name: str) -> list[dict[str, Any]]:
        named = [{"command.comment": name}, {"cursor.originatingCommand.comment": name}]
        answer = await self._admin.command({"currentOp": 1, "$ownOps": True, "$or": named})
        running: list[dict[str, Any]] = answer["inprog"]
        return running

"""The end of a session that is in a transaction: MongoDB is told, and nobody waits for it."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import Context

from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import PyMongoError

from server.store.failures import deadline

END_SECONDS = 2.0

log = logging.getLogger(__name__)

_ending: set[asyncio.Task[None]] = set()
"""asyncio itself would let them be collected."""


@asynccontextmanager
async def ended(session: AsyncClientSession) -> AsyncIterator[AsyncClientSession]:
    """Give a session, and end it behind the block.

    motor ends one in the event loop's own thread.  That is nothing, unless a transaction is left in it, whose
    abort waits for MongoDB.
    """
    try:
        yield session
    finally:
        if session.in_transaction:
            # In a context of its own: the call's deadline may be over.
            task = asyncio.get_running_loop().create_task(_end(session), context=Context())
            _ending.add(task)
            task.add_done_callback(_ending.discard)
        else:
            await session.__aexit__(None, None, None)


async def _end(session: AsyncClientSession) -> None:
    try:
        with deadline(END_SECONDS):
            await session.end_session()
    except PyMongoError as error:
        # MongoDB ends it by itself, after a minute.
        log.info("could not end a transaction: %s", type(error).__name__)

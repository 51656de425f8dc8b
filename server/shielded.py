"""Work that must not be cancelled: it goes on when whoever waits for it does not."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_left: set[asyncio.Task[Any]] = set()
"""Work that goes on; asyncio itself would let it be collected."""


async def shielded(work: Coroutine[Any, Any, T]) -> T:
    """Return the result of `work`, which a cancel of this does not end."""
    task = asyncio.get_running_loop().create_task(work)
    _left.add(task)
    task.add_done_callback(_forget)
    return await asyncio.shield(task)


def _forget(task: asyncio.Task[Any]) -> None:
    _left.discard(task)
    if not task.cancelled():
        task.exception()  # Asked for, as nobody may be there to do it.

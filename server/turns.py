"""Work that every call waits for, as the event loop does it: what may take long is done elsewhere."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

LARGE_BYTES = 32 << 10
"""A record of so many bytes, all of them small fields, takes some 20 ms to judge or to render."""


async def in_turn(size: int, work: Callable[[], T]) -> T:
    """Return what `work` makes of a record of so many bytes; a large one gets a thread beside the calls."""
    return await asyncio.to_thread(work) if size > LARGE_BYTES else work()

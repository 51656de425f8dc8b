"""Work that every call waits for, as the event loop does it: none takes it for long at a time."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

LARGE_BYTES = 32 << 10
"""A record of so many bytes, all of them small fields, takes some 20 ms to judge or to render."""
TURN_SECONDS = 0.01

# One: more would be no faster, as threads take turns too, and the loop would have fewer.
_beside = ThreadPoolExecutor(1, thread_name_prefix="large")


class Turns:
    """What one call does with one record after the other: now and then, other calls have their turn."""

    def __init__(self) -> None:
        self._ends = time.monotonic() + TURN_SECONDS

    async def take(self, size: int, work: Callable[[], T]) -> T:
        """Return what `work` makes of a record of so many bytes; a large one has its own thread."""
        if size > LARGE_BYTES:
            return await asyncio.get_running_loop().run_in_executor(_beside, work)
        done = work()
        if time.monotonic() > self._ends:
            await asyncio.sleep(0)
            self._ends = time.monotonic() + TURN_SECONDS
        return done

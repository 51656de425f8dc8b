"""Signals that ask a server to stop, and a second time to hurry."""

import asyncio
import contextlib
import signal
from collections.abc import Awaitable


class Stop:
    """What SIGTERM and SIGINT have asked for, in the running event loop."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.hurried = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._ask)

    def _ask(self) -> None:
        (self.hurried if self.asked.is_set() else self.asked).set()


async def within(seconds: float, wait: Awaitable[object]) -> None:
    """Wait, but no longer than so many seconds."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(wait, seconds)

"""Waiting without holding up the event loop, in which the proxy works."""

import asyncio
import time
from collections.abc import Awaitable, Callable

START_SECONDS = 60.0
_POLL_SECONDS = 0.05


async def until(
    ready: Callable[[], bool | Awaitable[bool]], seconds: float = START_SECONDS, poll: float = _POLL_SECONDS
) -> float:
    """Wait for something and return how long it took; fail when the time is over."""
    begun = time.monotonic()
    while True:
        answer = ready()
        if answer if isinstance(answer, bool) else await answer:
            return time.monotonic() - begun
        assert time.monotonic() - begun < seconds, f"not within {seconds:.0f} s"
        await asyncio.sleep(poll)

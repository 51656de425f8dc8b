"""How many calls work at a time: the rest wait in line for a bounded time, or are shed.

Without a bound an overloaded server works at everything and finishes nothing in time.  The line
is first come, first served.  Who finds it full is shed, and so is who has waited too long: a
burst may take `wait_seconds` to be worked off, but where there has been a line for longer than
that, waiting only makes every answer late, and calls wait `STANDING_SECONDS` (the idea of CoDel).
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from server.errors import OverloadedError, StoppingError

STANDING_SECONDS = 0.05
"""How long a call waits in a line that does not become empty."""

LOOK_SECONDS = 0.02


class Counts(Protocol):
    """What operators see of it."""

    @property
    def waiting(self) -> Callable[[float], None]:
        """Says how many calls are in line."""

    @property
    def shed(self) -> Callable[[], None]:
        """Counts a call that was shed."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """What one process takes on.

    `calls` work at a time, `waiting` are in line for at most `wait_seconds`, and of `streams`,
    answers of any length, so many are open at a time, whether they work or wait for a slow reader.
    """

    calls: int
    waiting: int
    wait_seconds: float
    streams: int


class Gate:
    """Lets calls work.  Every `enter` that returns is followed by one `leave`."""

    def __init__(self, capacity: Capacity, counts: Counts) -> None:
        self._capacity = capacity
        self._counts = counts
        self._free = capacity.calls
        self._streams = 0
        # Nobody waits while a place is free: `leave` hands it over.
        self._line: deque[asyncio.Future[None]] = deque()
        self._begun: deque[asyncio.Future[None]] = deque()
        self._line_since = 0.0
        self._closed = False

    def passes(self) -> bool:
        """Take a place if one is free, as `enter` does, without waiting."""
        if self._free and not self._closed:
            self._free -= 1
            return True
        return False

    async def enter(self, *, begun: bool = False) -> None:
        """Take a place, in line if need be; an answer that has `begun` goes first, and is not shed.

        Raises OverloadedError, or StoppingError once the gate is closed.
        """
        if self._closed and not begun:
            raise StoppingError
        if self._free:
            self._free -= 1
            return
        line = self._begun if begun else self._line
        loop = asyncio.get_running_loop()
        place: asyncio.Future[None] = loop.create_future()
        patience = None
        if not begun:
            patience = loop.call_later(self._wait_seconds(loop.time()), self._give_up, place)
        line.append(place)
        self._counts.waiting(len(self._line))
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self.leave()
            elif place in line:
                line.remove(place)
            raise
        finally:
            if patience is not None:
                patience.cancel()
            self._counts.waiting(len(self._line))

    def leave(self) -> None:
        """Give a place back, to who has waited longest."""
        for line in (self._begun, self._line):
            while line:
                place = line.popleft()
                if not place.done():
                    place.set_result(None)
                    return
        self._free += 1

    def open_stream(self) -> None:
        """Count an answer of any length until `close_stream`; raise OverloadedError if there are too many."""
        if self._streams >= self._capacity.streams:
            raise self._shed()
        self._streams += 1

    def close_stream(self) -> None:
        """Forget an answer that has ended."""
        self._streams -= 1

    def close(self) -> None:
        """Let nobody in any more; those in line are still served."""
        self._closed = True

    async def idle(self) -> None:
        """Return when no call works."""
        while self._free < self._capacity.calls:  # noqa: ASYNC110 # an event would cost every call something
            await asyncio.sleep(LOOK_SECONDS)

    def _wait_seconds(self, now: float) -> float:
        if not self._line:
            self._line_since = now
        if len(self._line) >= self._capacity.waiting:
            raise self._shed()
        stands = now - self._line_since > self._capacity.wait_seconds
        return min(STANDING_SECONDS, self._capacity.wait_seconds) if stands else self._capacity.wait_seconds

    def _give_up(self, place: asyncio.Future[None]) -> None:
        if not place.done():
            self._line.remove(place)
            place.set_exception(self._shed())

    def _shed(self) -> OverloadedError:
        self._counts.shed()
        return OverloadedError(self._capacity.calls)

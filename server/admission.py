"""How many calls work at a time: the rest wait in line for a bounded time, or are shed.

Without a bound an overloaded server works at everything and finishes nothing in time.  The line
is first come, first served.  Who finds it full is shed, and so is who has waited too long: a
burst may take `wait_seconds` to be worked off, but where there has been a line for longer than
that, waiting only makes every answer late (the idea of CoDel).  Such a line takes nobody while
those whose turn it is have waited for more than `STANDING_SECONDS`: to be shed at once costs the
server less than to be shed in the end.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, Self

from server.errors import OverloadedError, StoppingError

STANDING_SECONDS = 0.05
"""How long a call should wait in a line that does not become empty; at most, it waits twice as long."""

EXPECTED_BYTES = 1 << 20
"""What an answer of any length counts for before its first bytes are there."""
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

    `calls` work at a time, `waiting` are in line for at most `wait_seconds`, and answers of any
    length hold about `stream_bytes` together while their readers read.
    """

    calls: int
    waiting: int
    wait_seconds: float
    stream_bytes: int


@dataclass(eq=False, slots=True)
class _Place:
    """A call in line."""

    given: asyncio.Future[None]
    since: float


class Gate:
    """Lets calls work.  Every `enter` that returns is followed by one `leave`."""

    def __init__(self, capacity: Capacity, counts: Counts) -> None:
        self._capacity = capacity
        self._counts = counts
        self._free = capacity.calls
        self.held = 0
        """Bytes of answers whose readers have not read them yet."""
        # Nobody waits while a place is free: `leave` hands it over.
        self._line: deque[_Place] = deque()
        self._begun: deque[_Place] = deque()
        self._line_since = 0.0
        self._waited = 0.0
        """How long the call had waited whose turn came last."""
        self._closed = False

    @property
    def calls(self) -> int:
        """How many calls work at a time."""
        return self._capacity.calls

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
        if not begun and self.sheds():
            raise self._overloaded()
        line = self._begun if begun else self._line
        loop = asyncio.get_running_loop()
        place = _Place(loop.create_future(), loop.time())
        patience = None
        if not begun:
            patience = loop.call_later(self._wait_seconds(place.since), self._give_up, place)
        line.append(place)
        self._counts.waiting(len(self._line))
        try:
            await place.given
        except asyncio.CancelledError:
            if place in line:
                line.remove(place)
            elif not place.given.cancelled() and place.given.exception() is None:
                self.leave()
            raise
        finally:
            if patience is not None:
                patience.cancel()
            self._counts.waiting(len(self._line))

    def sheds(self) -> bool:
        """Return whether a call that comes now finds no room even in line; it is counted as shed."""
        if self._free or self._closed or not self._is_full():
            return False
        self._counts.shed()
        return True

    def leave(self) -> None:
        """Give a place back, to who has waited longest."""
        for line in (self._begun, self._line):
            while line:
                place = line.popleft()
                if not place.given.done():
                    if line is self._line:
                        self._waited = place.given.get_loop().time() - place.since
                    place.given.set_result(None)
                    return
        self._free += 1

    def stream(self) -> "Held":
        """Return what counts the bytes of one answer of any length.

        Raises OverloadedError if those that are open hold too many, or StoppingError.
        """
        if self._closed:
            raise StoppingError
        if self.held >= self._capacity.stream_bytes:
            self._counts.shed()
            raise self._overloaded()
        return Held(self)

    def close(self) -> None:
        """Let nobody in any more; those in line are still served."""
        self._closed = True

    async def idle(self) -> None:
        """Return when no call works."""
        while self._free < self._capacity.calls:  # noqa: ASYNC110 # an event would cost every call something
            await asyncio.sleep(LOOK_SECONDS)

    def _is_full(self) -> bool:
        if len(self._line) >= self._capacity.waiting:
            return True
        return (
            self._waited > STANDING_SECONDS
            and bool(self._line)
            and self._lasts(asyncio.get_running_loop().time())
        )

    def _lasts(self, now: float) -> bool:
        return now - self._line_since > self._capacity.wait_seconds

    def _wait_seconds(self, now: float) -> float:
        if not self._line:
            self._line_since = now
        patience = self._capacity.wait_seconds
        return min(2 * STANDING_SECONDS, patience) if self._lasts(now) else patience

    def _give_up(self, place: _Place) -> None:
        if not place.given.done():
            self._line.remove(place)
            self._counts.shed()
            place.given.set_exception(self._overloaded())

    def _overloaded(self) -> OverloadedError:
        return OverloadedError(limit=self._capacity.calls)


class Held:
    """The bytes that one answer holds, until the block ends."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._bytes = 0

    def __enter__(self) -> Self:
        self.is_now(EXPECTED_BYTES)
        return self

    def __exit__(self, *_: object) -> None:
        self.is_now(0)

    def is_now(self, size: int) -> None:
        """Say how many bytes it holds."""
        self._gate.held += size - self._bytes
        self._bytes = size

"""A load that knows every right answer: it writes numbered records, and reads them back all the time."""

import asyncio
import contextlib
import itertools
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from tests.faults.fronts import CleanError, Front, WrongError

WRITERS = 3
READERS = 2
PAUSE_SECONDS = 0.03
IMPATIENT_SECONDS = 1.0
"""The deadline that every other call has, if not another; the server's own limit holds for the others."""
HANG_SECONDS = 12.0
PROBE_SECONDS = 1.0
WRONG_SHOWN = 10
TICK_SECONDS = 0.02


@dataclass
class Counts:
    """What came of the calls."""

    calls: int = 0
    right: int = 0
    clean: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    longest: float = 0.0
    late: float = 0.0
    """By how much an answer came after its deadline, at most; less what this process was late itself."""


class Checker:
    """`limit` is the server's own for a call. In calm an error is as wrong as a wrong answer."""

    def __init__(self, front: Front, limit: float, impatient: float = IMPATIENT_SECONDS) -> None:
        self.counts = Counts()
        self.calm = True
        self._front = front
        self._limit = limit
        self._impatient = impatient
        self._numbers = itertools.count(1)
        self._begun: set[int] = set()
        self._acknowledged: set[int] = set()
        self._lag = 0.0
        self._random = random.Random(5)  # noqa: S311 # which record to read

    @property
    def acknowledged(self) -> int:
        return len(self._acknowledged)

    @contextlib.asynccontextmanager
    async def load(self) -> AsyncIterator[None]:
        """Call all the time in the block; then every call must end."""
        stopping = asyncio.Event()
        callers = [
            *(self._again(stopping, self.write) for _ in range(WRITERS)),
            *(self._again(stopping, self.walk) for _ in range(READERS)),
            self._again(stopping, self.read),
        ]
        tasks = [asyncio.create_task(caller) for caller in callers]
        ticking = asyncio.create_task(self._tick())
        try:
            yield
        finally:
            stopping.set()
            await asyncio.gather(*tasks)
            ticking.cancel()

    async def _tick(self) -> None:
        """Add up how late this event loop is, for ever."""
        while True:
            due = time.monotonic() + TICK_SECONDS
            await asyncio.sleep(TICK_SECONDS)
            self._lag += max(0.0, time.monotonic() - due)

    async def write(self, within: float | None = None) -> bool:
        number = next(self._numbers)
        self._begun.add(number)
        made = await self._call(f"create {number}", lambda: self._front.create(number, within), within)
        if made:
            self._acknowledged.add(number)
        return made

    async def read(self, within: float | None = None) -> bool:
        if not self._acknowledged:
            return True
        number = self._random.choice(sorted(self._acknowledged))
        return await self._call(f"get {number}", lambda: self._front.get(number, within), within)

    async def walk(self, within: float | None = None) -> bool:
        """Read the whole list, and compare it with what was acknowledged before."""
        due, token = frozenset(self._acknowledged), ""
        seen: list[int] = []

        async def page() -> None:
            nonlocal token
            answer = await self._front.page(token, within)
            seen.extend(answer.numbers)
            token = answer.token
            if not token:
                self._compare(due, seen)

        while await self._call("list", page, within):
            if not token:
                return True
        return False

    async def works(self) -> bool:
        """Return whether a write, a list and a read are answered now."""
        return (
            await self.write(PROBE_SECONDS)
            and await self.walk(PROBE_SECONDS)
            and await self.read(PROBE_SECONDS)
        )

    async def lost(self) -> int:
        """Return how many acknowledged records are not there."""
        found, token = set[int](), ""
        while True:
            page = await self._front.page(token, HANG_SECONDS)
            found.update(page.numbers)
            token = page.token
            if not token:
                return len(self._acknowledged - found)

    def _compare(self, due: frozenset[int], seen: list[int]) -> None:
        found = set(seen)
        if len(found) != len(seen):
            raise WrongError(f"a list has {len(seen) - len(found)} records twice")
        if due - found:
            raise WrongError(f"a list lacks {len(due - found)} of {len(due)}, as {min(due - found)}")
        if found - self._begun:
            raise WrongError(f"a list has {len(found - self._begun)} records that nobody wrote")

    async def _again(self, stopping: asyncio.Event, call: Callable[[float | None], Awaitable[bool]]) -> None:
        for within in itertools.cycle((None, self._impatient)):
            if stopping.is_set():
                return
            await call(within)
            await asyncio.sleep(PAUSE_SECONDS)

    async def _call(self, what: str, call: Callable[[], Awaitable[None]], within: float | None) -> bool:
        counts, calm, begun, lag = self.counts, self.calm, time.monotonic(), self._lag
        counts.calls += 1
        try:
            async with asyncio.timeout(HANG_SECONDS):
                await call()
        except CleanError as error:
            if calm and self.calm:
                counts.wrong.append(f"{what}, in calm: {error}")
            else:
                counts.clean[str(error)] += 1
            return False
        except (WrongError, TimeoutError) as error:
            counts.wrong.append(f"{what}: {error or 'no answer'}")
            return False
        else:
            counts.right += 1
            return True
        finally:
            seconds = time.monotonic() - begun
            counts.longest = max(counts.longest, seconds)
            own = self._lag - lag
            counts.late = max(counts.late, seconds - own - min(within or self._limit, self._limit))

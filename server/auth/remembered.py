"""What a slow source says about credentials, kept for a bounded time."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextvars import Context
from dataclasses import dataclass

from cachetools import TLRUCache, TTLCache

from server.auth.digests import digest
from server.counts import LOOKUPS, counts
from server.records.caller import Caller

KNOWN = 10_000
UNKNOWN = 1_000
UNKNOWN_SECONDS = 5.0
"""How long, at most, a refusal is kept: a key may be added after it was tried."""


_HIT, _MISS = ((LOOKUPS, "opaque", result) for result in ("hit", "miss"))


@dataclass(frozen=True, slots=True)
class Known:
    """Whose a credential is, and when it expires, in seconds since 1970."""

    caller: Caller
    expires: float | None = None


_Entry = tuple[Caller, float]


def _end(_: bytes, entry: _Entry, __: float) -> float:
    return entry[1]


class Remembered:
    """Asks once at a time about each credential; errors are not kept."""

    def __init__(self, ask: Callable[[str], Awaitable[Known | None]], seconds: float) -> None:
        self._ask = ask
        self._seconds = seconds
        self._known: TLRUCache[bytes, _Entry] = TLRUCache(KNOWN, ttu=_end, timer=time.monotonic)
        self._unknown: TTLCache[bytes, bool] = TTLCache(UNKNOWN, min(seconds, UNKNOWN_SECONDS))
        self._asking: dict[bytes, asyncio.Task[Caller | None]] = {}

    async def find(self, credential: str) -> Caller | None:
        """Return whose a credential is, None if nobody's; raise what the source raises."""
        digested = digest(credential)
        entry = self._known.get(digested)
        if entry is not None:
            counts[_HIT] += 1
            return entry[0]
        if digested in self._unknown:
            counts[_HIT] += 1
            return None
        counts[_MISS] += 1
        if digested not in self._asking:
            # In a context of its own: the first caller's deadline is not that of those who wait with it.
            task = asyncio.create_task(self._learn(digested, credential), context=Context())
            self._asking[digested] = task
            task.add_done_callback(lambda done: self._forget(digested, done))
        return await asyncio.shield(self._asking[digested])

    async def _learn(self, digested: bytes, credential: str) -> Caller | None:
        known = await self._ask(credential)
        if known is None:
            self._unknown[digested] = True
            return None
        seconds = self._seconds
        if known.expires is not None:
            seconds = min(seconds, known.expires - time.time())
        self._known[digested] = known.caller, time.monotonic() + seconds
        return known.caller

    def _forget(self, digested: bytes, task: "asyncio.Task[Caller | None]") -> None:
        del self._asking[digested]
        if not task.cancelled():
            task.exception()  # Nobody may have waited for it to the end.

"""How often a caller, and a tenant, may call.

Storages and windows are those of the library `limits`.  Its sliding window counter takes
two numbers a caller, whatever the rate, and has no edge at which a double rate gets through.
A storage that fails lets everybody in: a limit protects the service, and must not be what
stops it.
"""

import asyncio
import hashlib
import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

from limits import RateLimitItem, parse
from limits.aio.storage import MemoryStorage, Storage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.errors import StorageError
from limits.storage import storage_from_string

from server.counts import LIMITED, counts
from server.errors import RateLimitedError
from server.records.caller import Caller
from server.settings import Settings, SettingsError

STORAGE_SECONDS = 0.5
"""How long a call waits for the storage; after a failure, it is left alone for a while."""
PAUSE_SECONDS = 1.0
SWEEP_SECONDS = 10.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Rule:
    """So many calls a time, for all who have the same `whose`."""

    item: RateLimitItem
    whose: Callable[[Caller], Sequence[str]]


def _a_caller(caller: Caller) -> Sequence[str]:
    return "caller", caller.tenant, caller.sub


def _a_tenant(caller: Caller) -> Sequence[str]:
    return "tenant", caller.tenant


class RateLimits:
    """Counts the calls of verified callers."""

    def __init__(self, storage: Storage, rules: Sequence[Rule]) -> None:
        self._storage = storage
        self._limiter = SlidingWindowCounterRateLimiter(storage)
        self._rules = rules
        self._paused_until = 0.0

    async def admit(self, caller: Caller) -> None:
        """Count a call; raise RateLimitedError if it is one too many."""
        if time.monotonic() < self._paused_until:
            return
        self._keep_small()
        for rule in self._rules:
            try:
                async with asyncio.timeout(STORAGE_SECONDS):
                    refusal = await self._refusal(rule, caller)
            except (StorageError, TimeoutError) as error:
                self._paused_until = time.monotonic() + PAUSE_SECONDS
                log.warning("the storage of rate limits does not answer: %s", type(error).__name__)
                return
            if refusal is not None:
                counts[LIMITED, rule.whose(caller)[0]] += 1
                raise refusal

    async def _refusal(self, rule: Rule, caller: Caller) -> RateLimitedError | None:
        key = _key(rule.whose(caller))
        if await self._limiter.hit(rule.item, key):
            return None
        stats = await self._limiter.get_window_stats(rule.item, key)
        return RateLimitedError(limit=rule.item.amount, remaining=stats.remaining, reset=stats.reset_time)

    def _keep_small(self) -> None:
        # Left to itself, the storage in memory looks at all its keys with every call.
        storage = self._storage
        if isinstance(storage, MemoryStorage) and storage.timer is None:
            storage.timer = asyncio.get_running_loop().create_task(_sweep(storage))


async def _sweep(storage: MemoryStorage) -> None:
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        now = time.time()
        for key in [key for key, end in storage.expirations.items() if end <= now]:
            await storage.clear(key)


def _key(whose: Sequence[str]) -> str:
    """Return a key without personal data, and without any other's."""
    return hashlib.blake2b(json.dumps(whose).encode(), digest_size=16).hexdigest()


def rate_limits_of(settings: Settings) -> RateLimits | None:
    """Return the limits of these settings, None if they set none; raise SettingsError."""
    limits = ((settings.rate_limit, _a_caller), (settings.tenant_rate_limit, _a_tenant))
    rules = [Rule(parse(limit), whose) for limit, whose in limits if limit is not None]
    return RateLimits(_storage_of(settings), rules) if rules else None


def _storage_of(settings: Settings) -> Storage:
    uri = settings.rate_limit_storage.get_secret_value()
    options: dict[str, str | float] = {}
    if uri.startswith("mongodb"):
        milliseconds = round(STORAGE_SECONDS * 1000)
        options = {
            "database_name": settings.mongodb_database,
            "counter_collection_name": "rate_counters",
            "window_collection_name": "rate_windows",
            "serverSelectionTimeoutMS": milliseconds,
            "connectTimeoutMS": milliseconds,
            "socketTimeoutMS": milliseconds,
        }
    elif uri.startswith("redis"):
        options = {"implementation": "redispy", "key_prefix": "rollcall"}
    try:
        return cast("Storage", storage_from_string(f"async+{uri}", wrap_exceptions=True, **options))
    except Exception:  # noqa: BLE001 # each storage's library has errors of its own, with the URI in their texts
        raise SettingsError(
            "ROLLCALL_RATE_LIMIT_STORAGE: must be memory://, or a mongodb:// or redis:// URI "
            "(for which `pip install 'rollcall[redis]'`)"
        ) from None

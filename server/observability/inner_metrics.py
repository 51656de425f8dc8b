"""What a process knows of itself beside its calls: connections to MongoDB, credentials, refused calls."""

from functools import cache
from typing import Any

from server.counts import COUNTS, LIMITED, LOOKUPS, Count, counts
from server.observability.store_pool import StorePool


@cache
def inner_metrics() -> "InnerMetrics":
    """Return this process's metrics: Prometheus knows a name once."""
    return InnerMetrics()


class InnerMetrics:
    """Brought up to date by `take`; nothing of it is done while a call waits."""

    def __init__(self) -> None:
        from prometheus_client import Counter, Gauge  # noqa: PLC0415 # see metrics.py

        self._counters: dict[str, Any] = {
            LOOKUPS: Counter(
                "rollcall_credential_lookups",
                "Looks into a cache of verified credentials.",
                ("cache", "result"),
            ),
            LIMITED: Counter(
                "rollcall_limited_calls", "Calls that a rate limit has refused, by whose limit.", ("whose",)
            ),
        }
        # What has not happened yet is 0, not unknown.
        self._taken: dict[Count, int] = dict.fromkeys(COUNTS, 0)
        for name, *labels in COUNTS:
            self._counters[name].labels(*labels)
        self._connections = Gauge(
            "rollcall_store_connections",
            "Connections to MongoDB.",
            ("state",),
            multiprocess_mode="livesum",
        )
        self._waiting = Gauge(
            "rollcall_store_waiting",
            "Operations that wait for a connection to MongoDB.",
            multiprocess_mode="livesum",
        )
        self._checkouts = Counter(
            "rollcall_store_checkouts", "Attempts to take a connection to MongoDB.", ("result",)
        )
        self._waited = Counter(
            "rollcall_store_wait_seconds", "How long operations have waited for connections to MongoDB."
        )
        self._pool_taken = {"ok": 0, "failed": 0}
        self._pool_waited = 0.0

    def take(self, pool: StorePool, direct: int) -> None:
        """Bring the metrics up to date; `direct` is the number of connections beside the pool."""
        for count, number in counts.items():
            name, *labels = count
            self._counters[name].labels(*labels).inc(number - self._taken.get(count, 0))
            self._taken[count] = number
        self._connections.labels("in_use").set(pool.in_use)
        self._connections.labels("idle").set(max(0, pool.open - pool.in_use))
        self._connections.labels("direct").set(direct)
        self._waiting.set(pool.waiting)
        for result, number in {"ok": pool.taken, "failed": pool.failed}.items():
            self._checkouts.labels(result).inc(number - self._pool_taken[result])
            self._pool_taken[result] = number
        waited = pool.waited_seconds
        self._waited.inc(waited - self._pool_waited)
        self._pool_waited = waited

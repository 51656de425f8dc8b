"""Metrics for Prometheus, of one process or of all workers together.

Workers write theirs to files in a folder of their supervisor's, which serves the sum.
prometheus_client decides by its environment variable when it is first imported, so it
is imported late.
"""

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from server.settings import PREFIX, Settings, SettingsError

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

SERVER_ERRORS = frozenset(
    ("UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS")
)
"""Codes that are the server's fault, by OpenTelemetry's conventions; others are the caller's."""


@cache
def call_metrics() -> "CallMetrics":
    """Return this process's metrics: Prometheus knows a name once."""
    return CallMetrics()


class CallMetrics:
    """Rate, errors and duration of each RPC, and how many are under way."""

    def __init__(self) -> None:
        from prometheus_client import (  # noqa: PLC0415 # see above
            Counter,
            Gauge,
            Histogram,
            disable_created_metrics,
        )

        # They would double the series, as gauges that nothing asks for.
        disable_created_metrics()  # type: ignore[no-untyped-call] # as prometheus_client has it
        self._calls = Counter("rollcall_calls", "Calls that have ended.", ("contract", "method", "code"))
        self._seconds = Histogram(
            "rollcall_call_seconds", "How long calls took.", ("contract", "method"), buckets=BUCKETS
        )
        self._open = Gauge(
            "rollcall_open_calls", "Calls under way.", ("method",), multiprocess_mode="livesum"
        )
        self._lag = Gauge(
            "rollcall_loop_lag_seconds", "How late the event loop last was.", multiprocess_mode="livemax"
        )
        self._ready = Gauge("rollcall_store_ready", "Whether MongoDB answers.", multiprocess_mode="livemin")
        waiting = Gauge(
            "rollcall_waiting_calls", "Calls in line for a place to work.", multiprocess_mode="livesum"
        )
        shed = Counter("rollcall_shed_calls", "Calls that were refused as there were too many.")
        self.waiting: Callable[[float], None] = waiting.set
        """Says how many calls are in line."""
        self.shed: Callable[[], None] = shed.inc
        """Counts a call that was shed."""
        self._ended: dict[tuple[str, str], Callable[[], None]] = {}

    def of(self, method: str, contract: str) -> "MethodMetrics":
        """Return the metrics of one RPC, which belongs to a contract."""
        seconds = self._seconds.labels(contract, method)
        return MethodMetrics(self._calls, seconds, self._open.labels(method), (contract, method))

    def ended(self) -> Iterator[tuple[Mapping[str, str], float]]:
        """Yield how many calls of this process have ended, with their labels."""
        for sample in next(iter(self._calls.collect())).samples:
            if sample.name.endswith("_total"):
                yield sample.labels, sample.value

    def durations(self) -> Iterator[tuple[Mapping[str, str], list[float]]]:
        """Yield how many calls of this process took at most each of BUCKETS, then how many there were."""
        found: dict[str, tuple[Mapping[str, str], list[float]]] = {}
        for sample in next(iter(self._seconds.collect())).samples:
            if sample.name.endswith("_bucket"):
                _, below = found.setdefault(sample.labels["method"], (sample.labels, []))
                below.append(sample.value)
        yield from found.values()

    def loop_lag(self, seconds: float) -> None:
        """Say how late the event loop was."""
        self._lag.set(seconds)

    def store_ready(self, *, ready: bool) -> None:
        """Say whether MongoDB answers."""
        self._ready.set(ready)


class MethodMetrics:
    """The metrics of one RPC, their labels resolved once."""

    def __init__(self, calls: Any, seconds: Any, open_calls: Any, labels: tuple[str, str]) -> None:
        self._calls = calls
        self._labels = labels
        self._codes: dict[str, Any] = {}
        self.observe = seconds.observe
        self.began = open_calls.inc
        self.ended = open_calls.dec

    def count(self, code: str) -> None:
        """Count a call that ended with a gRPC code."""
        if code not in self._codes:
            self._codes[code] = self._calls.labels(*self._labels, code)
        self._codes[code].inc()


@dataclass(slots=True)
class Workers:
    """How many workers run, and how many have ended by themselves."""

    alive: int
    restarts: int = 0


def are_served(settings: Settings) -> bool:
    """Return whether somebody can see this process's metrics."""
    return settings.metrics_port != 0 or FOLDER_VARIABLE in os.environ


@contextmanager
def served(settings: Settings, *, for_workers: bool) -> Iterator[Workers]:
    """Serve metrics inside the block, on their own port, if the settings name one.

    Yields where the supervisor counts its workers.  Raises SettingsError if the port is taken.
    """
    workers = Workers(alive=0 if for_workers else 1)
    if not settings.metrics_port:
        yield workers
        return
    with _registry_of_workers() if for_workers else _registry() as registry:
        from prometheus_client import start_http_server  # noqa: PLC0415 # see above

        from server.observability.supervised import Supervised  # noqa: PLC0415 # see above

        supervised = Supervised(workers, settings)
        registry.register(supervised)
        address = settings.metrics_host, settings.metrics_port
        try:
            server, thread = start_http_server(address[1], address[0], registry)
        except OSError as error:
            named = f"cannot listen on {address[0]}:{address[1]}: {error.strerror}"
            raise SettingsError(f"{PREFIX}METRICS_PORT: {named}") from None
        try:
            yield workers
        finally:
            server.shutdown()
            thread.join()
            server.server_close()
            registry.unregister(supervised)


@contextmanager
def _registry() -> Iterator[Any]:
    """Give the registry of this process's metrics."""
    from prometheus_client import REGISTRY  # noqa: PLC0415 # see above

    yield REGISTRY


@contextmanager
def _registry_of_workers() -> Iterator[Any]:
    """Give a registry of what the workers that are started inside the block write to files."""
    with tempfile.TemporaryDirectory(prefix="rollcall-metrics-") as folder:
        os.environ[FOLDER_VARIABLE] = folder
        from prometheus_client import CollectorRegistry  # noqa: PLC0415 # see above
        from prometheus_client.multiprocess import MultiProcessCollector  # noqa: PLC0415 # see above

        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call] # as prometheus_client has it
        try:
            yield registry
        finally:
            del os.environ[FOLDER_VARIABLE]


def worker_ended(pid: int) -> None:
    """Forget the gauges of a worker that has ended."""
    if FOLDER_VARIABLE in os.environ:
        from prometheus_client.multiprocess import mark_process_dead  # noqa: PLC0415 # see above

        mark_process_dead(pid)  # type: ignore[no-untyped-call] # as above

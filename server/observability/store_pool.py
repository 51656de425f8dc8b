"""The connections to MongoDB, as the driver's pools report them."""

import threading
from typing import Any

from pymongo import monitoring


class StorePool(monitoring.ConnectionPoolListener):
    """Counts connections, those in use, and what their callers wait for them.

    The driver may report from any thread; reading needs no lock.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.open = 0
        self.in_use = 0
        self.waiting = 0
        self.waited_seconds = 0.0
        self.taken = 0
        self.failed = 0
        """Attempts to take a connection that ended without one."""

    def connection_created(self, _: Any) -> None:
        with self._lock:
            self.open += 1

    def connection_closed(self, _: Any) -> None:
        with self._lock:
            self.open -= 1

    def connection_check_out_started(self, _: Any) -> None:
        with self._lock:
            self.waiting += 1

    def connection_checked_out(self, event: monitoring.ConnectionCheckedOutEvent) -> None:
        with self._lock:
            self.waiting -= 1
            self.in_use += 1
            self.taken += 1
            self.waited_seconds += event.duration or 0.0

    def connection_check_out_failed(self, event: monitoring.ConnectionCheckOutFailedEvent) -> None:
        with self._lock:
            self.waiting -= 1
            self.failed += 1
            self.waited_seconds += event.duration or 0.0

    def connection_checked_in(self, _: Any) -> None:
        with self._lock:
            self.in_use -= 1

    def connection_ready(self, _: Any) -> None:
        pass

    def pool_created(self, _: Any) -> None:
        pass

    def pool_ready(self, _: Any) -> None:
        pass

    def pool_cleared(self, _: Any) -> None:
        pass

    def pool_closed(self, _: Any) -> None:
        pass

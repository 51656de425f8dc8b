"""How late the event loop is: what blocks it delays every call."""

import asyncio
import time

from server.observability.metrics import CallMetrics

INTERVAL_SECONDS = 0.5


async def follow(metrics: CallMetrics) -> None:
    """Measure the event loop's lag, for ever."""
    while True:
        due = time.perf_counter() + INTERVAL_SECONDS
        await asyncio.sleep(INTERVAL_SECONDS)
        metrics.loop_lag(max(0.0, time.perf_counter() - due))

"""What is measured now and then rather than with each call: the event loop's lag, and what was counted."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

from server.observability.metrics import CallMetrics

INTERVAL_SECONDS = 0.5

log = logging.getLogger(__name__)


async def follow(metrics: CallMetrics, beats: Sequence[Callable[[], None]]) -> None:
    """Measure how late the event loop is, which delays every call, and call the `beats`, for ever."""
    while True:
        due = time.perf_counter() + INTERVAL_SECONDS
        await asyncio.sleep(INTERVAL_SECONDS)
        metrics.loop_lag(max(0.0, time.perf_counter() - due))
        for beat in beats:
            try:
                beat()
            except Exception:
                # Such as a full disk: the others, and the next beat, go on.
                log.exception("a measure failed")

"""Readiness: grpc.health.v1 follows whether MongoDB answers."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from grpc_health.v1 import health_pb2
from grpc_health.v1.health import aio

from server.errors import RollcallError
from server.observability.metrics import CallMetrics
from server.store.failures import deadline

INTERVAL_SECONDS = 0.5
ANSWER_SECONDS = 2.0

log = logging.getLogger(__name__)


async def follow(
    health: aio.HealthServicer,
    services: Sequence[str],
    ping: Callable[[], Awaitable[None]],
    metrics: CallMetrics,
) -> None:
    """Set the status of `services`, and of the whole server, for ever: SERVING while `ping` returns."""
    serving: bool | None = None
    while True:
        ready = await _answers(ping)
        if ready is not serving:
            log.info("MongoDB answers" if ready else "MongoDB does not answer")
            await set_status(health, services, ready=ready)
            metrics.store_ready(ready=ready)
            serving = ready
        await asyncio.sleep(INTERVAL_SECONDS)


async def set_status(health: aio.HealthServicer, services: Sequence[str], *, ready: bool) -> None:
    """Set the status of `services` and of the whole server."""
    status = health_pb2.HealthCheckResponse.SERVING if ready else health_pb2.HealthCheckResponse.NOT_SERVING
    for service in ("", *services):
        await health.set(service, status)


async def _answers(ping: Callable[[], Awaitable[None]]) -> bool:
    try:
        # The driver's own deadline alone: a cancel beside it could catch the driver in a bad moment.
        with deadline(ANSWER_SECONDS):
            await ping()
    except RollcallError:
        return False
    except Exception:
        log.exception("MongoDB's answer is not understood")
        return False
    return True

"""A trial: calm, a fault, its end, calm again; and what is promised of it."""

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

from tests.faults import report
from tests.faults.checker import WRONG_SHOWN, Checker
from tests.faults.fronts import CleanError, stub_at
from tests.faults.house import Server

CALM_SECONDS = 0.7
LATE_SECONDS = 0.2
RECOVERY_SECONDS = 5.0
BLOCKED_SECONDS = 0.25
SLACK_SECONDS = 0.5 if report.ALL else 1.5
"""What a machine that is busy otherwise may take from us, beside what the caller's own loop was late."""
GIVE_UP_SECONDS = 15.0
POLL_SECONDS = 0.1

Healthy = Callable[[], Awaitable[bool]]


@dataclass
class Readiness:
    """What the service says of its health all the while."""

    healthy: Healthy
    seen: list[bool] = field(default_factory=list)

    @contextlib.asynccontextmanager
    async def followed(self) -> AsyncIterator[None]:
        """Look at it in the block."""

        async def follow() -> None:
            while True:
                self.seen.append(await self.healthy())
                await asyncio.sleep(POLL_SECONDS)

        following = asyncio.create_task(follow())
        try:
            yield
        finally:
            following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await following


async def recovery(checker: Checker, healthy: Healthy) -> float:
    """Return after how many seconds calls are answered and the service is healthy again."""
    begun = time.monotonic()
    while not (await checker.works() and await healthy()):
        if time.monotonic() - begun > GIVE_UP_SECONDS:
            break
        await asyncio.sleep(POLL_SECONDS)
    return time.monotonic() - begun


async def stand(  # noqa: PLR0913 # what a trial is made of
    name: str,
    checker: Checker,
    healthy: Healthy,
    fault: AbstractAsyncContextManager[object],
    seconds: float,
    *,
    away: bool = False,
) -> None:
    """Have a fault for some seconds under load, and check what is promised.

    `away` says that nothing can be answered meanwhile, so that health must go down.
    """
    async with checker.load():
        await asyncio.sleep(CALM_SECONDS)
        readiness = Readiness(healthy)
        checker.calm = False
        async with fault, readiness.followed():
            await asyncio.sleep(seconds)
        recovered = await recovery(checker, healthy)
        checker.calm = True
        await asyncio.sleep(CALM_SECONDS)
    await rowed(name, checker, recovered)
    assert (not away) or not readiness.seen[-1], f"{name}: health stayed up: {readiness.seen}"


async def survive(
    server: Server,
    name: str,
    fault: AbstractAsyncContextManager[None],
    seconds: float,
    *,
    away: bool = False,
) -> None:
    """Have a fault of one server's, called by the stub; its event loop must not stand either."""
    try:
        async with stub_at(server.port, f"t-{uuid.uuid4()}") as stub:
            checker = Checker(stub, server.request_seconds)
            await stand(name + server.label, checker, server.healthy, fault, seconds, away=away)
        expect_no_block(server, name)
    except AssertionError:  # One failure must not be that of the faults after it.
        await server.kill()
        server.start()
        await server.await_healthy()
        raise


def expect_no_block(server: Server, name: str) -> None:
    """Note how long a server's event loop stood at most, and check that it is not too long."""
    watch = server.watch()
    report.blocked.append(watch.blocked)
    blocked = f"{name}: the event loop stood {watch.blocked} s at {watch.where}"
    assert watch.blocked <= BLOCKED_SECONDS, blocked


async def rowed(name: str, checker: Checker, recovered: float | None) -> None:
    """Note what came of a trial, and check that nothing is wrong, lost, late or still broken."""
    counts = checker.counts
    try:
        lost: int | str = await checker.lost()
    except CleanError as error:
        lost = f"cannot be read: {error}"
    row = report.Row(
        fault=name,
        calls=counts.calls,
        right=counts.right,
        clean=counts.clean.total(),
        wrong=len(counts.wrong),
        lost=lost,
        longest=counts.longest,
        recovery=recovered,
    )
    report.rows.append(row)
    report.late.append(counts.late)
    assert counts.wrong == [], f"{name}: {len(counts.wrong)} wrong: {counts.wrong[:WRONG_SHOWN]}"
    assert lost == 0, f"{name}: lost {lost} of {checker.acknowledged}"
    assert counts.late <= LATE_SECONDS + SLACK_SECONDS, f"{name}: {counts.late:.2f} s after its deadline"
    late = (recovered or 0.0) > RECOVERY_SECONDS + SLACK_SECONDS
    assert not late, f"{name}: {recovered:.1f} s to recover"

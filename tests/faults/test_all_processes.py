"""A worker that is killed, and an Envoy that is restarted."""

import contextlib
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.faults.checker import Checker
from tests.faults.fronts import rest_at, stub_at
from tests.faults.house import Server, Store, health_at, running_envoy, running_store
from tests.faults.trial import BLOCKED_SECONDS, expect_no_block, stand
from tests.faults.waiting import until

SECONDS = 1.5
WORKERS = 2


@pytest.fixture(scope="module")
async def store(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Store]:
    async with running_store(tmp_path_factory.mktemp("store")) as running:
        yield running


async def test_a_worker_that_is_killed_takes_only_its_own_calls_with_it(store: Store, tmp_path: Path) -> None:
    async with Server(tmp_path, store.uri, workers=WORKERS).serving() as server:
        await until(lambda: len(server.members()) > WORKERS)
        victims = set[int]()

        @contextlib.asynccontextmanager
        async def killed() -> AsyncIterator[None]:
            _, *workers = server.members()
            victim = max(workers, key=lambda worker: len(worker.net_connections("tcp")))  # It has the caller.
            victims.add(victim.pid)
            victim.kill()
            yield

        async with stub_at(server.port, f"t-{uuid.uuid4()}") as stub:
            checker = Checker(stub, server.request_seconds)
            await stand("one worker of two SIGKILLed", checker, server.healthy, killed(), SECONDS)
        await until(lambda: len(server.members()) > WORKERS)
        assert victims.isdisjoint(process.pid for process in server.members())
        assert await server.metric("rollcall_loop_lag_seconds") <= BLOCKED_SECONDS


async def test_an_envoy_that_is_restarted_is_used_again(store: Store, tmp_path: Path) -> None:
    async with (
        Server(tmp_path, store.uri).serving() as server,
        running_envoy(tmp_path, [server]) as (envoy, port),
    ):

        async def healthy() -> bool:
            return await health_at(port) is not None and await server.healthy()

        @contextlib.asynccontextmanager
        async def restarted() -> AsyncIterator[None]:
            await envoy.kill()
            try:
                yield
            finally:
                envoy.start()

        async with rest_at(port, f"t-{uuid.uuid4()}", breaks=True) as front:
            checker = Checker(front, server.request_seconds)
            await stand("Envoy SIGKILLed, restarted", checker, healthy, restarted(), SECONDS, away=True)
        expect_no_block(server, "Envoy SIGKILLed, restarted")

"""A server that stops: calls in flight end, health goes down first, new calls go elsewhere."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from rollcall.v1 import session_pb2, session_pb2_grpc

from tests.faults import report
from tests.faults.fronts import CleanError, Stub, stub_at
from tests.faults.house import Server, Store, channel_to, running_store, token_of
from tests.faults.proxy import PASS, Stall
from tests.faults.trial import expect_no_block
from tests.faults.waiting import until
from tests.parts import uid

IN_FLIGHT = 200
CHANNELS = 4
REQUEST_SECONDS = 8
MONGODB_SECONDS = 6
GRACE_SECONDS = 10.0
DRAIN_SECONDS = 40.0


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with running_store(tmp_path) as running:
        yield running


async def first_bad_news(port: int) -> float:
    """Return when a watcher hears that the server is not healthy any more."""
    async with channel_to(port) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        async for answer in stub.Watch(health_pb2.HealthCheckRequest()):
            if answer.status != health_pb2.HealthCheckResponse.SERVING:
                return time.monotonic()
    raise AssertionError("the watch has ended without a word")


async def test_a_server_that_stops_answers_the_200_calls_that_it_has(store: Store, tmp_path: Path) -> None:
    limits = {"request_seconds": REQUEST_SECONDS, "mongodb_seconds": MONGODB_SECONDS, "max_calls": IN_FLIGHT}
    async with Server(tmp_path, store.uri, **limits).serving() as server, AsyncExitStack() as stack:
        tenant = f"t-{uuid.uuid4()}"
        stubs = [await stack.enter_async_context(stub_at(server.port, tenant)) for _ in range(CHANNELS)]
        for stub in stubs:
            await stub.create(stubs.index(stub), None)
        news = asyncio.create_task(first_bad_news(server.port))
        await asyncio.sleep(0.2)
        await store.proxy.set(Stall())
        ends: list[float] = []

        async def call(number: int) -> None:
            stub = stubs[number % CHANNELS]
            await (stub.create(number, None) if number % 2 else stub.get(number % CHANNELS, None))
            ends.append(time.monotonic())

        begun = time.monotonic()
        calls = [asyncio.create_task(call(number)) for number in range(CHANNELS, CHANNELS + IN_FLIGHT)]

        async def are_in_flight() -> bool:
            return await server.metric("rollcall_open_calls") >= IN_FLIGHT

        await until(are_in_flight, 5)
        server.terminate()
        told = await asyncio.wait_for(news, 2)
        refusals = [await refusal(server, tenant), *[await refused(stub) for stub in stubs]]
        await store.proxy.set(PASS)
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        status = await asyncio.wait_for(server.ended(), GRACE_SECONDS + 5)
        expect_no_block(server, "SIGTERM with 200 calls in flight")
    failures = [repr(outcome) for outcome in outcomes if outcome is not None]
    report.rows.append(
        report.Row(
            fault="SIGTERM with 200 calls in flight",
            calls=IN_FLIGHT + len(refusals),
            right=len(ends),
            clean=len(refusals),
            lost=len(failures),
            longest=max(ends, default=begun) - begun,
        )
    )
    assert failures == []
    assert told < min(ends)
    assert all("UNAVAILABLE" in text for text in refusals), refusals
    assert status == 0


async def test_who_is_refused_is_told_when_to_come_back(store: Store, tmp_path: Path) -> None:
    async with Server(tmp_path, store.uri).serving() as server, channel_to(server.port) as channel:
        stub: Any = session_pb2_grpc.SessionServiceStub(channel)
        metadata = (("authorization", f"Bearer {token_of('t')}"),)

        async def call() -> grpc.aio.AioRpcError:
            with pytest.raises(grpc.aio.AioRpcError) as ended:
                await stub.GetSession(session_pb2.GetSessionRequest(id=uid(1)), metadata=metadata, timeout=5)
            return ended.value

        assert (await call()).code() is grpc.StatusCode.NOT_FOUND
        news = asyncio.create_task(first_bad_news(server.port))
        await asyncio.sleep(0.2)
        # Something in flight, so that the server waits for it.
        await store.proxy.set(Stall())
        waiting = asyncio.create_task(call())
        await asyncio.sleep(0.2)
        server.terminate()
        await asyncio.wait_for(news, 5)
        refusal = await call()
        await store.proxy.set(PASS)
        await waiting
    assert refusal.code() is grpc.StatusCode.UNAVAILABLE
    assert dict(refusal.trailing_metadata() or ())["grpc-retry-pushback-ms"] == "1000"


async def until_down(server: Server) -> None:
    """Wait until a server says that it takes no calls."""

    async def is_down() -> bool:
        return not await server.healthy()

    await until(is_down, 5)


async def test_a_server_that_drains_goes_on_until_it_is_asked_again(store: Store, tmp_path: Path) -> None:
    server = Server(tmp_path, store.uri, drain_seconds=DRAIN_SECONDS, workers=2)
    async with server.serving(), stub_at(server.port, f"t-{uuid.uuid4()}") as stub:
        await stub.create(2, None)
        server.terminate()
        await until_down(server)
        for _ in range(20):
            await stub.get(2, None)
        server.terminate()
        assert await asyncio.wait_for(server.ended(), DRAIN_SECONDS / 2) == 0


async def test_a_server_that_drains_goes_on_measuring(store: Store, tmp_path: Path) -> None:
    server = Server(tmp_path, store.uri, drain_seconds=DRAIN_SECONDS)
    async with server.serving(), stub_at(server.port, f"t-{uuid.uuid4()}") as stub:
        await stub.create(2, None)
        server.terminate()
        await until_down(server)
        counted = await server.metric("rollcall_credential_lookups_total")

        async def are_counted() -> bool:
            return await server.metric("rollcall_credential_lookups_total") >= counted + 20

        for _ in range(20):
            await stub.get(2, None)
        await until(are_counted, DRAIN_SECONDS / 4)
        server.terminate()
        assert await asyncio.wait_for(server.ended(), DRAIN_SECONDS / 2) == 0


async def refusal(server: Server, tenant: str) -> str:
    """Return how a new connection is refused."""
    async with channel_to(server.port) as channel:
        return await refused(Stub(channel, tenant, token_of(tenant)))


async def refused(stub: Stub) -> str:
    try:
        await stub.get(0, 2.0)
    except CleanError as error:
        return str(error)
    return "answered"

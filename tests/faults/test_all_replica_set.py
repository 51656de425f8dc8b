"""A replica set of three whose primary dies under load."""

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from server.embedded import mongod
from tests.faults.fronts import Stub, stub_at
from tests.faults.house import Server
from tests.faults.processes import Mongod
from tests.faults.trial import survive
from tests.faults.waiting import until
from tests.stack import free_port

NODES = 3
ELECTION_MS = 2000
"""The default of 10 s is how long an election waits at least; it is the operator's to choose."""
SECONDS = 1.0
STEP_DOWN_SECONDS = 4.0
READERS = 4


async def primary_of(nodes: Sequence[Mongod]) -> Mongod | None:
    for node in nodes:
        if node.runs() and await node.is_primary():
            return node
    return None


async def await_primary(nodes: Sequence[Mongod]) -> Mongod:
    async def is_there() -> bool:
        return await primary_of(nodes) is not None

    await until(is_there)
    primary = await primary_of(nodes)
    assert primary is not None
    return primary


async def await_members(nodes: Sequence[Mongod]) -> None:
    """Wait until every node is a primary or a secondary."""
    for node in nodes:

        async def is_member(node: Mongod = node) -> bool:
            hello = await node.hello()
            return bool(hello.get("isWritablePrimary") or hello.get("secondary"))

        await until(is_member)


@pytest.fixture(scope="module")
async def nodes(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Sequence[Mongod]]:
    nodes = [Mongod(tmp_path_factory.mktemp(f"node{number}"), free_port()) for number in range(NODES)]
    async with contextlib.AsyncExitStack() as running:
        for node in nodes:
            await running.enter_async_context(node.running())
        await nodes[0].initiate(nodes[1:], electionTimeoutMillis=ELECTION_MS, heartbeatIntervalMillis=500)
        await await_members(nodes)
        await await_primary(nodes)
        yield nodes


@pytest.mark.parametrize("driver", ["motor", "pymongo"])
async def test_nothing_acknowledged_is_lost_with_the_primary(
    nodes: Sequence[Mongod], tmp_path: Path, driver: str
) -> None:
    hosts = ",".join(node.host for node in nodes)
    uri = f"mongodb://{hosts}/?replicaSet={mongod.REPLICA_SET}"
    async with Server(tmp_path, uri, mongodb_driver=driver).serving() as server:
        victim = await await_primary(nodes)

        @contextlib.asynccontextmanager
        async def killed() -> AsyncIterator[None]:
            await victim.kill()
            try:
                yield
            finally:
                await await_primary(nodes)

        try:
            await survive(server, "primary of three SIGKILLed", killed(), SECONDS)
        finally:
            victim.start()
            await await_members(nodes)


@pytest.mark.parametrize("driver", ["motor", "pymongo"])
async def test_reads_are_tried_again_at_the_new_primary(
    nodes: Sequence[Mongod], tmp_path: Path, driver: str
) -> None:
    hosts = ",".join(node.host for node in nodes)
    uri = f"mongodb://{hosts}/?replicaSet={mongod.REPLICA_SET}"
    patience = {"request_seconds": 8, "mongodb_seconds": 7}
    async with (
        Server(tmp_path, uri, mongodb_driver=driver, **patience).serving() as server,
        stub_at(server.port, f"t-{uuid.uuid4()}") as stub,
    ):
        await stub.create(2, None)
        primary = await await_primary(nodes)
        reading = [asyncio.create_task(read_for(stub, STEP_DOWN_SECONDS)) for _ in range(READERS)]
        await asyncio.sleep(STEP_DOWN_SECONDS / 3)
        await primary.step_down()
        # Each read is right, or this raises its error.
        read = sum(await asyncio.gather(*reading))
        assert read > READERS
        assert await await_primary(nodes) is not primary


async def read_for(stub: Stub, seconds: float) -> int:
    """Read again and again; return how often."""
    end, number = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        await stub.get(2, None)
        assert (await stub.page("", None)).numbers == [2]
        number += 1
    return number

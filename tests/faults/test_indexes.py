"""Indexes over many records: MongoDB takes its time, and nothing else waits for it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from server.records import session
from server.settings import load
from server.store import indexes
from tests.faults.house import Server, Store, health_at, running_store
from tests.faults.waiting import until

BUILD_SECONDS = 1.5
LONG_SECONDS = 60.0
DRIVERS = ("motor", "pymongo")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with running_store(tmp_path, "--setParameter", "enableTestCommands=1") as running:
        yield running


async def hold_up_indexes(store: Store, seconds: float) -> None:
    """Have mongod take so long for each call that makes indexes."""

    def configure() -> None:
        with store.mongod.client() as client:
            held = {
                "failCommands": ["createIndexes"],
                "blockConnection": True,
                "blockTimeMS": int(seconds * 1000),
            }
            client.admin.command({"configureFailPoint": "failCommand", "mode": "alwaysOn", "data": held})

    await asyncio.to_thread(configure)


@pytest.mark.parametrize("name", DRIVERS)
async def test_an_index_may_take_longer_than_a_request(name: str, store: Store) -> None:
    await hold_up_indexes(store, BUILD_SECONDS)
    settings = load(
        mongodb_uri=store.uri,
        mongodb_driver=name,
        request_seconds=BUILD_SECONDS / 3,
        mongodb_seconds=BUILD_SECONDS / 3,
    )
    await indexes.make_for(settings, [session.KIND])

    def made() -> int:
        with store.mongod.client() as client:
            return len(client[settings.mongodb_database][session.KIND.collection].index_information())

    assert await asyncio.to_thread(made) == 1 + len(session.KIND.indexes)


@pytest.mark.parametrize("name", DRIVERS)
async def test_a_server_that_makes_indexes_stops_all_the_same(
    name: str, store: Store, tmp_path: Path
) -> None:
    await hold_up_indexes(store, LONG_SECONDS)
    server = Server(tmp_path, store.uri, mongodb_driver=name)
    async with server.running():

        async def listens() -> bool:
            return await health_at(server.port) is not None

        def is_making() -> bool:
            with store.mongod.client() as client:
                running = client.admin.command("currentOp")["inprog"]
            return any("createIndexes" in operation.get("command", {}) for operation in running)

        await until(listens)
        await until(lambda: asyncio.to_thread(is_making))
        server.terminate()
        async with asyncio.timeout(LONG_SECONDS / 2):
            assert await server.ended() == 0

"""What callers see while the way to MongoDB, or MongoDB itself, is broken."""

import contextlib
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from tests.faults.fronts import stub_at
from tests.faults.house import Server, Store, running_store
from tests.faults.processes import Mongod
from tests.faults.proxy import (
    PASS,
    CloseAfter,
    CorruptLength,
    Drip,
    Fault,
    Latency,
    Pipe,
    Refuse,
    ResetMidReply,
    Stall,
)
from tests.faults.report import ALL
from tests.faults.trial import survive

AWAY_SECONDS = 4.0
"""Longer than readiness may take to see that the store is away."""
SECONDS = 1.5


@dataclass(frozen=True)
class Case:
    """A fault of the network; `away` says that nothing gets through."""

    name: str
    fault: Fault
    seconds: float = SECONDS
    away: bool = False

    def __str__(self) -> str:
        return self.name


QUICK = [
    Case("refuse", Refuse(), AWAY_SECONDS, away=True),
    Case("reset mid-reply", ResetMidReply(), SECONDS),
    Case("stall", Stall(), AWAY_SECONDS, away=True),
    Case("corrupt length, huge", CorruptLength(lambda _: 2**31 - 1), SECONDS),
]
REST = [
    Case("latency of 500 ms", Latency(0.5), 4.0),
    Case("slow drip", Drip(16, 0.02), 4.0),
    Case("close after 200 bytes", CloseAfter(200)),
    Case("close after 20,000 bytes", CloseAfter(20_000)),
    Case("corrupt length, long by 1,000", CorruptLength(lambda length: length + 1000), AWAY_SECONDS),
    Case("corrupt length, short by 5", CorruptLength(lambda length: length - 5)),
    Case("corrupt length, 8", CorruptLength(lambda _: 8)),
    Case("corrupt length, negative", CorruptLength(lambda length: -length)),
]
NETWORK = [*QUICK, *REST] if ALL else QUICK
DRIVERS = ["motor", "pymongo"] if ALL else ["motor"]


@pytest.fixture(scope="module")
async def store(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Store]:
    async with running_store(tmp_path_factory.mktemp("store")) as running:
        yield running


@pytest.fixture(scope="module", params=DRIVERS)
async def server(
    store: Store, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Server]:
    folder = tmp_path_factory.mktemp(request.param)
    async with Server(folder, store.uri, mongodb_driver=request.param).serving() as running:
        yield running


@contextlib.asynccontextmanager
async def having(store: Store, fault: Fault) -> AsyncIterator[None]:
    await store.proxy.set(fault)
    try:
        yield
    finally:
        await store.proxy.set(PASS)


@pytest.mark.parametrize("case", NETWORK, ids=str)
async def test_an_answer_is_right_or_an_error_whatever_the_network_does(
    store: Store, server: Server, case: Case
) -> None:
    await survive(server, case.name, having(store, case.fault), case.seconds, away=case.away)


@contextlib.asynccontextmanager
async def killed(mongod: Mongod) -> AsyncIterator[None]:
    await mongod.kill()
    try:
        yield
    finally:
        mongod.start()
        await mongod.await_primary()


class ResetOneRead(Fault):
    """The first answer of a find is reset in its middle; all else passes."""

    def __init__(self) -> None:
        self.happened = False

    async def reply(self, pipe: Pipe, data: bytes) -> None:
        if self.happened or b"\x03cursor\0" not in data:
            await pipe.send(data)
            return
        self.happened = True
        await pipe.send(data[: len(data) // 2])
        pipe.reset()


async def test_a_read_whose_answer_is_lost_is_tried_again_and_answered(store: Store, server: Server) -> None:
    async with stub_at(server.port, f"t-{uuid.uuid4()}") as stub:
        await stub.create(2, None)
        for read in (lambda: stub.get(2, None), lambda: stub.page("", None)):
            for _ in range(5):
                fault = ResetOneRead()
                async with having(store, fault):
                    await read()
                assert fault.happened


SIGNALS = {"mongod SIGSTOP, SIGCONT": Mongod.frozen} | ({"mongod SIGKILL, restart": killed} if ALL else {})


@pytest.mark.parametrize("name", SIGNALS)
async def test_a_mongod_that_hangs_or_dies_is_an_error_until_it_is_back(
    store: Store, server: Server, name: str
) -> None:
    await survive(server, name, SIGNALS[name](store.mongod), AWAY_SECONDS, away=True)

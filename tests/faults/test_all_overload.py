"""Twice as many calls as can be answered, for a minute: most of the maximum is, and in time."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from rollcall.v1 import session_pb2, session_pb2_grpc

from server.embedded import mongod
from tests.faults import flood, report
from tests.faults.flood import Outcome
from tests.faults.house import HEALTHY, Server, channel_to, health_at, running_envoy, token_of
from tests.faults.processes import Mongod
from tests.stack import free_port

SECONDS = float(os.environ.get("ROLLCALL_OVERLOAD_SECONDS", "60"))
CALM_SECONDS = 8.0
TIMES = 2
CALLERS = 32
PAGE = 100
RECORD_BYTES = 1900
GOODPUT = 0.7
"""Four fifths, less what the calls themselves take from a server on the same cores."""
GROWTH_BYTES = 64 << 20
LAG_SECONDS = 1.0
TENANT = "many"
METHOD = "/rollcall.v1.SessionService/ListSessions"


class Driver:
    """Calls from a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process, metadata: Sequence[tuple[str, str]]) -> None:
        self._process = process
        self._metadata = metadata

    async def order(self, seconds: float, **how: float) -> Outcome:
        request = session_pb2.ListSessionsRequest(page_size=PAGE).SerializeToString().hex()
        order = {"metadata": self._metadata, "method": METHOD, "request": request, "seconds": seconds, **how}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        return Outcome(**json.loads(await self._process.stdout.readline()))


@asynccontextmanager
async def driver(port: int, metadata: Sequence[tuple[str, str]]) -> AsyncIterator[Driver]:
    command = [sys.executable, "-P", flood.__file__, f"{mongod.HOST}:{port}"]
    process = await asyncio.create_subprocess_exec(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        yield Driver(process, metadata)
    finally:
        process.kill()
        await process.wait()


async def load(port: int, metadata: Sequence[tuple[str, str]]) -> None:
    records = [session_pb2.Session(situation="x" * RECORD_BYTES) for _ in range(PAGE)]
    requests = [session_pb2.CreateSessionRequest(session=record) for record in records]
    async with channel_to(port) as channel:
        stub: Any = session_pb2_grpc.SessionServiceStub(channel)
        await stub.BatchCreateSessions(
            session_pb2.BatchCreateSessionsRequest(requests=requests), metadata=metadata
        )


async def follow(server: Server, seen: list[tuple[int | None, int]]) -> None:
    """Note the health and the memory of a server, for ever."""
    while True:
        seen.append((await health_at(server.port), psutil.Process(server.pid).memory_info().rss))
        await asyncio.sleep(0.5)


@pytest.mark.timeout(SECONDS * 3 + 120)
async def test_at_twice_the_maximum_most_of_it_is_answered_in_time(tmp_path: Path) -> None:
    node = Mongod(tmp_path, free_port())
    metadata = (("authorization", f"Bearer {token_of(TENANT)}"),)
    async with node.running():
        await node.initiate()
        await node.await_primary()
        server = Server(tmp_path, mongod.uri(node.port), request_seconds=8, mongodb_seconds=5)
        async with (
            server.serving(),
            running_envoy(tmp_path, [server]) as (_, port),
            driver(port, metadata) as calls,
        ):
            await load(server.port, metadata)
            await calls.order(2, callers=CALLERS)
            normal = await calls.order(CALM_SECONDS, callers=CALLERS)
            seen: list[tuple[int | None, int]] = []
            following = asyncio.create_task(follow(server, seen))
            flooded = await calls.order(SECONDS, rate=TIMES * normal.goodput)
            after = await calls.order(1, callers=1)
            following.cancel()
    note(normal, flooded)
    if flooded.lag > LAG_SECONDS:
        pytest.skip(f"this machine cannot make so many calls: one was {flooded.lag:.1f} s late")
    codes = {*normal.codes, *flooded.codes, *after.codes}
    assert codes <= {"OK", "RESOURCE_EXHAUSTED"}, (normal, flooded, after)
    assert set(normal.codes) == set(after.codes) == {"OK"}, (normal, after)
    assert {health for health, _ in seen} == {HEALTHY}
    assert flooded.goodput > GOODPUT * normal.goodput, (normal, flooded)
    assert flooded.p99 < 5 * normal.p99, (normal, flooded)
    sizes = [size for _, size in seen]
    assert max(sizes) - sizes[0] < GROWTH_BYTES, sizes
    assert after.longest < normal.p99 * 5, (normal, after)


def note(normal: Outcome, flooded: Outcome) -> None:
    calls, right = sum(flooded.codes.values()), flooded.codes.get("OK", 0)
    clean = flooded.codes.get("RESOURCE_EXHAUSTED", 0)
    share = flooded.goodput / normal.goodput
    report.rows.append(
        report.Row(
            fault=(
                f"{TIMES} x the maximum for {SECONDS:.0f} s: {share:.0%} of it answered, "
                f"p99 {flooded.p99 / normal.p99:.1f} x that of the maximum"
            ),
            calls=calls,
            right=right,
            clean=clean,
            wrong=calls - right - clean,
            longest=flooded.longest,
        )
    )

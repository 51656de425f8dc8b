"""Fifty faults leave nothing behind."""

import asyncio
import uuid
from pathlib import Path

import pytest

from tests.faults import report
from tests.faults.checker import Checker
from tests.faults.fronts import stub_at
from tests.faults.house import Server, Store, running_store
from tests.faults.proxy import PASS, CloseAfter, Drip, Refuse, ResetMidReply, Stall
from tests.faults.trial import RECOVERY_SECONDS, SLACK_SECONDS, expect_no_block, recovery

FAULTS = (Refuse(), ResetMidReply(), Stall(), CloseAfter(500), Drip(64, 0.01))
ROUNDS = 10
WARM_UP = 2
SECONDS = 0.4
MEGABYTE = 1 << 20
QUIET_SECONDS = 3.0
GROWTH = {"connections": 4, "descriptors": 6, "threads": 4, "tasks": 3, "bytes": 24 * MEGABYTE}
"""What may come and go by itself: a pool's connections, an allocator's pages."""


@pytest.mark.timeout(600)
@pytest.mark.parametrize("driver", ["motor", "pymongo"])
async def test_fifty_faults_leave_no_connection_task_or_memory_behind(tmp_path: Path, driver: str) -> None:
    async with (
        running_store(tmp_path) as store,
        Server(tmp_path, store.uri, mongodb_driver=driver).serving() as server,
    ):
        for _ in range(WARM_UP):
            await suffer(store, server)
        await asyncio.sleep(QUIET_SECONDS)
        before = server.usage()
        results = [await suffer(store, server) for _ in range(ROUNDS)]
        await asyncio.sleep(QUIET_SECONDS)
        after = server.usage()
        expect_no_block(server, f"50 faults in a row ({driver})")
    counts = [checker.counts for checker, _, _ in results]
    grown = {name: after[name] - before[name] for name in before}
    report.rows.append(row(f"50 faults in a row ({driver})", results))
    assert [text for one in counts for text in one.wrong] == []
    assert sum(lost for _, lost, _ in results) == 0
    assert max(slowest for _, _, slowest in results) <= RECOVERY_SECONDS + SLACK_SECONDS
    assert {name: by for name, by in grown.items() if by > GROWTH[name]} == {}, (before, after)


async def suffer(store: Store, server: Server) -> tuple[Checker, int, float]:
    """Have some faults in a row; return who called, how many writes were lost, the slowest recovery."""
    slowest = 0.0
    async with stub_at(server.port, f"t-{uuid.uuid4()}") as stub:
        checker = Checker(stub, server.request_seconds)
        async with checker.load():
            for fault in FAULTS:
                checker.calm = False
                await store.proxy.set(fault)
                await asyncio.sleep(SECONDS)
                await store.proxy.set(PASS)
                slowest = max(slowest, await recovery(checker, server.healthy))
        return checker, await checker.lost(), slowest


def row(name: str, results: list[tuple[Checker, int, float]]) -> report.Row:
    counts = [checker.counts for checker, _, _ in results]
    return report.Row(
        fault=name,
        calls=sum(one.calls for one in counts),
        right=sum(one.right for one in counts),
        clean=sum(one.clean.total() for one in counts),
        wrong=sum(len(one.wrong) for one in counts),
        lost=sum(lost for _, lost, _ in results),
        longest=max(one.longest for one in counts),
        recovery=max(slowest for _, _, slowest in results),
    )

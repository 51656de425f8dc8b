"""A rolling restart of two servers behind Envoy: nobody notices."""

import asyncio
import time
import uuid
from pathlib import Path

from tests.faults import report
from tests.faults.checker import Checker
from tests.faults.fronts import rest_at
from tests.faults.house import Server, running_envoy, running_store
from tests.faults.trial import rowed

PAUSE_SECONDS = 2.0
ROUNDS = 2


async def test_a_rolling_restart_fails_no_request(tmp_path: Path) -> None:
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        folder.mkdir()
    async with running_store(tmp_path) as store:
        first, second = (Server(folder, store.uri) for folder in folders)
        async with (
            first.serving(),
            second.serving(),
            running_envoy(tmp_path, [first, second]) as (_, port),
            rest_at(port, f"t-{uuid.uuid4()}", breaks=False) as front,
        ):
            checker = Checker(front, first.request_seconds)
            took = 0.0
            async with checker.load():
                for server in [first, second] * ROUNDS:
                    await asyncio.sleep(PAUSE_SECONDS)
                    begun = time.monotonic()
                    server.terminate()
                    await server.ended()
                    server.start()
                    await server.await_healthy()
                    took = max(took, time.monotonic() - begun)
                await asyncio.sleep(PAUSE_SECONDS)
            row = await rowed("rolling restart of two behind Envoy", checker, 0.0)
    assert isinstance(row, report.Row)

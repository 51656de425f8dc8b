"""A rolling restart of two servers behind Envoy: nobody notices."""

import asyncio
import uuid
from pathlib import Path

from server.settings import Settings
from tests.faults.checker import Checker
from tests.faults.fronts import rest_at, stub_at
from tests.faults.house import running_envoy, two_servers
from tests.faults.trial import rowed

PAUSE_SECONDS = 2.0
DRAIN_SECONDS = Settings.model_fields["drain_seconds"].default
PATIENCE_SECONDS = 8
"""As servers have it: a machine that is busy otherwise must not look like a restart that is felt."""
LIMITS = {"drain_seconds": DRAIN_SECONDS, "request_seconds": PATIENCE_SECONDS, "mongodb_seconds": 5}
ROUNDS = 2


async def test_a_rolling_restart_fails_no_request(tmp_path: Path) -> None:
    async with (
        two_servers(tmp_path, **LIMITS) as servers,
        running_envoy(tmp_path, servers) as (_, port),
        rest_at(port, f"t-{uuid.uuid4()}", breaks=False) as front,
        stub_at(port, f"t-{uuid.uuid4()}") as stub,
    ):
        checker, native = (Checker(one, PATIENCE_SECONDS, PATIENCE_SECONDS) for one in (front, stub))
        async with checker.load(), native.load():
            for server in servers * ROUNDS:
                await asyncio.sleep(PAUSE_SECONDS)
                server.terminate()
                assert await server.ended() == 0
                server.start()
                await server.await_healthy()
            await asyncio.sleep(PAUSE_SECONDS)
        await rowed("rolling restart of two behind Envoy, over REST", checker, None)
        await rowed("rolling restart of two behind Envoy, native gRPC", native, None)

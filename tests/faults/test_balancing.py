"""Two servers behind Envoy, one of them broken: callers of the documented paths do not notice."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
import yaml

from server.commands import tokens
from server.embedded import mongod
from server.records.caller import Caller
from server.settings import load
from tests.faults.fronts import Rest, rest_at
from tests.faults.house import SECRETS, running_envoy, two_servers
from tests.faults.proxy import PASS, Fault, FaultProxy, Pipe, Refuse
from tests.faults.report import ALL
from tests.faults.waiting import until
from tests.parts import FOUNDRY
from tests.stack import PLAIN, free_port

CALLS = 60
EJECTED_SECONDS = 3.0
"""Longer than a server is passed over whose connections have failed."""
CALLER = Caller(
    sub="ada",
    tenant="acme",
    client_id="console",
    permissions=frozenset(["USE_ROBOTS"]),
    scopes=frozenset(["api:aip-agents-write", "sessions:write"]),
)
TOKEN = tokens.sign(load(**SECRETS), CALLER, timedelta(hours=1))
LIMITS = {"request_seconds": 8, "mongodb_seconds": 5}


class ResetRequests(Fault):
    """A connection is reset as soon as something is asked of it."""

    async def request(self, pipe: Pipe, data: bytes) -> None:  # noqa: ARG002 # it gets nowhere
        pipe.reset()


@dataclass(frozen=True)
class Pair:
    """A good server and one behind a fault proxy, both behind one Envoy."""

    front: Rest
    proxy: FaultProxy
    url: str
    admin: str

    async def ask(self, method: str, path: str) -> int:
        """Return the status of a call by a new connection."""
        headers = {"authorization": f"Bearer {TOKEN}"}
        async with httpx.AsyncClient(base_url=self.url, verify=PLAIN, timeout=30) as client:
            body: dict[str, str] | None = {} if method == "POST" else None
            return (await client.request(method, path, headers=headers, json=body)).status_code

    async def stat(self, name: str) -> int:
        async with httpx.AsyncClient(verify=PLAIN) as client:
            answer = await client.get(f"{self.admin}/stats", params={"filter": f"^cluster.rollcall.{name}$"})
        return int(answer.text.rpartition(":")[2] or 0)

    async def has_healthy(self, number: int) -> bool:
        return await self.stat("membership_healthy") == number


@asynccontextmanager
async def running_pair(folder: Path) -> AsyncIterator[Pair]:
    async with (
        two_servers(folder, **LIMITS) as (good, bad),
        FaultProxy(bad.port, free_port()) as proxy,
        running_envoy(folder, [good, proxy]) as (_, port),
        rest_at(port, f"t-{uuid.uuid4()}", breaks=False) as front,
    ):
        config = yaml.safe_load((folder / "envoy.yaml").read_text())
        admin = config["admin"]["address"]["socket_address"]["port_value"]
        url = f"http://{mongod.HOST}"
        pair = Pair(front, proxy, f"{url}:{port}", f"{url}:{admin}")
        await until(lambda: pair.has_healthy(2))
        await front.create(1, None)
        yield pair


@pytest.fixture(scope="module")
async def pair(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pair]:
    async with running_pair(tmp_path_factory.mktemp("pair")) as running:
        yield running


@asynccontextmanager
async def broken(pair: Pair, fault: Fault) -> AsyncIterator[None]:
    await pair.proxy.set(fault)
    try:
        yield
    finally:
        await pair.proxy.set(PASS)
        await asyncio.sleep(EJECTED_SECONDS)
        await until(lambda: pair.has_healthy(2))


all_faults = pytest.mark.skipif(not ALL, reason="a part of make faults")
REFUSE, RESET = Refuse(), ResetRequests()
QUICK = [("/session", REFUSE), ("/robots", RESET)]
TRIED_AGAIN = [
    *((path, REFUSE) for path in ("/session", "/sessions", "/robots", FOUNDRY, "/v1/sessions")),
    # A list of any length that has been asked for is not asked for twice.
    *((path, RESET) for path in ("/robots", "/robots/sessions", FOUNDRY, "/v1/sessions")),
]


@pytest.mark.parametrize(("path", "fault"), TRIED_AGAIN if ALL else QUICK)
async def test_a_get_is_tried_again_at_the_other_server(pair: Pair, path: str, fault: Fault) -> None:
    before = await pair.stat("upstream_rq_retry_success")
    async with broken(pair, fault):
        # At once, before health checks have noticed.
        statuses = await asyncio.gather(*(pair.ask("GET", path) for _ in range(CALLS)))
        assert set(statuses) == {200}
        assert await pair.stat("upstream_rq_retry_success") > before


@all_faults
async def test_a_write_that_a_server_may_have_seen_is_not_tried_again(pair: Pair) -> None:
    before = await pair.stat("upstream_rq_retry")
    async with broken(pair, RESET):
        statuses = await asyncio.gather(*(pair.ask("POST", "/v1/sessions") for _ in range(8)))
        assert set(statuses) == {200, 503}
        assert await pair.stat("upstream_rq_retry") == before


@all_faults
async def test_a_server_that_fails_its_health_checks_is_passed_over_until_it_is_well(pair: Pair) -> None:
    async with broken(pair, Refuse()):
        await until(lambda: pair.has_healthy(1))
        before = await pair.stat("upstream_rq_retry")
        await asyncio.gather(*(pair.front.get(1, None) for _ in range(CALLS)))
        assert await pair.stat("upstream_rq_retry") == before
    assert await pair.has_healthy(2)


@all_faults
async def test_a_server_whose_connections_fail_is_ejected_before_its_health_checks_have(pair: Pair) -> None:
    before = await pair.stat("outlier_detection.ejections_enforced_consecutive_local_origin_failure")
    async with broken(pair, Refuse()):
        for _ in range(CALLS):
            await pair.front.get(1, None)
        name = "outlier_detection.ejections_enforced_consecutive_local_origin_failure"
        assert await pair.stat(name) > before

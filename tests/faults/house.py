"""A store behind a fault proxy, and servers before it."""

import contextlib
import json
import secrets
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

import grpc
import httpx
import psutil
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc

from server.commands import tokens
from server.embedded import envoy, mongod
from server.records.caller import Caller
from server.settings import load
from tests.faults import watched
from tests.faults.processes import Mongod, Process, environment_of
from tests.faults.proxy import FaultProxy
from tests.faults.waiting import until
from tests.stack import free_port

REQUEST_SECONDS = 2.0
MONGODB_SECONDS = 1.0
PROBE_SECONDS = 1.0
HEALTHY = health_pb2.HealthCheckResponse.SERVING

OPTIONS = (
    ("grpc.max_receive_message_length", 16 << 20),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
    # A server that comes back is found at once.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 2000),
    ("grpc.max_reconnect_backoff_ms", 200),
)

SECRETS = {name: secrets.token_urlsafe(48) for name in ("jwt_secret", "page_token_keys")}


def token_of(tenant: str) -> str:
    """Return a token for all sessions of a tenant, good for longer than a clock is wrong."""
    caller = Caller(sub="checker", tenant=tenant, scopes=frozenset(["sessions:write"]))
    return tokens.sign(load(**SECRETS), caller, timedelta(hours=3))


def channel_to(port: int) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel(f"{mongod.HOST}:{port}", options=OPTIONS)


async def health_at(port: int) -> int | None:
    """Return what a new connection hears of the server's health; None if nothing."""
    async with channel_to(port) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        try:
            answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=PROBE_SECONDS)
        except grpc.aio.AioRpcError:
            return None
        return int(answer.status)


@dataclass(frozen=True)
class Watch:
    """What the watchdog in a server has seen."""

    blocked: float
    where: str
    tasks: int


class Server(Process):
    """`rollcall serve`: one process with a watchdog in it, or several workers."""

    def __init__(self, folder: Path, uri: str, **settings: object) -> None:
        self.port = free_port()
        self.metrics_port = free_port()
        self.unresolved = folder / "unresolved"
        self._status = folder / f"status-{self.port}.json"
        wanted = {
            "grpc_port": self.port,
            "mongodb_uri": uri,
            "workers": 1,
            "request_seconds": REQUEST_SECONDS,
            "mongodb_seconds": MONGODB_SECONDS,
            "drain_seconds": 0,
            "metrics_port": self.metrics_port,
            "log_level": "info",
            **SECRETS,
        } | settings
        serve = [watched.__file__, str(self._status), str(self.unresolved)]
        if wanted["workers"] != 1:
            serve = ["-m", "server.cli", "serve"]
        self.label = f" ({driver})" if (driver := settings.get("mongodb_driver")) else ""
        self.request_seconds = float(str(wanted["request_seconds"]))
        super().__init__(
            f"serve-{self.port}", [sys.executable, "-P", *serve], folder, **environment_of(**wanted)
        )

    async def healthy(self) -> bool:
        return await health_at(self.port) == HEALTHY

    async def await_healthy(self) -> float:
        return await until(self.healthy)

    @contextlib.asynccontextmanager
    async def serving(self, *before: str, **environment: str) -> AsyncIterator[Self]:
        async with self.running(*before, **environment):
            await self.await_healthy()
            yield self

    async def metric(self, name: str) -> float:
        """Return the sum of a metric over its labels."""
        async with httpx.AsyncClient(verify=False) as client:  # noqa: S501 # plain HTTP
            text = (await client.get(f"http://{mongod.HOST}:{self.metrics_port}/metrics")).text
        found = [
            line.rpartition(" ")[2]
            for line in text.splitlines()
            if line.startswith((f"{name}{{", f"{name} "))
        ]
        return sum(map(float, found))

    def watch(self) -> Watch:
        return Watch(**json.loads(self._status.read_text()))

    def usage(self) -> dict[str, int]:
        """Return what it holds of the machine."""
        process = psutil.Process(self.pid)
        with process.oneshot():
            return {
                "connections": len(process.net_connections("tcp")),
                "descriptors": process.num_fds(),
                "threads": process.num_threads(),
                "tasks": self.watch().tasks,
                "bytes": process.memory_info().rss,
            }


class Store:
    """A mongod that is reached through a fault proxy alone."""

    def __init__(self, mongod_: Mongod, proxy: FaultProxy) -> None:
        self.mongod = mongod_
        self.proxy = proxy
        self.uri = mongod.uri(proxy.port)


@contextlib.asynccontextmanager
async def running_store(folder: Path, *options: str) -> AsyncIterator[Store]:
    port, shown = free_port(), free_port()
    node = Mongod(folder, port, shown, *options)
    async with FaultProxy(port, shown) as proxy, node.running():
        await node.initiate()
        await node.await_primary()
        yield Store(node, proxy)


@contextlib.asynccontextmanager
async def two_servers(folder: Path, **settings: object) -> AsyncIterator[tuple[Server, Server]]:
    """Run two servers of one store."""
    folders = [folder / "first", folder / "second"]
    for each in folders:
        each.mkdir()
    async with running_store(folder) as store:
        first, second = (Server(each, store.uri, **settings) for each in folders)
        async with first.serving(), second.serving():
            yield first, second


@contextlib.asynccontextmanager
async def running_envoy(
    folder: Path, servers: Sequence[Server | FaultProxy]
) -> AsyncIterator[tuple[Process, int]]:
    """Run Envoy before some servers, or proxies of theirs; yield it and its port."""
    port = free_port()
    path = folder / "envoy.yaml"
    envoy.write_config(load(grpc_port=servers[0].port, rest_port=port), path)
    config = yaml.safe_load(path.read_text())
    cluster = next(one for one in config["static_resources"]["clusters"] if one["name"] == "rollcall")
    (locality,) = cluster["load_assignment"]["endpoints"]
    locality["lb_endpoints"] = [
        {"endpoint": {"address": {"socket_address": {"address": mongod.HOST, "port_value": server.port}}}}
        for server in servers
    ]
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    binary = str(Path(sys.executable).with_name("envoy"))
    options = ("--use-dynamic-base-id", "--concurrency", "1", "-l", "warning")
    process = Process("envoy", [binary, "-c", str(path), *options], folder)
    async with process.running():
        await until(lambda: _healthy(port))
        yield process, port


async def _healthy(port: int) -> bool:
    return await health_at(port) == HEALTHY

"""The shipped Envoy with smaller limits, so that they are reached in a test's time."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml

from server.embedded.child import Child
from server.embedded.envoy import write_config
from server.settings import Settings, load
from tests.parts import wait_until
from tests.stack import PLAIN, Stack, free_port

ROOT = Path(__file__).parents[2]
ENVOY = str(Path(sys.executable).with_name("envoy"))
SECONDS = 2
"""Each limit of an impatient Envoy, of headers, requests, streams and connections; shipped, 10 to 300."""

Change = Callable[[Any], None]


class Edge:
    """A running Envoy before a stack's server."""

    def __init__(self, stack: Stack, settings: Settings, admin: int, process: psutil.Process) -> None:
        self.stack = stack
        self.port = settings.rest_port
        self.metrics = f"http://127.0.0.1:{settings.envoy_metrics_port}/stats/prometheus"
        self.process = process
        self._admin = admin
        self._tokens: dict[str, str] = {}

    def authorization(self, sub: str = "edge") -> tuple[str, str]:
        """Return the header of a caller who may call every documented path."""
        if sub not in self._tokens:
            scopes = ["api:aip-agents-write"]
            self._tokens[sub] = self.stack.token(
                sub, client_id="c", permissions=["USE_ROBOTS"], scopes=scopes
            )
        return "authorization", f"Bearer {self._tokens[sub]}"

    def answers(self) -> bool:
        """Return whether a caller with a new connection is served, from the store."""
        url = f"http://127.0.0.1:{self.port}/session"
        return httpx.get(url, headers=dict([self.authorization()]), timeout=10, verify=PLAIN).is_success

    def stat(self, name: str) -> int:
        """Return one of Envoy's counters or gauges, 0 if it has never been counted."""
        text = httpx.get(
            f"http://127.0.0.1:{self._admin}/stats", params={"filter": f"^{name}$"}, verify=PLAIN
        ).text
        return int(text.rpartition(":")[2] or 0)

    def megabytes(self) -> float:
        return self.process.memory_info().rss / (1 << 20)


def manager_of(config: Any) -> Any:
    """Return the settings of the HTTP connection manager."""
    return config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]


def shipped() -> Any:
    return yaml.safe_load((ROOT / "envoy.yaml").read_text())


def closing(config: Any) -> None:
    """Close connections soon after they have nothing more to do, so that tests need not guess."""
    manager = manager_of(config)
    manager["common_http_protocol_options"]["idle_timeout"] = "0.5s"
    # From then on the connection is told to go, and has five seconds more as shipped.
    manager["drain_timeout"] = "0.1s"
    manager["delayed_close_timeout"] = "0.1s"


def impatient(config: Any) -> None:
    closing(config)
    manager = manager_of(config)
    for name in ("request_headers_timeout", "request_timeout", "stream_idle_timeout"):
        assert name in manager
        manager[name] = f"{SECONDS}s"


@contextlib.contextmanager
def running_edge(
    stack: Stack, folder: Path, change: Change = closing, settings: Settings | None = None
) -> Iterator[Edge]:
    """Run the shipped Envoy with changes in the block."""
    used = settings or load(
        rest_port=free_port(), grpc_port=stack.settings.grpc_port, envoy_metrics_port=free_port()
    )
    path = folder / "envoy.yaml"
    write_config(used, path)
    config = yaml.safe_load(path.read_text())
    change(config)
    path.write_text(yaml.safe_dump(config))
    admin = config["admin"]["address"]["socket_address"]["port_value"]
    command = [ENVOY, "-c", str(path), "--use-dynamic-base-id", "--concurrency", "1", "-l", "warning"]
    with Child("envoy", command, folder / "envoy.log", os.environ) as child:
        wait_until(lambda: _is_live(child, admin))
        yield Edge(stack, used, admin, _process(path))


def _is_live(child: Child, admin: int) -> bool:
    child.check()
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(f"http://127.0.0.1:{admin}/ready", verify=PLAIN).is_success
    return False


def _process(config: Path) -> psutil.Process:
    [found] = [
        process
        for process in psutil.process_iter(["name", "cmdline"])
        if process.info["name"] == "envoy" and str(config) in (process.info["cmdline"] or ())
    ]
    return found

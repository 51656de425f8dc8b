"""Connections that only stand there: thousands are borne, and there is an end to them."""

import contextlib
import resource
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.samples import Sample

from tests.edge.proxies import Edge, running_edge, shipped
from tests.edge.wire import closes_within, connect
from tests.faults.report import ALL
from tests.parts import wait_until
from tests.promql import samples
from tests.stack import PLAIN, Stack

MANY = 10_000 if ALL else 1_000
KB_EACH = 100
"""What a connection may cost in memory; measured, 20 to 40."""
SPARE = 100
REFUSED = "envoy_listener_downstream_global_cx_overflow"


def bounded(config: Any) -> None:
    [monitor] = [
        one["typed_config"]
        for one in config["overload_manager"]["resource_monitors"]
        if one["name"] == "envoy.resource_monitors.global_downstream_max_connections"
    ]
    monitor["max_active_downstream_connections"] = MANY + SPARE


@contextlib.contextmanager
def open_files(number: int) -> Iterator[None]:
    """Allow this process so many files, and Envoy, which it starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < number:
        pytest.skip(f"this needs {number} open files; the machine allows {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, number), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextlib.contextmanager
def standing(port: int, number: int, saying: bytes = b"") -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(connect(port)) for _ in range(number)]
        for sock in sockets:
            sock.sendall(saying)
        yield sockets


def figures(edge: Edge) -> Iterator[Sample]:
    return samples(httpx.get(edge.metrics, timeout=10, verify=PLAIN).text)


def test_idle_connections_cost_little_and_hold_up_nobody_and_have_a_bound(
    stack: Stack, tmp_path: Path
) -> None:
    with open_files(MANY + 3 * SPARE), running_edge(stack, tmp_path, bounded) as edge:
        assert edge.answers()
        before = edge.megabytes()
        # Half of a request: more than the kernel alone could hold for Envoy.
        with standing(edge.port, MANY, b"GET /session HTTP/1.1\r\n") as sockets:
            assert edge.answers()
            assert edge.stat("http.rest.downstream_cx_active") >= MANY
            each = (edge.megabytes() - before) * 1024 / MANY
            print(f"{MANY} connections, {each:.0f} KB each")  # noqa: T201 # `pytest -s` shows it
            assert each < KB_EACH
            with standing(edge.port, SPARE):
                for _ in range(3):
                    with connect(edge.port) as one_more:
                        assert closes_within(one_more)
                # Those that are there are served.
                sockets[0].sendall(b"Host: a\r\n\r\n")
                assert sockets[0].recv(12) == b"HTTP/1.1 401"
                # And Prometheus, which is no caller.
                [refused] = [each for each in figures(edge) if each.name == REFUSED]
                assert refused.value >= 3
        wait_until(edge.answers)


def test_the_shipped_file_bounds_connections_and_memory() -> None:
    config = shipped()
    monitors = {
        monitor["name"].rpartition(".")[2]: monitor["typed_config"]
        for monitor in config["overload_manager"]["resource_monitors"]
    }
    assert monitors["global_downstream_max_connections"]["max_active_downstream_connections"] == 20_000
    bound = monitors["fixed_heap"]["max_heap_size_bytes"]
    # As many as there may be fit into what there is.
    assert bound >= 20_000 * KB_EACH * 1024
    actions = {action["name"].rpartition(".")[2] for action in config["overload_manager"]["actions"]}
    assert actions == {
        "shrink_heap",
        "reduce_timeouts",
        "reset_high_memory_stream",
        "reject_incoming_connections",
    }

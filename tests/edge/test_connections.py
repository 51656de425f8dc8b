"""Connections that only stand there: thousands are borne, and there is an end to them."""

import contextlib
import resource
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.edge.proxies import Edge, manager_of, running_edge, shipped
from tests.edge.wire import closes_within, connect, exchange, get
from tests.faults.report import ALL
from tests.stack import Stack

MANY = 10_000 if ALL else 1_000
KB_EACH = 100
"""What a connection may cost in memory; measured, 20 to 40."""
SPARE = 500
BOUND = 50


def bounded(config: Any) -> None:
    [monitor] = [
        one["typed_config"]
        for one in config["overload_manager"]["resource_monitors"]
        if one["name"] == "envoy.resource_monitors.global_downstream_max_connections"
    ]
    monitor["max_active_downstream_connections"] = BOUND


@contextlib.contextmanager
def open_files(number: int) -> Iterator[None]:
    """Allow this process so many files, and Envoy, which it starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard not in {resource.RLIM_INFINITY} and hard < number:
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


def test_idle_connections_cost_little_and_hold_up_nobody(stack: Stack, tmp_path: Path) -> None:
    with open_files(MANY + SPARE), running_edge(stack, tmp_path, lambda _: None) as edge:
        assert edge.answers()
        before = edge.megabytes()
        # Half of a request: more than the kernel alone could hold for Envoy.
        with standing(edge.port, MANY, b"GET /session HTTP/1.1\r\n"):
            assert edge.answers()
            assert edge.stat("http.rest.downstream_cx_active") >= MANY
            each = (edge.megabytes() - before) * 1024 / MANY
            print(f"{MANY} connections, {each:.0f} KB each")  # noqa: T201 # `pytest -s` shows it
            assert each < KB_EACH
        assert edge.answers()


@pytest.fixture(scope="module")
def full(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    with running_edge(stack, tmp_path_factory.mktemp("full"), bounded) as running:
        yield running


def test_connections_over_the_bound_are_closed_and_the_others_served(full: Edge) -> None:
    request = get("/nope")
    with standing(full.port, BOUND) as sockets:
        for _ in range(3):
            with connect(full.port) as one_more:
                assert closes_within(one_more)
        sockets[0].sendall(request.encode())
        assert sockets[0].recv(12) == b"HTTP/1.1 404"
    assert exchange(full.port, request).answer.status == 404


def test_the_shipped_file_bounds_connections_and_memory() -> None:
    config = shipped()
    monitors = {
        monitor["name"].rpartition(".")[2]: monitor["typed_config"]
        for monitor in config["overload_manager"]["resource_monitors"]
    }
    assert monitors["global_downstream_max_connections"]["max_active_downstream_connections"] == 20_000
    bound = monitors["fixed_heap"]["max_heap_size_bytes"]
    # As many as there may be fit into what there is.
    assert 20_000 * KB_EACH * 1024 <= bound
    actions = {action["name"].rpartition(".")[2] for action in config["overload_manager"]["actions"]}
    assert actions == {"shrink_heap", "reset_high_memory_stream", "reject_incoming_connections"}
    assert "max_connection_duration" not in manager_of(config)["common_http_protocol_options"]

"""Clients that say little, slowly or nothing are let go; meanwhile others are served."""

import contextlib
import socket
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme

from server.settings import load
from tests.edge.http2 import Http2
from tests.edge.proxies import SECONDS, Edge, impatient, manager_of, running_edge, shipped
from tests.edge.wire import Exchange, connect, exchange, received
from tests.faults.report import ALL
from tests.stack import Stack, free_port

PAUSE = SECONDS / 10
TIMED_OUT = {"error": {"message": "Request timeout", "type": "BAD_REQUEST", "status": 408}}
RPC_TIMED_OUT = {"code": 4, "message": "Request timeout", "details": []}

HEAD = b"POST /v1/sessions HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"
FOREVER = b"x" * 100_000
SLOW = {
    # First what is sent at once, then byte by byte.
    "nothing is sent": (b"", b"", None),
    "half a method": (b"GE", b"", TIMED_OUT),
    "headers byte by byte": (b"GET /session HTTP/1.1\r\nHost: a\r\nx: ", FOREVER, TIMED_OUT),
    "headers line by line": (b"GET /session HTTP/1.1\r\nHost: a\r\n", b"a:\r\n" * 1000, TIMED_OUT),
    "a body that never comes": (HEAD, b"", RPC_TIMED_OUT),
    "a body byte by byte": (HEAD, FOREVER, RPC_TIMED_OUT),
    "chunks byte by byte": (
        b"POST /v1/sessions HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"1\r\nx\r\n" * 1000,
        RPC_TIMED_OUT,
    ),
    "half of HTTP/2's preface": (b"PRI * HTTP/2.0\r\n\r\nS", b"", None),
    "HTTP/2 without a request": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", b"", None),
}


def drip(port: int, start: bytes, rest: bytes) -> Exchange:
    """Send `start`, then `rest` byte by byte until the other side answers or closes."""
    with connect(port) as sock:
        sock.sendall(start)
        with contextlib.suppress(ConnectionError):
            for byte in rest:
                sock.sendall(bytes([byte]))
                sock.settimeout(PAUSE)
                with contextlib.suppress(TimeoutError):
                    # Left where it is, for below.
                    sock.recv(1, socket.MSG_PEEK)
                    break
        return received(sock)


def headers_without_an_end(port: int) -> bool:
    with Http2(port) as client:
        client.send(client.block(b"\x82", whole=False))
        return client.is_ended()


def body_without_an_end(port: int) -> int | None:
    with Http2(port) as client:
        client.send(client.opening("/v1/sessions", method="POST", ends=False))
        return client.status(client.stream)


@pytest.fixture(scope="module")
def ended(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What became of them all; they hang about at the same time."""
    with (
        running_edge(stack, tmp_path_factory.mktemp("slow"), impatient) as edge,
        ThreadPoolExecutor(len(SLOW) + 2) as pool,
    ):
        running: dict[str, Future[Any]] = {
            name: pool.submit(drip, edge.port, start, rest) for name, (start, rest, _) in SLOW.items()
        }
        running["headers"] = pool.submit(headers_without_an_end, edge.port)
        running["body"] = pool.submit(body_without_an_end, edge.port)
        time.sleep(SECONDS / 4)
        assert edge.answers()
        yield {name: future.result() for name, future in running.items()}


@pytest.mark.parametrize("name", SLOW)
def test_a_slow_client_is_told_and_let_go(ended: dict[str, Exchange], name: str) -> None:
    body = SLOW[name][-1]
    assert ended[name].closed
    if body is not None:
        assert (ended[name].answer.status, ended[name].answer.json()) == (408, body)


def test_an_http2_connection_whose_headers_never_end_is_closed(ended: dict[str, bool]) -> None:
    assert ended["headers"]


def test_an_http2_stream_whose_body_never_ends_is_answered(ended: dict[str, int]) -> None:
    assert ended["body"] == 408


def test_an_idle_connection_is_closed_after_an_answer(edge: Edge) -> None:
    ended = exchange(edge.port, "GET /session HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (ended.answer.status, ended.closed) == (401, True)


@pytest.mark.skipif(not ALL, reason="a part of make faults")
def test_a_handshake_that_does_not_come_ends(stack: Stack, tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "pem")

    def hurried(config: Any) -> None:
        chain = config["static_resources"]["listeners"][0]["filter_chains"][0]
        chain["transport_socket_connect_timeout"] = f"{SECONDS}s"

    settings = load(
        rest_port=free_port(),
        grpc_port=stack.settings.grpc_port,
        rest_tls_cert=tmp_path / "pem",
        rest_tls_key=tmp_path / "pem",
    )
    with running_edge(stack, tmp_path, hurried, settings) as running, connect(running.port) as sock:
        trust = ssl.create_default_context()
        authority.configure_trust(trust)
        assert httpx.get(f"https://127.0.0.1:{running.port}/session", verify=trust).status_code == 401
        assert received(sock) == Exchange(b"", closed=True)


def test_the_shipped_file_lets_slow_clients_go() -> None:
    manager = manager_of(shipped())
    limits = ("request_headers_timeout", "request_timeout", "stream_idle_timeout")
    assert [manager[name] for name in limits] == ["10s", "300s", "60s"]
    assert manager["common_http_protocol_options"]["idle_timeout"] == "300s"
    [chain] = shipped()["static_resources"]["listeners"][0]["filter_chains"]
    assert chain["transport_socket_connect_timeout"] == "10s"
    assert manager["http2_protocol_options"]["connection_keepalive"] == {"interval": "60s", "timeout": "20s"}

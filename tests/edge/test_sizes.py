"""Requests that are too large are refused, and cost nothing that lasts."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hyperframe.frame import RstStreamFrame, SettingsFrame, WindowUpdateFrame

from tests.edge.http2 import Http2, data
from tests.edge.proxies import SECONDS, Edge, running_edge
from tests.edge.wire import connect, exchange, get, received
from tests.faults.report import ALL
from tests.parts import wait_until
from tests.stack import PLAIN, Stack

MEGABYTE = 1 << 20
HEAP = 64 * MEGABYTE
SHORTEST_SILENCE = 10
FRAME = 16384
UPLOAD = 16 * MEGABYTE
GROWTH_MB = 30

PAYLOAD = {"error": {"message": "Payload too large", "type": "BAD_REQUEST", "status": 413}}
FIELDS = {"error": {"message": "Request header fields too large", "type": "BAD_REQUEST", "status": 431}}

REFUSED = {
    "query of 100 KB": (431, FIELDS, get("/sessions?q=" + "a" * 100_000)),
    "header of 100 KB": (431, FIELDS, get("/sessions", "x: " + "a" * 100_000)),
    "name of 100 KB": (431, FIELDS, get("/sessions", "a" * 100_000 + ": x")),
    "cookies of 100 KB": (431, FIELDS, get("/session", *["cookie: a=" + "b" * 2000] * 50)),
    "101 headers": (431, FIELDS, get("/sessions", *(f"x{number}: 1" for number in range(101)))),
    "200,000 headers without an end": (431, FIELDS, "GET /session HTTP/1.1\r\n" + "a: b\r\n" * 200_000),
    "request line without an end": (431, FIELDS, "GET /" + "a" * MEGABYTE),
}


@pytest.mark.parametrize("name", REFUSED)
def test_headers_over_the_limit_are_refused(edge: Edge, name: str) -> None:
    status, body, request = REFUSED[name]
    ended = exchange(edge.port, request)
    assert (ended.answer.status, ended.answer.json(), ended.closed) == (status, body, True)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_get_with_ten_megabytes_is_refused_and_the_memory_is_flat(edge: Edge, chunked: bool) -> None:
    body: Any = (b"x" * MEGABYTE for _ in range(10)) if chunked else b"x" * 10 * MEGABYTE
    before = edge.megabytes()
    answer = httpx.request("GET", f"http://127.0.0.1:{edge.port}/session", content=body, verify=PLAIN)
    assert (answer.status_code, answer.json()) == (413, PAYLOAD)
    assert edge.megabytes() < before + GROWTH_MB
    assert edge.answers()


# Uploads that fill the memory and never end. The limit of the shipped file is 2 GB.


def small(config: Any) -> None:
    for monitor in config["overload_manager"]["resource_monitors"]:
        if "max_heap_size_bytes" in monitor["typed_config"]:
            monitor["typed_config"]["max_heap_size_bytes"] = HEAP


def small_and_impatient(config: Any) -> None:
    small(config)
    for action in config["overload_manager"]["actions"]:
        for timer in action.get("typed_config", {}).get("timer_scale_factors", ()):
            # Above what an answer may take.
            assert timer["min_timeout"] == "10s"
            timer["min_timeout"] = f"{SECONDS}s"


def is_served(edge: Edge) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return edge.answers()
    return False


@pytest.mark.skipif(not ALL, reason="a part of make faults")
def test_silent_uploads_are_let_go_when_memory_is_short(stack: Stack, tmp_path: Path) -> None:
    head = b"POST /v1/sessions:batchCreate HTTP/1.1\r\nHost: a\r\nContent-Length: 17000000\r\n\r\n"
    with contextlib.ExitStack() as held:
        edge = held.enter_context(running_edge(stack, tmp_path, small_and_impatient))
        first = held.enter_context(connect(edge.port))
        first.sendall(head + b"x" * UPLOAD)
        for _ in range(2 * HEAP // UPLOAD):
            with contextlib.suppress(ConnectionError):
                held.enter_context(connect(edge.port)).sendall(head + b"x" * UPLOAD)
        wait_until(lambda: is_served(edge))
        assert received(first).answer.status == 408


@pytest.mark.skipif(not ALL, reason="a part of make faults")
def test_the_largest_streams_are_reset_when_memory_is_short(stack: Stack, tmp_path: Path) -> None:
    with contextlib.ExitStack() as held:
        edge = held.enter_context(running_edge(stack, tmp_path, small))
        for _ in range(2 * HEAP // UPLOAD):
            with contextlib.suppress(ConnectionError):
                held.enter_context(uploaded(edge.port))
        # Long before they would have been silent for too long.
        wait_until(lambda: edge.stat("http2.tx_reset") > 0 and is_served(edge), SHORTEST_SILENCE)


@contextlib.contextmanager
def uploaded(port: int) -> Iterator[None]:
    """Send as much of an upload as the other side takes, and hold it."""
    with Http2(port) as client:
        client.send(client.opening("/v1/sessions:batchCreate", method="POST", ends=False))
        windows = {0: 65535, client.stream: 65535}
        left = UPLOAD
        for frame in client.frames(1):
            if isinstance(frame, WindowUpdateFrame):
                windows[frame.stream_id] += frame.window_increment
            if isinstance(frame, SettingsFrame):
                windows[client.stream] += frame.settings.get(SettingsFrame.INITIAL_WINDOW_SIZE, 65535) - 65535
            while left and min(windows.values()) >= FRAME:
                client.send(data(client.stream, b"x" * FRAME))
                windows = {stream: size - FRAME for stream, size in windows.items()}
                left -= FRAME
            if not left or isinstance(frame, RstStreamFrame):
                break
        yield

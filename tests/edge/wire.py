"""Raw HTTP/1.1: bytes out, the answers that came back. No client library would send what is sent here."""

import contextlib
import json
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPResponse
from io import BytesIO
from typing import Any

SECONDS = 20.0
"""How long a promised answer may take on a busy machine."""


@dataclass(frozen=True)
class Answer:
    """A whole answer; names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Exchange:
    """All that came over a connection, and whether the other side closed it."""

    data: bytes
    closed: bool

    @property
    def answers(self) -> list[Answer]:
        return list(_answers(self.data))

    @property
    def answer(self) -> Answer:
        """The one answer."""
        [only] = self.answers
        return only


class _Connection(BytesIO):
    """What HTTPResponse reads from; it stays open, as there may be a next answer."""

    def makefile(self, _: str) -> "_Connection":
        return self

    def close(self) -> None:
        pass


def _answers(data: bytes) -> Iterator[Answer]:
    source = _Connection(data)
    while source.tell() < len(data):
        yield _answer(HTTPResponse(source))  # type: ignore[arg-type] # it needs makefile() alone


def _answer(response: HTTPResponse) -> Answer:
    response.begin()
    body = response.read()
    return Answer(response.status, {name.lower(): value for name, value in response.headers.items()}, body)


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=SECONDS)


def received(sock: socket.socket, quiet: float = SECONDS) -> Exchange:
    """Read until the other side closes, or has said nothing for `quiet` seconds."""
    data = b""
    sock.settimeout(quiet)
    with contextlib.suppress(TimeoutError):
        try:
            while piece := sock.recv(1 << 16):
                data += piece
        except ConnectionResetError:
            pass
        return Exchange(data, closed=True)
    return Exchange(data, closed=False)


def exchange(port: int, request: str | bytes, quiet: float = SECONDS) -> Exchange:
    """Send bytes over a connection of their own, and read what comes."""
    with connect(port) as sock:
        # The proxy may refuse what it has not yet read.
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            sock.sendall(request if isinstance(request, bytes) else request.encode("latin1"))
        return received(sock, quiet)


def ask(port: int, request: str, method: str = "GET") -> Answer:
    """Return the answer to one request, as soon as it is whole."""
    with connect(port) as sock:
        sock.sendall(request.encode("latin1"))
        return _answer(HTTPResponse(sock, method=method))


def closes_within(sock: socket.socket, seconds: float = SECONDS) -> bool:
    """Return whether the other side closes, whatever it says before."""
    end = time.monotonic() + seconds
    sock.settimeout(seconds)
    try:
        while sock.recv(1 << 16):
            if time.monotonic() > end:
                return False
    except ConnectionResetError:
        pass
    except TimeoutError:
        return False
    return True


def get(path: str, *headers: str, method: str = "GET", host: str = "a") -> str:
    """Return a request after which the connection closes."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", "Connection: close", *headers]
    return "\r\n".join(lines) + "\r\n\r\n"

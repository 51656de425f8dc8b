"""A documented system with bad weather: a front of a running rollcall that answers what a test says first."""

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

import httpx

FORWARDED = ("authorization", "cookie")


@dataclass(frozen=True)
class Answer:
    """An answer in place of the source's; `cut`: the connection ends before its body does."""

    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False


HELD = Answer()
"""Lets a request through once `release` is set."""


@dataclass
class Live:
    """A front: `answers` are given first, one a request; None lets a request through, as when it is empty.

    `asked` has each request's time, path and credentials.
    """

    upstream: str
    url: str = ""
    answers: list[Answer | None] = field(default_factory=list)
    asked: list[tuple[float, str, dict[str, str]]] = field(default_factory=list)
    release: Event = field(default_factory=Event)
    client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=30))

    def answer(self, path: str, headers: dict[str, str]) -> Answer:
        self.asked.append((time.monotonic(), path, headers))
        scripted = self.answers.pop(0) if self.answers else None
        if scripted is HELD:
            self.release.wait()
        elif scripted is not None:
            return scripted
        real = self.client.get(self.upstream + path, headers=headers)
        return Answer(real.status_code, real.content, {"content-type": real.headers["content-type"]})


@contextlib.contextmanager
def live(upstream: str) -> Iterator[Live]:
    """Run a front of `upstream` in the block."""
    front = Live(upstream)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            headers = {name: self.headers[name] for name in FORWARDED if name in self.headers}
            answer = front.answer(self.path, headers)
            length = len(answer.body) + (100 if answer.cut else 0)
            with contextlib.suppress(ConnectionError):  # who was interrupted does not listen
                self.send_response(answer.status)
                for name, value in {"content-type": "application/json", **answer.headers}.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(length))
                self.end_headers()
                self.wfile.write(answer.body)
            self.close_connection = answer.cut

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    front.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield front
    finally:
        front.release.set()
        server.shutdown()
        thread.join()
        server.server_close()
        front.client.close()

"""A rollcall over one database, and what its answers cost."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import repeat
from statistics import median
from urllib.request import Request, urlopen

import grpc
from google.protobuf.message import Message

from bench import kinds, load
from bench.comparison import Cost
from bench.load import CONNECTIONS, Call, Owner
from bench.parts import FOLDER, Part, Parts, settings_of, start_rollcall
from server.commands import tokens
from server.records.caller import Caller

SECONDS = 1
FEWEST_CALLS, MOST_CALLS = 5, 100
"""Of each connection, in a round."""
SLOW = 50
"""A request that cannot be made so often in a second, one after the other, is made in a small number."""

CALLER = Caller(
    sub=kinds.USER,
    tenant=kinds.TENANT,
    client_id=kinds.CLIENT,
    permissions=frozenset({"USE_ROBOTS"}),
    scopes=frozenset({"api:aip-agents-write"}),
    groups=frozenset(),
)


class Server:
    """A rollcall over one database."""

    def __init__(self, parts: Parts, mongo: Part, mongo_port: int, database: str) -> None:
        self.settings, environment = settings_of(mongo_port, database)
        self.database = database
        self._owner = Owner("-", tokens.sign(self.settings, CALLER, timedelta(hours=6)))
        self._parts = {**start_rollcall(parts, database, self.settings, environment), "mongod": mongo}
        self._owners_file = parts.folder / f"{database}-owner"
        self._owners_file.write_text(f"{self._owner.name} {self._owner.token}\n")

    def ask(self, method: str, request: Message) -> bytes:
        """Return the answer to a call."""
        options = [("grpc.max_receive_message_length", -1), ("grpc.enable_http_proxy", 0)]
        with grpc.insecure_channel(f"127.0.0.1:{self.settings.grpc_port}", options) as channel:
            call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"/{method}")
            credentials = (("authorization", f"Bearer {self._owner.token}"),)
            return call(request.SerializeToString(), metadata=credentials, timeout=30)

    def grpc_cost(self, method: str, request: Message) -> Cost:
        """Return what a call costs."""
        start = time.monotonic()
        lengths = {self._owner.name: len(self.ask(method, request))}
        calls = max(FEWEST_CALLS, min(MOST_CALLS, int(SECONDS / (time.monotonic() - start))))
        call = Call(method, request.SerializeToString(), lengths)
        wave = [[self._owner] * CONNECTIONS]
        return self._cost(lambda: load.grpc(self.settings.grpc_port, call, wave, calls, FOLDER))

    def rest_cost(self, path: str) -> Cost:
        """Return what a request costs."""
        if min(self._get_seconds(path) for _ in range(FEWEST_CALLS)) * SLOW > SECONDS:
            return self._few_rest_cost(path)
        return self._cost(lambda: load.rest(self.settings.rest_port, path, self._owners_file, 0, SECONDS))

    def _few_rest_cost(self, path: str) -> Cost:
        """Return what one of few slow requests costs: those that wrk cuts off at its end would count, too."""
        before = self._cpu_seconds()
        with ThreadPoolExecutor(CONNECTIONS) as callers:
            times = list(callers.map(self._get_seconds, repeat(path, CONNECTIONS * FEWEST_CALLS)))
        return Cost((self._cpu_seconds() - before) * 1000 / len(times), median(times) * 1000)

    def _get_seconds(self, path: str) -> float:
        start = time.monotonic()
        with urlopen(self._get(path), timeout=30) as response:  # noqa: S310 # always http
            response.read()
        return time.monotonic() - start

    def _get(self, path: str) -> Request:
        return Request(
            f"http://127.0.0.1:{self.settings.rest_port}{path}",
            headers={"authorization": f"Bearer {self._owner.token}"},
        )

    def long_list(self, path: str) -> tuple[Cost, Cost, int]:
        """Return what one list costs, what its first byte did, and its bytes."""
        before, start = self._cpu_seconds(), time.monotonic()
        with urlopen(self._get(path), timeout=30) as response:  # noqa: S310 # always http
            response.read(1)
            first = Cost((self._cpu_seconds() - before) * 1000, (time.monotonic() - start) * 1000)
            size = 1 + len(response.read())
        whole = Cost((self._cpu_seconds() - before) * 1000, (time.monotonic() - start) * 1000)
        return whole, first, size

    def _cost(self, run: Callable[[], load.Load]) -> Cost:
        before = self._cpu_seconds()
        found = run()
        return Cost((self._cpu_seconds() - before) * 1000 / found.requests, found.p50)

    def _cpu_seconds(self) -> float:
        return sum(part.cpu_seconds() for part in self._parts.values())

"""`python -m bench.growth [RECORDS]`: what lists cost as their collections grow, one kind at a time.

CPU time a request, over server, Envoy and mongod:
- the first page of every list, with 1,000 records of the owner and with RECORDS;
- a page behind a token, near the beginning and near the end;
- the page at an offset or page number far down, against the first.
"""

import argparse
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from statistics import median

import grpc
from google.protobuf.message import Message
from rollcall.v1 import agent_session_pb2 as agents
from rollcall.v1 import robot_pb2 as robots
from rollcall.v1 import session_pb2 as sessions
from rollcall.v1 import user_session_pb2 as users

from bench import kinds, load, machine, store
from bench.load import CONNECTIONS, Call, Owner
from bench.parts import (
    FOLDER,
    BenchError,
    Part,
    Parts,
    say,
    settings_of,
    start_mongod,
    start_rollcall,
)
from server.commands import tokens
from server.records.caller import Caller

SMALL = 1000
RECORDS = 200_000
DEPTH = 100_000
PAGE = 20
STRIDE = 1000
"""Records that a token is moved on at a time."""
ROUNDS = 5
SECONDS = 1
FEWEST_CALLS, MOST_CALLS = 5, 100
"""Of each connection, in a round."""

CALLER = Caller(
    sub=kinds.USER,
    tenant=kinds.TENANT,
    client_id=kinds.CLIENT,
    permissions=frozenset({"USE_ROBOTS"}),
    scopes=frozenset({"api:aip-agents-write"}),
    groups=frozenset(),
)


@dataclass(frozen=True, slots=True)
class Grown:
    """A kind: its records, its two lists, and how each goes far down without a token, if it does."""

    name: str
    lines: Callable[[int], Iterator[kinds.Line]]
    method: str
    request: type[Message]
    response: type[Message]
    path: str | None
    far_path: Callable[[int], str] | None = None
    far_fields: Callable[[int], Mapping[str, int]] | None = None


KINDS = (
    Grown(
        "user sessions",
        kinds.user_sessions,
        "rollcall.v1.UserSessionService/ListUserSessions",
        users.ListUserSessionsRequest,
        users.ListUserSessionsResponse,
        None,  # `GET /session` has no pages
    ),
    Grown(
        "sessions",
        kinds.sessions,
        "rollcall.v1.SessionService/ListSessions",
        sessions.ListSessionsRequest,
        sessions.ListSessionsResponse,
        f"/sessions?limit={PAGE}",
        lambda depth: f"/sessions?limit={PAGE}&offset={depth}",
        lambda depth: {"offset": depth, "page_size": PAGE},
    ),
    Grown(
        "robot sessions",
        kinds.robot_sessions,
        "rollcall.v1.RobotService/ListRobotSessions",
        robots.ListRobotSessionsRequest,
        robots.ListRobotSessionsResponse,
        "/robots/sessions",
        lambda depth: f"/robots/sessions?page={depth // PAGE + 1}",
        lambda depth: {"page": depth // PAGE + 1},
    ),
    Grown(
        "agent sessions",
        kinds.agent_sessions,
        "rollcall.v1.AgentSessionService/ListAgentSessions",
        agents.ListAgentSessionsRequest,
        agents.ListAgentSessionsResponse,
        f"/api/v2/aipAgents/agents/allSessions?preview=true&pageSize={PAGE}",
    ),
)


class Server:
    """A rollcall over one database."""

    def __init__(self, parts: Parts, mongo: Part, mongo_port: int, database: str) -> None:
        settings, environment = settings_of(mongo_port, database)
        self._owner = Owner("-", tokens.sign(settings, CALLER, timedelta(hours=6)))
        self._parts = {**start_rollcall(parts, database, settings, environment), "mongod": mongo}
        self._rest_port, self._grpc_port = settings.rest_port, settings.grpc_port
        self._owners_file = parts.folder / f"{database}-owner"
        self._owners_file.write_text(f"{self._owner.name} {self._owner.token}\n")

    def ask(self, method: str, request: Message) -> bytes:
        """Return the answer to a call."""
        options = [("grpc.max_receive_message_length", -1), ("grpc.enable_http_proxy", 0)]
        with grpc.insecure_channel(f"127.0.0.1:{self._grpc_port}", options) as channel:
            call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"/{method}")
            credentials = (("authorization", f"Bearer {self._owner.token}"),)
            return call(request.SerializeToString(), metadata=credentials, timeout=30)

    def grpc_cost(self, method: str, request: Message) -> float:
        """Return the CPU milliseconds of a call."""
        start = time.monotonic()
        lengths = {self._owner.name: len(self.ask(method, request))}
        calls = max(FEWEST_CALLS, min(MOST_CALLS, int(SECONDS / (time.monotonic() - start))))
        call = Call(method, request.SerializeToString(), lengths)
        wave = [[self._owner] * CONNECTIONS]
        return self._cost(lambda: load.grpc(self._grpc_port, call, wave, calls, FOLDER))

    def rest_cost(self, path: str) -> float:
        """Return the CPU milliseconds of a request."""
        return self._cost(lambda: load.rest(self._rest_port, path, self._owners_file, 0, SECONDS))

    def _cost(self, run: Callable[[], load.Load]) -> float:
        before = self._cpu_seconds()
        found = run()
        return (self._cpu_seconds() - before) * 1000 / found.requests

    def _cpu_seconds(self) -> float:
        return sum(part.cpu_seconds() for part in self._parts.values())


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison: milliseconds of CPU here and there, and how many times more there may be."""

    text: str
    here: float
    there: float
    bound: float

    def markdown(self) -> str:
        """Return it as a row of the table."""
        ratio = self.there / self.here
        mark = "✓" if ratio <= self.bound else "✗"
        return f"| {self.text} | {self.here:.2f} | {self.there:.2f} | {ratio:.2f} | ≤ {self.bound} {mark} |"


def _compared(text: str, bound: float, here: Callable[[], float], there: Callable[[], float]) -> Row:
    """Return a comparison of medians, measured in turns so that noise falls on both."""
    here(), there()
    found = [(here(), there()) for _ in range(ROUNDS)]
    return Row(text, median(pair[0] for pair in found), median(pair[1] for pair in found), bound)


def measure(records: int) -> Iterator[Row]:
    """Yield the comparisons of every kind."""
    machine.install_tools()
    logs = FOLDER / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    data = FOLDER / "mongo-growth"
    for kind in KINDS:
        shutil.rmtree(data, ignore_errors=True)
        parts = Parts(logs)
        try:
            mongo, port = start_mongod(parts, data)
            small, large = (_server(parts, mongo, port, kind, count) for count in (SMALL, records))
            yield from _pages(kind, small, large, records)
        finally:
            parts.close()
    shutil.rmtree(data, ignore_errors=True)


def _server(parts: Parts, mongo: Part, port: int, kind: Grown, count: int) -> Server:
    """Load records into a database of their own and start a server over it."""
    database = f"{kind.name.replace(' ', '_')}_{count}"
    say(f"{kind.name}: loading {count:,}")
    rate = store.import_lines(port, database, kind.lines(count))
    say(f"rollcall import took in {rate:,.0f} records/s")
    store.warm(port, database)
    return Server(parts, mongo, port, database)


def _pages(kind: Grown, small: Server, large: Server, records: int) -> Iterator[Row]:
    first = kind.request(page_size=PAGE)
    yield _compared(
        f"{kind.name}, gRPC: first page of {SMALL:,}, of {records:,}",
        1.3,
        lambda: small.grpc_cost(kind.method, first),
        lambda: large.grpc_cost(kind.method, first),
    )
    near, far = _tokens(kind, large, records)
    yield _compared(
        f"{kind.name}, gRPC: behind a token at {PAGE}, at {far[0]:,}",
        1.2,
        lambda: large.grpc_cost(kind.method, near),
        lambda: large.grpc_cost(kind.method, far[1]),
    )
    depth = min(DEPTH, records - 2 * PAGE)
    if kind.far_fields is not None:
        skipping = kind.request(**kind.far_fields(depth))
        yield _compared(
            f"{kind.name}, gRPC: first page, {depth:,} down by number",
            15,
            lambda: large.grpc_cost(kind.method, first),
            lambda: large.grpc_cost(kind.method, skipping),
        )
    path = kind.path
    if path is None:
        return
    yield _compared(
        f"{kind.name}, REST: first page of {SMALL:,}, of {records:,}",
        1.3,
        lambda: small.rest_cost(path),
        lambda: large.rest_cost(path),
    )
    if kind.far_path is not None:
        far_path = kind.far_path(depth)
        yield _compared(
            f"{kind.name}, REST: first page, {depth:,} down by number",
            15,
            lambda: large.rest_cost(path),
            lambda: large.rest_cost(far_path),
        )


def _tokens(kind: Grown, server: Server, records: int) -> tuple[Message, tuple[int, Message]]:
    """Return the request behind the first page, and how deep the last full stride ends, with its request."""

    def behind(token: str, size: int) -> Message:
        return kind.request(page_size=size, page_token=token)

    def token_of(request: Message) -> str:
        answer = kind.response.FromString(server.ask(kind.method, request))
        token: str = answer.next_page_token  # type: ignore[attr-defined] # every list has it
        return token

    near = behind(token_of(kind.request(page_size=PAGE)), PAGE)
    token, depth = "", 0
    while depth + STRIDE + PAGE < records:
        token = token_of(behind(token, STRIDE))
        depth += STRIDE
    return near, (depth, behind(token, PAGE))


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description=__doc__)
    parser.add_argument("records", nargs="?", type=int, default=RECORDS, help="up to 1,000,000")
    records: int = parser.parse_args().records
    lines = ["| CPU ms a request | here | there | there / here | wanted |", "|---|--:|--:|--:|--:|"]
    try:
        for row in measure(records):
            lines.append(row.markdown())
            say(lines[-1])
    except BenchError as error:
        sys.exit(f"bench: {error}")
    print("\n".join(lines))


if __name__ == "__main__":
    main()

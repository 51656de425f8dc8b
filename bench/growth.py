"""`python -m bench.growth [RECORDS]`: what lists cost as their collections grow, one kind at a time.

CPU time a request, over server, Envoy and mongod:
- the first page of every list, with 1,000 records of the owner and with RECORDS;
- a page behind a token, near the beginning and near the end;
- the page at an offset or page number far down, against the first, and what MongoDB alone takes
  to count that many keys of the index: the floor of every answer that begins by number;
- a list of 40 MB.
"""

import argparse
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from random import Random
from statistics import median
from urllib.request import Request, urlopen

import grpc
import pymongo
from google.protobuf.message import Message
from rollcall.v1 import agent_session_pb2 as agents
from rollcall.v1 import robot_pb2 as robots
from rollcall.v1 import session_pb2 as sessions
from rollcall.v1 import user_session_pb2 as users

from bench import kinds, load, machine, store
from bench.comparison import ROUNDS, Bound, Row, compared
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
from server import app
from server.commands import tokens
from server.embedded import mongod
from server.records.caller import Caller

SMALL = 1000
RECORDS = 200_000
DEPTH = 100_000
WALKS = 20
HEAVY = "user sessions"
HEAVY_RECORDS, HEAVY_CHARS = 40, 1 << 20
"""Of a list of 40 MB."""
PAGE = 20
STRIDE = 1000
"""Records that a token is moved on at a time."""
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
        HEAVY,
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
        self.database = database
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

    def long_list(self, path: str) -> tuple[float, float, int]:
        """Return the CPU milliseconds of one list, those until its first byte came, and its bytes."""
        before = self._cpu_seconds()
        call = Request(
            f"http://127.0.0.1:{self._rest_port}{path}",
            headers={"authorization": f"Bearer {self._owner.token}"},
        )
        start = time.monotonic()
        with urlopen(call, timeout=30) as response:  # noqa: S310 # always http
            response.read(1)
            first = time.monotonic() - start
            size = 1 + len(response.read())
        return (self._cpu_seconds() - before) * 1000, first * 1000, size

    def _cost(self, run: Callable[[], load.Load]) -> float:
        before = self._cpu_seconds()
        found = run()
        return (self._cpu_seconds() - before) * 1000 / found.requests

    def _cpu_seconds(self) -> float:
        return sum(part.cpu_seconds() for part in self._parts.values())


def measure(records: int, kinds_named: Sequence[str]) -> Iterator[Row | Bound]:
    """Yield the comparisons of kinds."""
    machine.install_tools()
    logs = FOLDER / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    data = FOLDER / "mongo-growth"
    for kind in (kind for kind in KINDS if kind.name in kinds_named):
        shutil.rmtree(data, ignore_errors=True)
        parts = Parts(logs)
        try:
            mongo, port = start_mongod(parts, data)
            small, large = (_server(parts, mongo, port, kind, count) for count in (SMALL, records))
            walk = partial(_walk_cost, mongo, port, large.database, kind, min(DEPTH, records - 2 * PAGE))
            yield from _pages(kind, small, large, records, walk)
            if kind.name == HEAVY:
                yield from _long_list(parts, mongo, port)
        finally:
            parts.close()
    shutil.rmtree(data, ignore_errors=True)


def _walk_cost(mongo: Part, port: int, database: str, kind: Grown, depth: int) -> float:
    """Return the CPU milliseconds that MongoDB takes to walk so many keys of an index and read no record."""
    name = next(kind.lines(1))["kind"]
    (collection,) = (each.collection for each in app.KINDS if each.name == name)
    with pymongo.MongoClient[dict[str, object]](mongod.uri(port)) as client:
        walk = client[database][collection].find({}, {"_id": 1}, sort=[("_id", 1)], skip=depth, limit=PAGE)
        before = mongo.cpu_seconds()
        for _ in range(WALKS):
            if len(walk.clone().to_list()) != PAGE:
                raise BenchError(f"{collection} has no page {depth:,} down")
        return (mongo.cpu_seconds() - before) * 1000 / WALKS


def _long_list(parts: Parts, mongo: Part, port: int) -> Iterator[Bound]:
    database = "heavy"
    dice = Random(0)
    text = "".join(dice.choices("abcdefghijklmnopqrstuvwxyz0123456789 ", k=HEAVY_CHARS))
    store.import_lines(port, database, kinds.user_sessions(HEAVY_RECORDS, context=text))
    store.warm(port, database)
    server = Server(parts, mongo, port, database)
    lists = [server.long_list("/session") for _ in range(ROUNDS + 1)][1:]
    size = lists[0][2]
    yield Bound(f"{HEAVY}, REST: a list of {size / 1e6:.0f} MB", median(cpu for cpu, _, _ in lists), 300)
    yield Bound(f"{HEAVY}, REST: first byte of it, on the clock", median(first for _, first, _ in lists), 100)


def _server(parts: Parts, mongo: Part, port: int, kind: Grown, count: int) -> Server:
    """Load records into a database of their own and start a server over it."""
    database = f"{kind.name.replace(' ', '_')}_{count}"
    say(f"{kind.name}: loading {count:,}")
    rate = store.import_lines(port, database, kind.lines(count))
    say(f"rollcall import took in {rate:,.0f} records/s")
    store.warm(port, database)
    return Server(parts, mongo, port, database)


def _pages(
    kind: Grown, small: Server, large: Server, records: int, walk: Callable[[], float]
) -> Iterator[Row]:
    first = kind.request(page_size=PAGE)
    yield compared(
        f"{kind.name}, gRPC: first page of {SMALL:,}, of {records:,}",
        1.3,
        lambda: small.grpc_cost(kind.method, first),
        lambda: large.grpc_cost(kind.method, first),
    )
    near, far = _tokens(kind, large, records)
    yield compared(
        f"{kind.name}, gRPC: behind a token at {PAGE}, at {far[0]:,}",
        1.2,
        lambda: large.grpc_cost(kind.method, near),
        lambda: large.grpc_cost(kind.method, far[1]),
    )
    depth = min(DEPTH, records - 2 * PAGE)
    if kind.far_fields is not None:
        skipping = kind.request(**kind.far_fields(depth))
        yield compared(
            f"{kind.name}, gRPC: first page, {depth:,} down by number",
            15,
            lambda: large.grpc_cost(kind.method, first),
            lambda: large.grpc_cost(kind.method, skipping),
        )
        yield compared(
            f"{kind.name}: first page, MongoDB alone over {depth:,} keys of the index",
            None,
            lambda: large.grpc_cost(kind.method, first),
            walk,
        )
    path = kind.path
    if path is None:
        return
    yield compared(
        f"{kind.name}, REST: first page of {SMALL:,}, of {records:,}",
        1.3,
        lambda: small.rest_cost(path),
        lambda: large.rest_cost(path),
    )
    if kind.far_path is not None:
        far_path = kind.far_path(depth)
        yield compared(
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
    names = [kind.name for kind in KINDS]
    parser.add_argument("--kind", nargs="*", choices=names, default=names, help="all, if none is named")
    chosen = parser.parse_args()
    lines = ["| CPU ms a request | here | there | there / here | wanted |", "|---|--:|--:|--:|--:|"]
    try:
        for row in measure(chosen.records, chosen.kind):
            lines.append(row.markdown())
            say(lines[-1])
    except BenchError as error:
        sys.exit(f"bench: {error}")
    print("\n".join(lines))


if __name__ == "__main__":
    main()

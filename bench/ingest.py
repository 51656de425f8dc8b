"""`python -m bench.ingest [RECORDS]`: how fast records come in, kind by kind, about 2 KB each.

`rollcall import` of new records and of the same again, and BatchCreate by gRPC: records a second,
and the CPU time of a record in the program that takes it in and in mongod.  Beside it, what the
steps between a line, or a message, and a stored document take.  Written to bench/INGEST.md.
"""

import argparse
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import bson
import grpc
import orjson
from google.protobuf.message import Message
from rollcall.v1 import agent_session_pb2 as agents
from rollcall.v1 import robot_pb2 as robots
from rollcall.v1 import session_pb2 as sessions
from rollcall.v1 import user_session_pb2 as users

from bench import data, kinds, machine, store
from bench.parts import FOLDER, ROOT, BenchError, Parts, say, settings_of, start_mongod, start_rollcall
from server.commands import tokens
from server.commands.import_lines import read_line
from server.commands.importing import IMPORTABLE
from server.records import anyjson
from server.records.caller import Caller
from server.records.kind import stored

TABLES = ROOT / "bench" / "INGEST.md"
RECORDS = 50_000
TEXT = kinds.TEXT * 5
MESSAGES = 49
"""Of each robot session that brings messages along."""
CALL_RECORDS = 500
CALLS_AT_ONCE = 2
STEPPED = 2000
"""Records whose steps are timed."""
ROUNDS = 5

CALLER = Caller(
    sub=kinds.USER,
    tenant=kinds.TENANT,
    client_id=kinds.CLIENT,
    scopes=frozenset({"sessions:write"}),
)


@dataclass(frozen=True, slots=True)
class Batch:
    """A BatchCreate: its method, its request, and what its request has for each record."""

    method: str
    request: type[Message]
    item: type[Message]


@dataclass(frozen=True, slots=True)
class Ingested:
    """A kind: so many of its records, and how they are created, if they are."""

    name: str
    lines: Callable[[int], Iterator[kinds.Line]]
    batch: Batch | None


def _sessions(count: int) -> Iterator[kinds.Line]:
    size = data.Size(-(-count // data.PER_OWNER))
    return islice((data.line(kinds.TENANT, body) for _, body in data.bodies(size)), count)


KINDS = (
    Ingested(
        "user sessions",
        lambda count: kinds.user_sessions(count, text=TEXT),
        Batch(
            "rollcall.v1.UserSessionService/BatchCreateUserSessions",
            users.BatchCreateUserSessionsRequest,
            users.CreateUserSessionRequest,
        ),
    ),
    Ingested(
        "sessions",
        _sessions,
        Batch(
            "rollcall.v1.SessionService/BatchCreateSessions",
            sessions.BatchCreateSessionsRequest,
            sessions.CreateSessionRequest,
        ),
    ),
    Ingested(
        "robots",
        lambda count: kinds.robots(count, TEXT),
        Batch(
            "rollcall.v1.RobotService/BatchCreateRobots",
            robots.BatchCreateRobotsRequest,
            robots.CreateRobotRequest,
        ),
    ),
    Ingested(
        "robot sessions",
        lambda count: kinds.robot_sessions(count, text=TEXT),
        Batch(
            "rollcall.v1.RobotService/BatchCreateRobotSessions",
            robots.BatchCreateRobotSessionsRequest,
            robots.CreateRobotSessionRequest,
        ),
    ),
    Ingested(
        "robot sessions with messages",
        lambda count: kinds.robot_sessions(count // (MESSAGES + 1), MESSAGES, TEXT),
        None,  # a message is created alone
    ),
    Ingested(
        "agent sessions",
        lambda count: kinds.agent_sessions(count, TEXT),
        Batch(
            "rollcall.v1.AgentSessionService/BatchCreateAgentSessions",
            agents.BatchCreateAgentSessionsRequest,
            agents.CreateAgentSessionRequest,
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class Taken:
    """Records that came in: how many, in how many seconds, and the CPU seconds of both programs."""

    records: int
    seconds: float
    taker: float
    mongod: float

    def markdown(self) -> str:
        """Return it as cells of a table."""
        taker, mongod = (cpu / self.records * 1e6 for cpu in (self.taker, self.mongod))
        return f"{self.records / self.seconds:,.0f} | {taker:.0f} | {mongod:.0f}"


def measure(chosen: Ingested, count: int, parts: Parts, folder: Path) -> str:
    """Return a kind's row: its import, that again, and its BatchCreate."""
    lines = list(chosen.lines(count))
    records = sum(1 + len(line["body"].get("messages", ())) for line in lines)
    mongo, port = start_mongod(parts, folder)

    def imported() -> Taken:
        before = mongo.cpu_seconds()
        done = store.import_lines(port, "imported", lines)
        return Taken(records, done.seconds, done.cpu, mongo.cpu_seconds() - before)

    def created(batch: Batch) -> Taken:
        calls = list(_calls(batch, lines))
        store.import_lines(port, "created", ())  # makes the indexes
        settings, environment = settings_of(port, "created")
        server = start_rollcall(parts, "ingest", settings, environment)["server"]
        credentials = (("authorization", f"Bearer {tokens.sign(settings, CALLER, timedelta(hours=6))}"),)
        options = [("grpc.max_receive_message_length", -1), ("grpc.enable_http_proxy", 0)]
        with grpc.insecure_channel(f"127.0.0.1:{settings.grpc_port}", options) as channel:
            call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"/{batch.method}")
            before, start = (server.cpu_seconds(), mongo.cpu_seconds()), time.monotonic()
            running: list[Any] = []
            for each in calls:
                if len(running) == CALLS_AT_ONCE:
                    running.pop(0).result()
                running.append(call.future(each, metadata=credentials, timeout=60))
            for each in running:
                each.result()
            seconds = time.monotonic() - start
            return Taken(
                len(lines), seconds, server.cpu_seconds() - before[0], mongo.cpu_seconds() - before[1]
            )

    cells = [imported().markdown(), imported().markdown()]
    cells.append(created(chosen.batch).markdown() if chosen.batch else "– | – | –")
    return f"| {chosen.name} | {sum(map(len, map(orjson.dumps, lines))) // records:,} | {' | '.join(cells)} |"


def _calls(batch: Batch, lines: Sequence[kinds.Line]) -> Iterator[bytes]:
    """Yield the requests that create what lines say."""
    owned = [line for line in lines if line["kind"] != "agent"]
    for start in range(0, len(owned), CALL_RECORDS):
        items = [_item(batch, line) for line in owned[start : start + CALL_RECORDS]]
        yield batch.request(requests=items).SerializeToString()


def _item(batch: Batch, line: kinds.Line) -> Message:
    schema = IMPORTABLE[line["kind"]].schema
    return batch.item(**{line["kind"]: schema.to_proto(schema.check(line["body"]))})


def steps(chosen: Ingested) -> str:
    """Return what each step of taking in a record takes, in microseconds, as a row."""
    line = next(line for line in chosen.lines(2) if line["kind"] != "agent")
    kind = IMPORTABLE[line["kind"]]
    text, body = orjson.dumps(line), line["body"]
    owner = {name: line["owner"][name] for name in kind.owner}
    checked = kind.schema.check(body)
    message = kind.schema.to_proto(checked)
    document = stored(kind, owner, checked, {})
    parsed, read, check, to_proto, whole, encoded, unread = (
        _microseconds(step)
        for step in (
            lambda: anyjson.parse(text),
            lambda: read_line(IMPORTABLE, text),
            lambda: kind.schema.check(body),
            lambda: kind.schema.to_proto(checked),
            lambda: stored(kind, owner, checked, {}),
            lambda: bson.encode(document),
            lambda: kind.schema.from_proto(message),
        )
    )
    cells = (parsed, unread, check, to_proto, whole - to_proto, encoded, read + encoded)
    return f"| {chosen.name} | {' | '.join(f'{cell:.1f}' for cell in cells)} |"


def _microseconds(step: Callable[[], object]) -> float:
    found = []
    for _ in range(ROUNDS):
        start = time.process_time()
        for _ in range(STEPPED):
            step()
        found.append((time.process_time() - start) / STEPPED * 1e6)
    return min(found)


def main() -> None:
    """Measure, and write the tables."""
    parser = argparse.ArgumentParser(prog="python -m bench.ingest", description=__doc__)
    parser.add_argument("records", nargs="?", type=int, default=RECORDS, help="of each kind")
    names = [kind.name for kind in KINDS]
    parser.add_argument("--kind", nargs="*", choices=names, default=names, help="all, if none is named")
    chosen = parser.parse_args()
    logs, folder = FOLDER / "logs", FOLDER / "mongo-ingest"
    logs.mkdir(parents=True, exist_ok=True)
    rows, step_rows = [], []
    for kind in (kind for kind in KINDS if kind.name in chosen.kind):
        shutil.rmtree(folder, ignore_errors=True)
        parts = Parts(logs)
        try:
            rows.append(measure(kind, chosen.records, parts, folder))
        except BenchError as error:
            sys.exit(f"bench: {error}")
        finally:
            parts.close()
        say(rows[-1])
        if kind.batch:
            step_rows.append(steps(kind))
            say(step_rows[-1])
    shutil.rmtree(folder, ignore_errors=True)
    TABLES.write_text(_page(chosen.records, rows, step_rows))
    say(f"written to {TABLES.relative_to(ROOT)}")


_PAGE = """\
# How fast records come in

Written by `make bench-ingest` on {day}; [README.md](README.md) says how to read it. {records:,} records of
each kind.

- Machine: {machine}
- Load of the machine when it was over: {load:.1f}

## `rollcall import` and BatchCreate

Records a second on the clock, and microseconds of CPU a record: of the importing program, its start
included, or of the server; and of mongod. The two work side by side: with a core for each, the slower one
sets the pace. What else runs takes from the records a second; the CPU columns hardly change.

| | bytes a line | import, new: records/s | CPU | mongod | again: records/s | CPU | mongod | \
BatchCreate: records/s | CPU | mongod |
|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|
{rows}

## Steps of a record

Microseconds of CPU. An import parses the line, a create reads the message; the other steps are the same.

| | parse the line | or read the message | check | make the message | facts and forms | BSON | \
an import, in all |
|---|--:|--:|--:|--:|--:|--:|--:|
{steps}
"""


def _page(records: int, rows: Sequence[str], step_rows: Sequence[str]) -> str:
    return _PAGE.format(
        day=f"{datetime.now(UTC):%F}",
        records=records,
        machine=machine.description(),
        load=os.getloadavg()[1],
        rows="\n".join(rows),
        steps="\n".join(step_rows),
    )


if __name__ == "__main__":
    main()

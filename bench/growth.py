"""`python -m bench.growth [RECORDS]`: what lists cost as their collections grow, one kind at a time.

CPU time a request, over server, Envoy and mongod, and the time on the clock:
- the first page of every list, with 1,000 records of the owner and with RECORDS;
- a page behind a token, near the beginning and near the end;
- the page at an offset or page number far down, against the first, and what MongoDB alone takes
  to skip so many keys of the shortest index: the floor of every answer that begins by number;
- a list of 40 MB.

The tables go into bench/GROWTH.md; a kind that is not measured keeps its last one.
"""

import argparse
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pymongo
from google.protobuf.message import Message

from bench import kinds, machine, store
from bench.comparison import HEAD, ROUNDS, Bound, Cost, Row, compared, middle
from bench.grown import HEAVY, KINDS, PAGE, Grown
from bench.load import CONNECTIONS
from bench.parts import (
    FOLDER,
    ROOT,
    BenchError,
    Part,
    Parts,
    say,
    start_mongod,
)
from bench.server import Server
from server.embedded import mongod

TABLES = ROOT / "bench" / "GROWTH.md"
SMALL = 1000
RECORDS = 200_000
DEPTH = 100_000
WALKS = 20
HEAVY_RECORDS, HEAVY_CHARS = 40, 1 << 20
"""Of a list of 40 MB."""
STRIDE = 1000
"""Records that a token is moved on at a time."""


def measure(kind: Grown, records: int) -> Iterator[Row | Bound]:
    """Yield the comparisons of a kind."""
    logs = FOLDER / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    data = FOLDER / "mongo-growth"
    shutil.rmtree(data, ignore_errors=True)
    parts = Parts(logs)
    try:
        mongo, port = start_mongod(parts, data)
        small, large = (_server(parts, mongo, port, kind, count) for count in (SMALL, records))
        yield from _pages(kind, small, large, records)
        if kind.far_fields is not None:
            depth = _depth(records)
            top = kind.asked(**kind.far_fields(0))
            walk = partial(_walk_cost, mongo, port, large.database, depth)
            yield compared(
                f"the floor: gRPC, first page; MongoDB alone over {depth:,} keys of four bytes",
                None,
                lambda: large.grpc_cost(kind.method, top),
                walk,
            )
        if kind.name == HEAVY:
            yield from _long_list(parts, mongo, port)
    finally:
        parts.close()
        shutil.rmtree(data, ignore_errors=True)


def _depth(records: int) -> int:
    return min(DEPTH, records - 100)


def _walk_cost(mongo: Part, port: int, database: str, depth: int) -> Cost:
    """Return what MongoDB takes to skip so many of the shortest keys that an index can have."""
    with pymongo.MongoClient[dict[str, object]](mongod.uri(port)) as client:
        shortest = client[database]["shortest_keys"]
        if shortest.estimated_document_count() == 0:
            shortest.insert_many([{"n": number} for number in range(depth + PAGE)], ordered=False)
            shortest.create_index("n")
        walk = shortest.find({}, {"n": 1, "_id": 0}, sort=[("n", 1)], skip=depth, limit=PAGE)
        before, start = mongo.cpu_seconds(), time.monotonic()
        for _ in range(WALKS):
            if len(walk.clone().to_list()) != PAGE:
                raise BenchError(f"there is no page {depth:,} down")
        cpu, wall = mongo.cpu_seconds() - before, time.monotonic() - start
        return Cost(cpu * 1000 / WALKS, wall * 1000 / WALKS)


def _long_list(parts: Parts, mongo: Part, port: int) -> Iterator[Bound]:
    database = "heavy"
    dice = Random(0)
    text = "".join(dice.choices("abcdefghijklmnopqrstuvwxyz0123456789 ", k=HEAVY_CHARS))
    store.import_lines(port, database, kinds.user_sessions(HEAVY_RECORDS, text=text))
    store.warm(port, database)
    server = Server(parts, mongo, port, database)
    wholes, firsts, sizes = zip(*[server.long_list("/session") for _ in range(ROUNDS + 1)][1:], strict=True)
    megabytes, whole, first = sizes[0] / 1e6, middle(wholes), middle(firsts)
    yield Bound(f"REST: CPU of a list of {megabytes:.0f} MB", whole.cpu, whole.wall, 300)
    yield Bound("REST: its first byte, from the request on", None, first.wall, 100)


def _server(parts: Parts, mongo: Part, port: int, kind: Grown, count: int) -> Server:
    """Load records into a database of their own and start a server over it."""
    database = f"{kind.collection}_{count}"
    say(f"{kind.name}: loading {count:,}")
    store.insert_lines(port, database, kind.lines(count))
    say("reading them once")
    store.warm(port, database)
    return Server(parts, mongo, port, database)


def _pages(kind: Grown, small: Server, large: Server, records: int) -> Iterator[Row]:
    first = kind.asked(page_size=PAGE)
    counted = ", with the total" if kind.counted else ""
    yield compared(
        f"gRPC: first page{counted}, of {SMALL:,}, of {records:,}",
        1.3,
        lambda: small.grpc_cost(kind.method, first),
        lambda: large.grpc_cost(kind.method, first),
    )
    near = kind.asked(page_size=PAGE, page_token=_answer(kind, large, first).next_page_token)
    far, reached = _far(kind, large, records)
    yield compared(
        f"gRPC: behind a token, at {PAGE}, at {reached:,}",
        1.2,
        lambda: large.grpc_cost(kind.method, near),
        lambda: large.grpc_cost(kind.method, far),
    )
    depth = _depth(records)
    if kind.far_fields is not None:
        down = kind.asked(**kind.far_fields(depth))
        top = kind.asked(**kind.far_fields(0))
        yield compared(
            f"gRPC: first page, {depth:,} down by number",
            15,
            lambda: large.grpc_cost(kind.method, top),
            lambda: large.grpc_cost(kind.method, down),
        )
    path = kind.path
    if path is None:
        return
    yield compared(
        f"REST: first page{counted}, of {SMALL:,}, of {records:,}",
        1.3,
        lambda: small.rest_cost(path),
        lambda: large.rest_cost(path),
    )
    if kind.path_behind is not None:
        near_path, end_path = (
            kind.path_behind(_last(kind, large, request), large.settings) for request in (first, far)
        )
        yield compared(
            f"REST: behind a record, at {PAGE}, at {reached + PAGE:,}",
            1.2,
            lambda: large.rest_cost(near_path),
            lambda: large.rest_cost(end_path),
        )
    if kind.far_path is not None:
        far_path = kind.far_path(depth)
        yield compared(
            f"REST: first page, {depth:,} down by number",
            15,
            lambda: large.rest_cost(path),
            lambda: large.rest_cost(far_path),
        )


def _answer(kind: Grown, server: Server, request: Message) -> Any:
    return kind.response.FromString(server.ask(kind.method, request))


def _last(kind: Grown, server: Server, request: Message) -> Message:
    """Return the last record of a page."""
    answer = _answer(kind, server, request)
    records = getattr(answer, answer.DESCRIPTOR.fields_by_number[1].name)
    last: Message = records[-1]
    return last


def _far(kind: Grown, server: Server, records: int) -> tuple[Message, int]:
    """Return the request of a page behind a token near the end, and how deep that is."""
    token, depth = "", 0
    while depth + STRIDE + 2 * PAGE < records:
        answer = _answer(kind, server, kind.asked(page_size=STRIDE, page_token=token))
        depth += len(getattr(answer, answer.DESCRIPTOR.fields_by_number[1].name))
        token = answer.next_page_token
    return kind.asked(page_size=PAGE, page_token=token), depth


def _fragment(kind: Grown) -> Path:
    return FOLDER / "growth" / f"{kind.collection}.md"


def _written(kind: Grown, records: int, rows: Sequence[str]) -> None:
    """Keep a kind's table, and write all that there are."""
    fragment = _fragment(kind)
    fragment.parent.mkdir(parents=True, exist_ok=True)
    title = f"## {kind.name.capitalize()}\n\n{records:,} records, {datetime.now(UTC):%F}."
    fragment.write_text("\n".join([title, "", HEAD, *rows]))
    versions = machine.versions()
    told = ("python", "rollcall", "grpcio", "protobuf", "pymongo", "motor", "envoy", "mongod")
    head = (
        "# What lists cost as they grow\n\n"
        "Written by `make bench-growth`; [README.md](README.md) says how to read it. "
        "What is promised is CPU time; the clock (medians, "
        f"{CONNECTIONS} connections) also shows what else ran.\n\n"
        f"- Machine: {machine.description()}\n"
        f"- Versions: {', '.join(f'{name} {versions[name]}' for name in told)}"
    )
    found = [_fragment(each).read_text() for each in KINDS if _fragment(each).exists()]
    TABLES.write_text("\n\n".join((head, *found)) + "\n")


def main() -> None:
    """Measure, and write the tables."""
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description=__doc__)
    parser.add_argument("records", nargs="?", type=int, default=RECORDS, help="up to 1,000,000")
    names = [kind.name for kind in KINDS]
    parser.add_argument("--kind", nargs="*", choices=names, default=names, help="all, if none is named")
    chosen = parser.parse_args()
    try:
        machine.install_tools()
        for kind in (kind for kind in KINDS if kind.name in chosen.kind):
            rows = []
            for row in measure(kind, chosen.records):
                rows.append(row.markdown())
                say(rows[-1])
            _written(kind, chosen.records, rows)
    except BenchError as error:
        sys.exit(f"bench: {error}")
    say(f"written to {TABLES.relative_to(ROOT)}")


if __name__ == "__main__":
    main()

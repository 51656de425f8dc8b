"""Puts the data into mongod: rollcall's by its own import, the peers' as plain documents."""

import hashlib
import os
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import orjson
from pymongo import MongoClient

from bench import data
from bench.contestants import DATABASE
from bench.parts import ROOT, BenchError, settings_of
from server.commands.import_lines import read_line
from server.commands.importing import IMPORTABLE
from server.embedded import mongod
from server.records.kind import Document, Kind
from server.store import tallies

_BATCH = 1000
_IN_FLIGHT = 4
_PEERS = {"rest_sessions": data.rest_document, "grpc_sessions": data.grpc_document}
_PEERS_INDEX = [("developer_id", 1), ("created_at", -1), ("id", -1)]


def fingerprint(size: data.Size) -> str:
    """Return what changes when stored data must be made anew."""
    digest = hashlib.sha256(str(size).encode())
    for path in sorted((Path(data.__file__), *(ROOT / "server" / "records").glob("*.py"))):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def fill(mongo_port: int, size: data.Size) -> float:
    """Load all data into an empty database; return the records a second of `rollcall import`."""
    client: MongoClient[dict[str, Any]] = MongoClient(mongod.uri(mongo_port))
    client.drop_database(DATABASE)
    done = import_lines(mongo_port, DATABASE, (data.line(*each) for each in data.bodies(size)))
    for name, document in _PEERS.items():
        collection = client[DATABASE][name]
        collection.create_index(_PEERS_INDEX)
        documents = (document(*each) for each in data.bodies(size))
        while batch := list(islice(documents, _BATCH)):
            collection.insert_many(batch, ordered=False)
    client.close()
    return done.records / done.seconds


@dataclass(frozen=True, slots=True)
class Imported:
    """How an import went: records, seconds on the clock, and CPU seconds of the program."""

    records: int
    seconds: float
    cpu: float


def import_lines(mongo_port: int, database: str, lines: Iterable[Any]) -> Imported:
    """Import lines by `rollcall import`."""
    _, environment = settings_of(mongo_port, database)
    count = 0
    with NamedTemporaryFile(suffix=".jsonl") as file:
        for count, line in enumerate(lines, 1):  # noqa: B007 # the last one is their number
            file.write(orjson.dumps(line) + b"\n")
        file.flush()
        before, start = _children_cpu_seconds(), time.monotonic()
        command = [sys.executable, "-P", "-m", "server.cli", "import", file.name]
        done = subprocess.run(command, env=os.environ | environment, capture_output=True, check=False)
        seconds = time.monotonic() - start
    if done.returncode:
        raise BenchError(f"rollcall import failed:\n{done.stderr.decode()[-2000:]}")
    return Imported(count, seconds, _children_cpu_seconds() - before)


def _children_cpu_seconds() -> float:
    """Return the CPU time of the programs that this one has started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def insert_lines(mongo_port: int, database: str, lines: Iterable[Any]) -> None:
    """Insert what `rollcall import` would make of lines, and what it would count, into an empty database.

    Nothing is looked up and the indexes are made at the end: several times as fast.
    """
    with MongoClient[Document](mongod.uri(mongo_port)) as client, ThreadPoolExecutor(1) as pool:
        store = client[database]
        tally: Counter[str] = Counter()
        writing: list[Future[Any]] = []
        for kind, documents in _batches(lines):
            tally.update(tallies.difference(kind, (), documents))
            if len(writing) == _IN_FLIGHT:
                writing.pop(0).result()
            writing.append(pool.submit(store[kind.collection].insert_many, documents, ordered=False))
        for each in writing:
            each.result()
        counters = [{"_id": f"{name}/0", "tally": name, "n": n} for name, n in tally.items()]
        if counters:
            store[tallies.TALLIES].insert_many(counters)
    import_lines(mongo_port, database, ())  # makes the indexes


def _batches(lines: Iterable[Any]) -> Iterator[tuple[Kind, list[Document]]]:
    batches: dict[Kind, list[Document]] = {}
    last: dict[Kind, Document] = {}
    for line in lines:
        for kind, document in read_line(IMPORTABLE, orjson.dumps(line)):
            # A line may repeat the record before it, to bring more of its parts.
            if last.get(kind) == document["_id"]:
                continue
            last[kind] = document["_id"]
            batch = batches.setdefault(kind, [])
            batch.append(document)
            if len(batch) == _BATCH:
                yield kind, batches.pop(kind)
    yield from batches.items()


def warm(mongo_port: int, database: str) -> None:
    """Read everything once, so that mongod's cache holds it."""
    with MongoClient[dict[str, Any]](mongod.uri(mongo_port)) as client:
        for name in client[database].list_collection_names():
            sizes = {"$group": {"_id": None, "n": {"$sum": {"$bsonSize": "$$ROOT"}}}}
            list(client[database][name].aggregate([sizes]))

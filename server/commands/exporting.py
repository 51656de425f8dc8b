"""`rollcall export`: the inverse of import, for backups and moves."""

import contextlib
import os
import shutil
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import orjson
from rich.progress import MofNCompleteColumn

from server.app import KINDS
from server.commands.bars import bar
from server.commands.working import blocking, run_with_store
from server.records.kind import JSON, PB, Document, Kind, message_of
from server.settings import Settings, SettingsError
from server.store import driver
from server.store.reads import Reads

STDOUT = "-"


def export(settings: Settings, kinds: list[Kind], output: str) -> int:
    """Write import lines of some kinds to a file or STDOUT, ordered; return how many.

    Raises OSError if it cannot be written, and what the store raises.
    """

    async def work(connection: driver.Connection) -> int:
        reads = Reads(connection.database)
        lines = 0
        # On a terminal that shows the lines, a bar would be in their midst.
        with _opened(output) as sink, bar(MofNCompleteColumn(), hidden=sink.isatty()) as progress:
            total = None if progress.disable else sum([await reads.about(kind) for kind in kinds])
            task = progress.add_task("export", total=total)
            for kind in kinds:
                async for line in _lines(reads, kind):
                    with blocking():
                        sink.write(line)
                    lines += 1
                    progress.advance(task)
        return lines

    return run_with_store(settings, work)


def exported(names: frozenset[str]) -> list[Kind]:
    """Return the kinds named, all if none is; raise SettingsError for one that has no lines of its own."""
    whole_of = {part.kind.name: kind.name for kind in KINDS for part in kind.parts}
    for name in names & whole_of.keys():
        raise SettingsError(f"KIND: a {name} is in the line of its {whole_of[name]}: export that")
    return [kind for kind in KINDS if kind.name not in whole_of and (not names or kind.name in names)]


@contextlib.contextmanager
def _opened(output: str) -> Iterator[BinaryIO]:
    """Open what is written to; a file is replaced once it is whole, as it may be the last good backup."""
    if output == STDOUT:
        yield sys.stdout.buffer
        with blocking():
            sys.stdout.buffer.flush()
        return
    given = Path(output)
    if given.exists() and not given.is_file():
        with contextlib.ExitStack() as opened:
            with blocking():  # as a pipe does until it has a reader
                sink = opened.enter_context(given.open("wb"))
            yield sink
            with blocking():
                sink.flush()
        return
    path = given.resolve()
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as sink:
            if path.exists():
                shutil.copymode(path, part)
            yield sink
            sink.flush()
            os.fsync(sink.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


async def _lines(reads: Reads, kind: Kind) -> AsyncIterator[bytes]:
    async for row in reads.everything(kind):
        owner = orjson.dumps({**row["owner"], **_extras(kind, row)})
        body = await _body(reads, kind, row)
        yield b'{"kind":"%b","owner":%b,"body":%b}\n' % (kind.name.encode(), owner, body)


def _extras(kind: Kind, row: Document) -> Mapping[str, Any]:
    if not kind.extras:
        return {}
    message = message_of(kind, row[PB])
    values = {name: getattr(message, name) for name in kind.extras}
    return {
        name: value if isinstance(value, str) else list(value)
        for name, value in values.items()
        if value or name not in kind.optional_extras
    }


async def _body(reads: Reads, kind: Kind, row: Document) -> bytes:
    body = bytes(row[JSON])
    for part in kind.parts:
        items = [item[JSON] async for item in reads.everything(part.kind, {part.owner: row["id"]})]
        if items:
            body = b'%b,"%b":[%b]}' % (body[:-1], part.key.encode(), b",".join(items))
    return body

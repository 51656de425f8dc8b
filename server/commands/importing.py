"""`rollcall import`: files of import lines, with a progress bar on a terminal."""

import asyncio
import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

import orjson
from rich.progress import (
    DownloadColumn,
    TransferSpeedColumn,
)

from server import demo
from server.app import KINDS
from server.commands.bars import bar, printable, tell
from server.commands.import_lines import Line, Report, import_lines
from server.commands.working import blocking, run_with_store
from server.errors import shortened
from server.records import robot_message
from server.records.violation import FieldError
from server.settings import Settings
from server.store import driver, indexes
from server.store.writes import Writes

STDIN = "-"


IMPORTABLE = {kind.name: kind for kind in KINDS if kind is not robot_message.KIND}
"""Messages come with their session."""


class StrictError(Exception):
    """`--strict` met a bad line."""


def import_files(settings: Settings, files: Sequence[str], report: Report, *, strict: bool) -> None:
    """Import files, `-` being stdin, and print bad lines on stderr; `report` is kept up to date.

    Raises OSError if a file cannot be read, and what the store raises.
    """
    progress = bar(DownloadColumn(), TransferSpeedColumn())
    task = progress.add_task("import", total=_total(files))

    def refuse(line: Line, error: FieldError) -> None:
        tell(progress, f"{line.source}:{line.number}: {told(error)}")
        if strict:
            raise StrictError

    def lines() -> Iterator[Line]:
        for file in files:
            for line in _lines(file):
                yield line
                progress.advance(task, len(line.text))

    async def work(connection: driver.Connection) -> None:
        with progress:
            await _import(settings, connection, lines(), refuse, report)

    with contextlib.suppress(StrictError):
        run_with_store(settings, work)


def told(error: FieldError) -> str:
    """Return what is wrong with a line, for a terminal: a key of the file may be long, or control it."""
    return f"{printable(shortened(error.json_path)) or 'record'}: {error.rule}"


def import_demo(settings: Settings) -> None:
    """Import the demo data; records that are there are written again, as they were."""

    def refuse(line: Line, error: FieldError) -> None:
        raise RuntimeError(f"{line.source}:{line.number}: {error}")

    lines = (Line("demo", number, orjson.dumps(line)) for number, line in enumerate(demo.lines(), 1))

    async def work() -> None:
        async with driver.connected(settings) as connection:
            await _import(settings, connection, lines, refuse, Report())

    asyncio.run(work())  # `rollcall up` has its own signals


async def _import(
    settings: Settings,
    connection: driver.Connection,
    lines: Iterable[Line],
    refuse: Callable[[Line, FieldError], None],
    report: Report,
) -> None:
    await indexes.make_for(settings, KINDS)
    await import_lines(Writes(connection), IMPORTABLE, lines, refuse, report)


def _lines(file: str) -> Iterator[Line]:
    with contextlib.nullcontext(sys.stdin.buffer) if file == STDIN else Path(file).open("rb") as stream:
        for number, text in enumerate(_read(stream), 1):
            if text.strip():
                yield Line(file, number, text)


def _read(stream: IO[bytes]) -> Iterator[bytes]:
    while True:
        with blocking():
            text = stream.readline()
        if not text:
            return
        yield text


def _total(files: Sequence[str]) -> int | None:
    if STDIN in files:
        return None
    return sum(Path(file).stat().st_size for file in files)

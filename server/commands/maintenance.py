"""`rollcall show` and `rollcall migrate`: one record for people, all records for a new version."""

from collections.abc import Mapping

import orjson
from rich.progress import MofNCompleteColumn, Progress

from server.app import KINDS
from server.commands.bars import bar
from server.commands.working import run_with_store
from server.errors import NotFoundError
from server.records.kind import JSON, Kind
from server.settings import Settings, SettingsError
from server.store import driver, indexes
from server.store.reads import Reads
from server.store.writes import Writes


def kind_named(name: str) -> Kind:
    """Return a kind by its name; raise SettingsError that lists them."""
    for kind in KINDS:
        if kind.name == name:
            return kind
    raise SettingsError(f"KIND: must be one of {', '.join(kind.name for kind in KINDS)}")


def show(settings: Settings, name: str, key: str, owner: Mapping[str, str]) -> str:
    """Return a record as its contract prints it, indented; raise NotFoundError if there is none."""
    kind = kind_named(name)
    if set(owner) != set(kind.owner):
        needed = " ".join(f"--owner {field}=…" for field in kind.owner) or "no --owner"
        raise SettingsError(f"--owner: a {kind.name} needs {needed}")

    row = run_with_store(settings, lambda store: Reads(store.database).get(kind, owner, key, JSON))
    if row is None:
        raise NotFoundError(f"there is no {kind.name} {key} of this owner")
    return orjson.dumps(orjson.loads(row[JSON]), option=orjson.OPT_INDENT_2).decode()


def migrate(settings: Settings) -> int:
    """Make the indexes, and derive again what an older version derived; return how many records."""

    async def work(connection: driver.Connection) -> int:
        await indexes.make_for(settings, KINDS)
        writes = Writes(connection)
        with bar(MofNCompleteColumn()) as progress:
            return sum([await _migrate_kind(writes, kind, progress) for kind in KINDS])

    return run_with_store(settings, work)


async def _migrate_kind(writes: Writes, kind: Kind, progress: Progress) -> int:
    task = progress.add_task(kind.collection)
    done = 0
    async for done, total in writes.renew(kind):
        progress.update(task, completed=done, total=total)
    progress.update(task, completed=done, total=done)
    return done

"""`rollcall pull`: page by page, each stored before the next is asked for."""

import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass

import httpx
from rich.progress import MofNCompleteColumn, Progress, TaskID

from server import audit
from server.app import KINDS
from server.commands.bars import bar, printable, tell
from server.commands.import_lines import Line, Report, import_lines
from server.commands.importing import IMPORTABLE, told
from server.commands.pulling import agent_session, robot_session, session, user_session
from server.commands.pulling.source import Access, RefusedError, Source
from server.commands.pulling.state import State
from server.commands.pulling.system import Page, Position, System
from server.commands.pulling.target import Nowhere, Store, Target
from server.commands.working import run
from server.records import anyjson
from server.records.violation import FieldError
from server.settings import Settings
from server.store import driver, indexes

SYSTEMS: dict[str, System] = {
    system.kind.name: system
    for system in (user_session.SYSTEM, session.SYSTEM, robot_session.SYSTEM, agent_session.SYSTEM)
}
"""By the kind that each lists."""

LONGEST_ID = 100


@dataclass(frozen=True, slots=True)
class Pull:
    """One pull: which system, how it is reached, whose the records are."""

    system: System
    access: Access
    owner: Mapping[str, str]


def pull(settings: Settings | None, wanted: Pull, state: State, report: Report) -> None:
    """Pull a list into the store that the settings name; without settings, judge it only.

    Bad items and pauses are lines on stderr, and so is the audit line of what this run, not one before
    it, stored; `report` is kept up to date.  Raises SourceError if the
    source does not give its list, and what the store raises; what came before is stored.
    """
    earlier = Report()
    try:
        run(_Run(wanted, state, report, earlier, bar(MofNCompleteColumn())).run(settings))
    finally:
        if settings is not None:
            audit.by_operator(
                "pull",
                kind=wanted.system.kind.name,
                source=wanted.access.url,
                records=report.stored - earlier.stored,
                refused=report.refused - earlier.refused,
            )


class _Run:
    def __init__(
        self, wanted: Pull, state: State, report: Report, earlier: Report, progress: Progress
    ) -> None:
        self._wanted = wanted
        self._state = state
        self._report = report
        self._earlier = earlier
        self._progress = progress
        self._task: TaskID = progress.add_task("pull", total=None)
        self._moved = False

    async def run(self, settings: Settings | None) -> None:
        with self._progress:
            await self._pull(settings)

    async def _pull(self, settings: Settings | None) -> None:
        position = self._state.read(self._report, self._wanted.system.places)
        self._earlier.stored, self._earlier.refused = self._report.stored, self._report.refused
        if position is not None:
            self._tell(f"goes on after {self._report.stored:,} records, by {self._state.path}")
        async with _target(settings) as target, Source(self._wanted.access, self._tell) as source:
            try:
                await self._walk(source, target, position)
            except RefusedError as error:
                # A page token outlives neither its key nor its hours.
                if position is None or self._moved or error.status != httpx.codes.BAD_REQUEST:
                    raise
                self._tell("the source no longer knows the place: from the beginning")
                self._report.stored = self._report.refused = 0
                self._earlier.stored = self._earlier.refused = 0
                await self._walk(source, target, None)
        self._state.drop()

    async def _walk(self, source: Source, target: Target, position: Position | None) -> None:
        wanted = self._wanted
        pages = wanted.system.pages(source, target, wanted.owner, position)
        async with contextlib.aclosing(pages):  # type: ignore[type-var] # a generator, though typed as less
            async for page in pages:
                await import_lines(target, IMPORTABLE, self._shown(page), self._refuse, self._report)
                self._moved = True
                if page.after is not None:
                    self._state.write(page.after, self._report)

    def _shown(self, page: Page) -> Iterator[Line]:
        self._progress.update(self._task, total=page.total)
        for line in page.lines:
            yield line
            self._progress.advance(self._task)

    def _refuse(self, line: Line, error: FieldError) -> None:
        self._tell(f"{line.source}:{line.number}{_id_in(line)}: {told(error)}")

    def _tell(self, text: str) -> None:
        tell(self._progress, printable(text))


def _id_in(line: Line) -> str:
    """Return the id of a refused item, for people to find it: it need not have one."""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        parsed = anyjson.parse(line.text)
        id_ = parsed["body"][IMPORTABLE[parsed["kind"]].key]
        if type(id_) is str:
            return f" ({id_[:LONGEST_ID]})"
    return ""


@contextlib.asynccontextmanager
async def _target(settings: Settings | None) -> AsyncIterator[Target]:
    if settings is None:
        yield Nowhere()
        return
    async with driver.connected(settings) as connection:
        await indexes.make_for(settings, KINDS)
        yield Store(connection)

"""Reads: one indexed find a list, projected to the ready-made form that is sent."""

from bisect import bisect_right
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate, repeat
from operator import contains, itemgetter
from typing import Any

from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.cursor import AsyncCursor
from pymongo.asynchronous.database import AsyncDatabase

from server.records.kind import BASIC, JSON, PB, Document, Kind, Owner, rerendered
from server.records.query import Query
from server.shielded import shielded
from server.store.cancellation import Cancellation
from server.store.direct import Direct
from server.store.driver import start_snapshot
from server.store.failures import translated
from server.store.finds import find_command, find_filter, index_of, projection
from server.store.tallies import TALLIES
from server.turns import Turns

BATCH_BYTES = 1 << 20
"""About how much of a long list is taken from the driver at a time."""
MAX_BATCH = 1000
GROWTH = 4
EXPORTED_AT_ONCE = 16
FIRST_BATCH = {False: 102, True: 8}
"""Records in the first batch, by whether they are heavy: a page of 100 and what shows that it is not all."""

Rows = list[Document]


@dataclass(frozen=True, slots=True)
class _NamedCursor:
    name: str
    cursor: AsyncCursor[Document]


class Reads:
    """Lists, single records and counts.

    With `shields`, what the driver has begun goes on when a call is cancelled (driver.must_not_be_cancelled).
    """

    def __init__(
        self, database: AsyncDatabase[Document], direct: Direct | None = None, *, shields: bool = False
    ) -> None:
        self._database = database
        self._direct = direct
        self._driven: Callable[[Any], Awaitable[Any]] = shielded if shields else _as_it_is
        self._cancellation = Cancellation(database)

    async def ping(self) -> None:
        """Return if the store answers; raise UnavailableError if not."""
        with translated():
            await self._database.command("ping")

    async def find(self, query: Query, form: str, *also: str) -> Rows:
        """Return a page: each row has `form` (PB, BASIC or JSON) and the fields `also`."""
        if query.limit == 0:
            return []
        rows = await self._directly(find_command(query, (form, *also))) if at_once(query, form) else None
        if rows is None:
            with translated():
                rows = await self._take(self._cursor(query, (form, *also)), query.limit)
        return await self._complete(query, rows, form)

    async def stream(self, query: Query, form: str) -> AsyncIterator[tuple[list[bytes], bool]]:
        """Yield a list of any length in batches of `form`, each with whether it is the last."""
        if query.limit == 0:
            yield [], True
            return
        async for rows, last in self._batches(query, form):
            items = list(map(itemgetter(form), rows))
            rows.clear()  # What a slow reader waits with is held once.
            yield items, last

    async def page(self, query: Query, form: str, max_bytes: float, *also: str) -> tuple[Rows, bool]:
        """Return a page and whether there is more: up to the limit, or where it reaches `max_bytes`."""
        if query.limit == 0:
            return [], False
        wanted, last = query.one_more(), True
        if at_once(wanted, form):
            page = await self.find(wanted, form, *also)
            taken = _bytes_of(page, form)
        else:
            page, taken = [], 0
            async for rows, last in self._batches(wanted, form, *also):  # noqa: B007 # used below
                page += rows
                taken += _bytes_of(rows, form)
                if taken > max_bytes:
                    break
        kept = min(len(page) if taken <= max_bytes else _fitting(page, form, max_bytes), query.limit)
        return page[:kept], len(page) > kept or not last

    async def _batches(self, query: Query, form: str, *also: str) -> AsyncIterator[tuple[Rows, bool]]:
        """Yield a list in batches, each with whether it is the last.

        Each batch is a find behind the one before, all of one snapshot: a record that changes its place
        meanwhile is neither missed nor repeated, nothing is held open in MongoDB while a slow caller
        reads, and no more than a batch here.  The first is small where records are large; those after
        it take about BATCH_BYTES.
        """
        size, left = _first_batch(query, form), query.limit
        if at_once(query, form):
            yield await self.find(query, form, *also), True
            return
        if (rows := await self._short(query, form, *also)) is not None:
            yield await self._complete(query, rows, form), True
            return
        order = [name for name, _ in query.order]
        with translated():
            snapshot = await start_snapshot(self._database)
        async with snapshot:
            while True:
                batch = replace(query, limit=min(size, left))
                with translated():
                    rows = await self._take(self._cursor(batch, (form, *also, *order), snapshot), batch.limit)
                left -= len(rows)
                if left == 0 or len(rows) < batch.limit:
                    yield await self._complete(query, rows, form), True
                    return
                query = replace(query, after=tuple(rows[-1][name] for name in order), skip=0)
                rows = await self._complete(query, rows, form)
                # The next records may be larger than these: their number grows by steps.
                fitting = len(rows) * BATCH_BYTES // max(_bytes_of(rows, form), 1)
                size = max(1, min(MAX_BATCH, size * GROWTH, fitting))
                yield rows, False

    async def _short(self, query: Query, form: str, *also: str) -> Rows | None:
        """Return a list that turns out to be shorter than a first batch, by one find; None if it does not."""
        few = replace(query, limit=_first_batch(query, form))
        # Ids are in the index: this costs little where it is in vain.
        found = await self._directly(find_command(few, ()))
        if found is None or len(found) == few.limit:
            return None
        rows = await self._directly(find_command(few, (form, *also)))
        return rows if rows is not None and len(rows) < few.limit else None

    async def get(self, kind: Kind, owner: Owner, key: str, *fields: str) -> Document | None:
        """Return one record with `fields`; None if there is none."""
        filter_ = {"_id": kind.document_id(owner, key), **kind.live()}
        rows = await self._few(kind.collection, filter_, projection((*fields, "id")))
        if not rows:
            return None
        (row,) = rows
        if JSON in fields and JSON not in row:
            rendered = (await self._rendered(kind, [kind.document_id(owner, key)])).get(key)
            return None if rendered is None else {**row, JSON: rendered}
        return row

    async def count(self, tally: str) -> int:
        """Return a counter: the sum of its slots."""
        slots = await self._few(TALLIES, {"tally": tally}, {"n": 1, "_id": 0})
        return sum(slot["n"] for slot in slots)

    async def everything(self, kind: Kind, part_owner: Owner | None = None) -> AsyncIterator[Document]:
        """Yield every record of a kind by its `_id`, or those with one owner, as `owner`, PB and JSON."""
        filter_ = {} if part_owner is None else {"owner": kind.owner_document(part_owner)}
        cursor = self._collection(kind).find(
            filter_, {"owner": 1, "id": 1, PB: 1, JSON: 1}, sort=[("_id", 1)]
        )
        with translated():
            while rows := await cursor.to_list(EXPORTED_AT_ONCE):
                for row in rows:
                    yield row if JSON in row else {**row, JSON: rerendered(kind, row[PB])}

    async def about(self, kind: Kind) -> int:
        """Return about how many records there are, without counting them."""
        with translated():
            return await self._collection(kind).estimated_document_count()

    async def matches(self, kind: Kind, filter_: Mapping[str, Any]) -> int:
        """Return how many records match a filter, by counting them."""
        with translated():
            return await self._collection(kind).count_documents(filter_)

    async def matching(self, kind: Kind, filter_: Mapping[str, Any], field: str) -> set[Any]:
        """Return one field of all records that match a filter of few results."""
        rows = await self._few(kind.collection, filter_, projection((field,)))
        return {row[field] for row in rows}

    def _collection(self, kind: Kind) -> AsyncCollection[Document]:
        return self._database[kind.collection]

    async def _few(self, collection: str, filter_: Mapping[str, Any], fields: Mapping[str, int]) -> Rows:
        """Return all that a filter of few results finds, in any order."""
        # By itself MongoDB ends a first batch at 101 records; a page may have one agent more.
        command = {"find": collection, "filter": filter_, "projection": fields, "batchSize": MAX_BATCH}
        rows = await self._directly(command)
        if rows is not None:
            return rows
        with translated():
            found: Rows = await self._driven(self._database[collection].find(filter_, fields).to_list(None))
        return found

    async def _directly(self, command: Mapping[str, Any]) -> Rows | None:
        """Return what a find command finds, without the driver; None if only the driver can."""
        return None if self._direct is None else await self._direct.find(command)

    async def _take(self, named: "_NamedCursor", length: int) -> Rows:
        return await self._cancellation.stop_if_cancelled(
            named.name, self._driven(named.cursor.to_list(length))
        )

    def _cursor(
        self, query: Query, fields: Sequence[str], session: AsyncClientSession | None = None
    ) -> "_NamedCursor":
        name = self._cancellation.name()
        # One reply holds the page where it fits into 16 MB; where it does not, the cursor goes on.
        cursor = self._collection(query.kind).find(
            find_filter(query),
            projection((*fields, "id")),
            sort=query.order,
            skip=query.skip,
            limit=query.limit,
            batch_size=min(query.limit, MAX_BATCH) + 1,
            hint=index_of(query),
            comment=name,
            session=session,
        )
        return _NamedCursor(name, cursor)

    async def _complete(self, query: Query, rows: Rows, form: str) -> Rows:
        """Render what has no current rendering: a record of an older version, or too big to keep one."""
        if form != JSON or sum(map(contains, rows, repeat(JSON))) == len(rows):
            return rows
        owner = query.filter.get("owner", {})
        missing = [query.kind.document_id(owner, row["id"]) for row in rows if JSON not in row]
        rendered = await self._rendered(query.kind, missing)
        complete = ({JSON: rendered.get(row["id"]), **row} for row in rows)
        return [row for row in complete if row[JSON] is not None]

    async def _rendered(self, kind: Kind, ids: Sequence[Document]) -> dict[str, bytes]:
        rendered = {}
        turns = Turns()
        few = FIRST_BATCH[bool(kind.heavy)]
        for start in range(0, len(ids), few):
            filter_ = {"_id": {"$in": ids[start : start + few]}}
            for row in await self._few(kind.collection, filter_, projection((PB, "id"))):
                rendered[row["id"]] = await turns.take(len(row[PB]), partial(rerendered, kind, row[PB]))
        return rendered


def _as_it_is(work: Awaitable[Any]) -> Awaitable[Any]:
    return work


def at_once(query: Query, form: str) -> bool:
    """Return whether a list is so short that one find takes it whole."""
    return query.limit <= _first_batch(query, form)


def _first_batch(query: Query, form: str) -> int:
    return FIRST_BATCH[bool(query.kind.heavy) and form != BASIC]


def _bytes_of(rows: Rows, form: str) -> int:
    return sum(map(len, map(itemgetter(form), rows)))


def _fitting(rows: Rows, form: str, max_bytes: float) -> int:
    """Return how many rows, from the first on, take `max_bytes` together; the first one always fits."""
    ends = list(accumulate(map(len, map(itemgetter(form), rows))))
    return max(1, bisect_right(ends, max_bytes))

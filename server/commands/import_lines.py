"""Import: JSON lines of documented items, judged one by one, stored in bulk."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Protocol

from server.records import anyjson
from server.records.fields import NAME, Codec
from server.records.kind import Document, Kind, Stored, stored
from server.records.violation import FieldError

BATCH_RECORDS = 1000
BATCH_BYTES = 8 << 20

_LINE_KEYS = ("kind", "owner", "body")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a file, for an error to name."""

    source: str
    number: int
    text: str | bytes


class Puts(Protocol):
    """Where documents go: the store's Writes, or what stands for them."""

    async def put(self, kind: Kind, documents: Sequence[Document]) -> None:
        """Upsert documents."""


@dataclass(slots=True)
class Report:
    """How an import went: records that are stored for good, and lines that were refused."""

    stored: int = 0
    refused: int = 0


@dataclass(slots=True)
class _Batch:
    documents: dict[Kind, list[Document]] = field(default_factory=dict)
    records: int = 0
    size: int = 0

    def add(self, records: Stored, size: int) -> None:
        for kind, document in records:
            self.documents.setdefault(kind, []).append(document)
        self.records += len(records)
        self.size += size

    @property
    def full(self) -> bool:
        return self.records >= BATCH_RECORDS or self.size >= BATCH_BYTES


async def import_lines(
    writes: Puts,
    kinds: Mapping[str, Kind],
    lines: Iterable[Line],
    refuse: Callable[[Line, FieldError], None],
    report: Report,
) -> None:
    """Store every good line, in order; call `refuse` for each bad one.

    `report` is kept up to date.  What `refuse` raises ends the import after the
    lines before it are stored.
    """
    batch = _Batch()
    writing: asyncio.Task[None] | None = None

    async def store(batch: _Batch) -> None:
        for kind, documents in batch.documents.items():
            await writes.put(kind, documents)
        report.stored += batch.records

    async def flush() -> None:
        # One batch at a time is written, while the next is read: lines stay in order.
        nonlocal batch, writing
        if writing is not None:
            await writing
        writing = asyncio.create_task(store(batch))
        batch = _Batch()
        await asyncio.sleep(0)

    try:
        for line in lines:
            try:
                batch.add(read_line(kinds, line.text), len(line.text))
            except FieldError as error:
                report.refused += 1
                refuse(line, error)
            if batch.full:
                await flush()
    finally:
        await flush()
        if writing is not None:
            await writing


def read_line(kinds: Mapping[str, Kind], text: str | bytes) -> Stored:
    """Return the documents of one import line; raise FieldError for what is wrong with it."""
    try:
        line = anyjson.parse(text)
    except ValueError:
        raise FieldError("is not JSON").within("line") from None
    if type(line) is not dict:
        raise FieldError("must be an object").within("line")
    _only(line, _LINE_KEYS, "is not a key of an import line")
    kind = kinds.get(line["kind"]) if type(line["kind"]) is str else None
    if kind is None:
        raise FieldError(f"must be one of {', '.join(kinds)}").within("kind")
    owner, extra = _owner(kind, line["owner"])
    body = line["body"]
    parts = []
    if kind.parts and type(body) is dict:
        body = dict(body)
        parts = [(part, body.pop(part.key)) for part in kind.parts if part.key in body]
    checked = kind.schema.check(body)
    records = [(kind, stored(kind, owner, checked, extra))]
    for part, items in parts:
        owner = {part.owner: checked[kind.key]}
        for index, item in enumerate(_array(items, part.key)):
            try:
                document = stored(part.kind, owner, part.kind.schema.check(item), {})
            except FieldError as error:
                raise error.within(f"[{index}]").within(part.key) from None
            records.append((part.kind, document))
    return records


def _array(value: Any, key: str) -> list[Any]:
    if type(value) is not list:
        raise FieldError("must be an array").within(key)
    return value


def _owner(kind: Kind, owner: Any) -> tuple[dict[str, str], dict[str, Any]]:
    if type(owner) is not dict:
        raise FieldError("must be an object").within("owner")
    codecs, required = _owner_keys(kind)
    try:
        _only(owner, required, f"is not a key of the owner of a {kind.name}", kind.optional_extras)
        for name, value in owner.items():
            try:
                codecs[name].check(value)
            except FieldError as error:
                raise error.within(name) from None
    except FieldError as error:
        raise error.within("owner") from None
    extra = {name: owner[name] for name in kind.extras if name in owner}
    return {name: owner[name] for name in kind.owner}, extra


@cache
def _owner_keys(kind: Kind) -> tuple[Mapping[str, Codec], tuple[str, ...]]:
    """Return what an owner may have, and what it must have."""
    codecs = {**dict.fromkeys(kind.owner, NAME), **kind.extras}
    return codecs, tuple(name for name in codecs if name not in kind.optional_extras)


def _only(
    value: Mapping[str, Any], required: tuple[str, ...], rule: str, optional: frozenset[str] = frozenset()
) -> None:
    for name in required:
        if name not in value:
            raise FieldError("is required").within(name)
    unknown = value.keys() - set(required) - optional
    if unknown:
        raise FieldError(rule).within(min(unknown))

"""`rollcall export`: the inverse of import, for backups and moves."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import orjson

from server.app import KINDS
from server.records.kind import JSON, PB, Document, Kind, message_of
from server.settings import Settings
from server.store import driver
from server.store.reads import Reads


def export(settings: Settings, names: frozenset[str], write: Callable[[bytes], Any]) -> int:
    """Write import lines of the kinds named, of all if none is, ordered; return how many."""

    async def run() -> int:
        connection = driver.connect(settings)
        reads = Reads(connection.database)
        lines = 0
        try:
            for kind in _exported(names):
                async for line in _lines(reads, kind):
                    write(line)
                    lines += 1
        finally:
            await connection.close()
        return lines

    return asyncio.run(run())


def _exported(names: frozenset[str]) -> list[Kind]:
    parts = [part.kind for kind in KINDS for part in kind.parts]
    return [kind for kind in KINDS if kind not in parts and (not names or kind.name in names)]


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

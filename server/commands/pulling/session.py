"""Julep: `GET /sessions`, a tenant's, by offset until a page is empty."""

from collections.abc import AsyncIterator
from typing import Any

from server.commands.pulling.source import Source
from server.commands.pulling.system import (
    Page,
    Position,
    System,
    is_count,
    items_of,
    line_of,
    repeated,
    text_of,
)
from server.commands.pulling.target import Target
from server.records.kind import Owner
from server.records.session import KIND

PATH = "/sessions"
LIMIT = 100
OLDEST_FIRST = {"sort_by": "created_at", "direction": "asc"}
"""What is created meanwhile comes last, and moves nothing."""


async def _pages(source: Source, _: Target, owner: Owner, position: Position | None) -> AsyncIterator[Page]:
    offset: int = position["offset"] if position else 0
    before: list[Any] = []
    while True:
        page = await source.page(PATH, {"limit": LIMIT, "offset": offset, **OLDEST_FIRST})
        items = items_of(PATH, page, "items")
        if not items:
            return
        if items == before:
            raise repeated(PATH, "offset")
        lines = [line_of(PATH, n, KIND, owner, text_of(item)) for n, item in enumerate(items, offset + 1)]
        before = items
        offset += len(items)
        yield Page(lines, {"offset": offset})


SYSTEM = System(KIND, _pages, places={"offset": is_count})

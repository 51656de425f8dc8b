"""Storyden: `GET /robots`, then `GET /robots/sessions`, by page, each session with its messages."""

from collections.abc import AsyncIterator
from typing import Any

import httpx

from server.commands.import_lines import Line
from server.commands.pulling.source import RefusedError, Source
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
from server.records import robot
from server.records.fields import XID
from server.records.kind import Kind, Owner
from server.records.robot_session import KIND
from server.records.robot_session import PAGE as SESSIONS_A_PAGE
from server.records.violation import FieldError

MESSAGES = 100

_LISTS: dict[str, tuple[str, Kind, int]] = {
    "/robots": ("robots", robot.KIND, robot.PAGE),
    "/robots/sessions": ("sessions", KIND, SESSIONS_A_PAGE),
}
"""The lists in their order: the key of their items, their kind, how many a page has."""


async def _pages(source: Source, _: Target, owner: Owner, position: Position | None) -> AsyncIterator[Page]:
    path, number = (position["path"], position["page"]) if position else ("/robots", 1)
    while path:
        page = await source.page(path, {"page": number})
        lines = await _lines(source, path, number, owner, page)
        following = page.get("next_page")
        if following is not None and following != number + 1:
            raise repeated(path, "page")
        pages = page.get("total_pages")
        total = pages * _LISTS[path][2] if type(pages) is int else None
        path, number = (path, following) if following else (_after(path), 1)
        yield Page(lines, {"path": path, "page": number} if path else None, total)


def _after(path: str) -> str:
    return "/robots/sessions" if path == "/robots" else ""


async def _lines(source: Source, path: str, number: int, owner: Owner, page: dict[str, Any]) -> list[Line]:
    key, kind, size = _LISTS[path]
    lines = []
    for place, item in enumerate(items_of(path, page, key), (number - 1) * size + 1):
        messages = await _messages(source, item) if kind is KIND else []
        body = {**item, "messages": messages} if messages else item
        lines.append(line_of(path, place, kind, owner, text_of(body)))
    return lines


async def _messages(source: Source, session: Any) -> list[Any]:
    """Return a session's messages; none if it is gone, or its id would make another path."""
    try:
        path = f"/robots/sessions/{XID.check(session['id'])}"
    except (FieldError, KeyError, TypeError):
        return []
    messages: list[Any] = []
    parameters: dict[str, str | int] = {"limit": MESSAGES}
    while True:
        try:
            page = (await source.page(path, parameters)).get("message_list")
        except RefusedError as error:
            if error.status != httpx.codes.NOT_FOUND:
                raise
            return messages
        page = page if type(page) is dict else {}
        messages += items_of(path, page, "messages")
        before = page.get("next_before")
        if before is None:
            return messages
        if before == parameters.get("before"):
            raise repeated(path, "before")
        parameters["before"] = before


SYSTEM = System(KIND, _pages, ("storyden-session",), {"path": _LISTS.__contains__, "page": is_count})

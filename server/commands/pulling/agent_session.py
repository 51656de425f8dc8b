"""Palantir Foundry: `GET /api/v2/aipAgents/agents/allSessions`, one user's of one client, by token."""

from collections.abc import AsyncIterator
from typing import Any

from server.commands.import_lines import Line
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
from server.records import agent
from server.records.agent_session import KIND
from server.records.kind import Owner
from server.records.violation import FieldError

PATH = "/api/v2/aipAgents/agents/allSessions"
PAGE_SIZE = 100


async def _pages(
    source: Source, target: Target, owner: Owner, position: Position | None
) -> AsyncIterator[Page]:
    token: str | None = position["token"] if position else None
    seen: int = position["seen"] if position else 0
    viewer = agent.viewer(owner["user_id"])
    while True:
        parameters: dict[str, str | int] = {"preview": "true", "pageSize": PAGE_SIZE}
        page = await source.page(PATH, parameters | ({"pageToken": token} if token else {}))
        items = items_of(PATH, page, "data")
        lines = await _agents(items, target, viewer, seen)
        lines += [line_of(PATH, n, KIND, owner, text_of(item)) for n, item in enumerate(items, seen + 1)]
        following = page.get("nextPageToken") or None
        if following == token and token:
            raise repeated(PATH, "pageToken")
        token, seen = following, seen + len(items)
        yield Page(lines, {"token": token, "seen": seen} if token else None)
        if token is None:
            return


async def _agents(items: list[Any], target: Target, viewer: str, seen: int) -> list[Line]:
    """Put the sessions' agents on record, with the user among their viewers.

    The source lists only what the user can access; the user keeps that access.  Returns lines for an
    import to refuse: of agents that would have too many viewers.
    """
    return [
        line_of(PATH, seen + 1, agent.KIND, {"viewers": crowd}, text_of({"rid": rid}))
        for rid in sorted({_rid(item) for item in items} - {""})
        if (crowd := await target.admit(rid, viewer))
    ]


def _rid(item: Any) -> str:
    try:
        return str(agent.RID.check(item["agentRid"]))
    except (FieldError, KeyError, TypeError):
        return ""


SYSTEM = System(KIND, _pages, places={"token": lambda token: type(token) is str, "seen": is_count})

"""TutoriaLLM: `GET /session`, one user's whole list in one answer."""

from collections.abc import AsyncIterator

from server.commands.pulling.elements import elements
from server.commands.pulling.source import Body, Source
from server.commands.pulling.system import Page, Position, System, line_of
from server.commands.pulling.target import Target
from server.records.kind import Owner
from server.records.user_session import KIND

PATH = "/session"


async def _pages(source: Source, _: Target, owner: Owner, __: Position | None) -> AsyncIterator[Page]:
    body, count = await source.whole(PATH, _counted)
    with body:
        numbered = enumerate(elements(body), 1)
        yield Page((line_of(PATH, number, KIND, owner, text) for number, text in numbered), total=count)


def _counted(body: Body) -> tuple[Body, int]:
    """Return a list that is whole, and how many it has: nothing of half a list is stored."""
    count = sum(1 for _ in elements(body))
    body.seek(0)
    return body, count


SYSTEM = System(KIND, _pages, ("better-auth.session_token", "__Secure-better-auth.session_token"))

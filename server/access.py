"""Which agent sessions a caller may see: those with agents that let the caller in."""

from operator import itemgetter

from server.records import agent
from server.records.caller import Caller
from server.records.query import Query
from server.store.reads import Reads, Rows


async def accessible_page(
    reads: Reads, query: Query, caller: Caller, form: str, max_bytes: float, *also: str
) -> tuple[Rows, bool]:
    """Return a page of agent sessions, all with agents that `caller` may access, and whether there is more.

    The page is read first and its few agents are judged after; if some are denied,
    it is read again without them.  Each turn denies at least one more agent.
    """
    denied: set[str] = set()
    while True:
        if query.filter.get("agent") in denied:
            return [], False
        page = query if not denied or "agent" in query.filter else query.without("agent", denied)
        # One row more is judged with the page, so that no token leads to an empty one.
        rows, more = await reads.page(page.one_more(), form, max_bytes, "agent", *also)
        agents = set(map(itemgetter("agent"), rows)) - denied
        granted = (
            await reads.matching(agent.KIND, agent.accessible(agents, caller), "id") if agents else set()
        )
        if agents <= granted:
            return rows[: query.limit], more or len(rows) > query.limit
        denied |= agents - granted


async def may_access(reads: Reads, rid: str, caller: Caller) -> bool:
    """Return whether an agent is on record and lets the caller in."""
    return bool(await reads.matching(agent.KIND, agent.accessible({rid}, caller), "id"))

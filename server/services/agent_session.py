"""AgentSessionService: Palantir Foundry's agent sessions and agents, typed."""

from rollcall.v1 import agent_session_pb2 as pb

from server.access import accessible_page, may_access
from server.errors import PermissionDeniedError
from server.records import agent, agent_session
from server.records.caller import Caller
from server.records.kind import PB, Document
from server.services.ownership import TenantView, named
from server.services.paging import PAGE_BYTES, Pages, joined, page_size
from server.services.resources import Owned, Resources, require_writer
from server.store.writes import Writes

DEFAULT_PAGE = 100


class AgentSessionService:
    """Every RPC of AgentSessionService."""

    def __init__(self, pages: Pages, writes: Writes) -> None:
        self._pages = pages
        self._records = Resources(agent_session.KIND, "agent_session", pages.reads, writes)
        self._agents = Resources(agent.KIND, "agent", pages.reads, writes)

    async def list_agent_sessions(self, request: pb.ListAgentSessionsRequest, caller: Caller) -> bytes:
        _require_reader(caller)
        owner, view = _owner(request, caller)
        size = page_size(request.page_size, DEFAULT_PAGE)
        query = agent_session.unexpired(owner, size).where(**view.conditions())
        if request.agent_rid:
            query = query.where(agent=request.agent_rid)
        response = pb.ListAgentSessionsResponse()
        if caller.may_name_owners:
            return await self._pages.answer(query, request, caller, response)
        query = self._pages.resumed(query, request, caller)
        rows, more = await accessible_page(self._pages.reads, query, caller, PB, PAGE_BYTES, "updated")
        if more:
            response.next_page_token = self._pages.token(query, rows[-1], request, caller)
        return joined(rows, PB, response)

    async def get_agent_session(self, request: pb.GetAgentSessionRequest, caller: Caller) -> bytes:
        _require_reader(caller)
        owner, view = _owner(request, caller)

        async def sees(record: Document) -> bool:
            if caller.may_name_owners:
                return await view.sees(record)
            return await may_access(self._pages.reads, record["agent"], caller)

        return await self._records.get(owner, request.rid, sees)

    async def create_agent_session(self, request: pb.CreateAgentSessionRequest, caller: Caller) -> bytes:
        return await self._records.create(caller, request, _owned(request.agent_session, caller))

    async def batch_create_agent_sessions(
        self, request: pb.BatchCreateAgentSessionsRequest, caller: Caller
    ) -> bytes:
        return await self._records.batch_create(
            caller, request.requests, lambda record: _owned(record, caller)
        )

    async def update_agent_session(self, request: pb.UpdateAgentSessionRequest, caller: Caller) -> bytes:
        require_writer(caller)
        _, view = _owner(request.agent_session, caller)
        owned = _owned(request.agent_session, caller)
        return await self._records.update(caller, request, owned, view.sees)

    async def delete_agent_session(self, request: pb.DeleteAgentSessionRequest, caller: Caller) -> bytes:
        require_writer(caller)
        owner, view = _owner(request, caller)
        return await self._records.delete(caller, request, owner, view.sees)

    async def list_agents(self, request: pb.ListAgentsRequest, caller: Caller) -> bytes:
        query = agent.on_record(page_size(request.page_size, DEFAULT_PAGE))
        if not caller.may_name_owners:
            query = query.where(viewers={"$in": caller.viewers})
        return await self._pages.answer(query, request, caller, pb.ListAgentsResponse())

    async def get_agent(self, request: pb.GetAgentRequest, caller: Caller) -> bytes:
        async def sees(record: Document) -> bool:
            return caller.may_name_owners or not set(record["viewers"]).isdisjoint(caller.viewers)

        return await self._agents.get({}, request.rid, sees)

    async def create_agent(self, request: pb.CreateAgentRequest, caller: Caller) -> bytes:
        return await self._agents.create(caller, request, _viewed(request.agent))

    async def update_agent(self, request: pb.UpdateAgentRequest, caller: Caller) -> bytes:
        return await self._agents.update(caller, request, _viewed(request.agent))

    async def delete_agent(self, request: pb.DeleteAgentRequest, caller: Caller) -> bytes:
        return await self._agents.delete(caller, request, {})


def _require_reader(caller: Caller) -> None:
    if not (caller.may_see_agents or caller.may_name_owners):
        raise PermissionDeniedError("The scope api:aip-agents-write is missing", reason="SCOPE_MISSING")


def _owner(
    named_in: pb.ListAgentSessionsRequest
    | pb.GetAgentSessionRequest
    | pb.DeleteAgentSessionRequest
    | pb.AgentSession,
    caller: Caller,
) -> tuple[dict[str, str], TenantView]:
    owner = {
        "user_id": named("user_id", named_in.user_id, caller.sub, caller),
        "client_id": named("client_id", named_in.client_id, caller.client_id, caller),
    }
    own = {"user_id": caller.sub, "client_id": caller.client_id}
    return owner, TenantView(owner, own, caller)


def _owned(record: pb.AgentSession, caller: Caller) -> Owned:
    owner, _ = _owner(record, caller)
    return Owned(owner, {"developer_id": caller.tenant})


def _viewed(record: pb.Agent) -> Owned:
    return Owned({}, {"viewers": list(record.viewers)})

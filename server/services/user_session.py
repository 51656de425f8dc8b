"""UserSessionService: the coding tutor's user sessions, typed."""

from rollcall.v1 import user_session_pb2 as pb

from server.records import user_session
from server.records.caller import Caller
from server.records.kind import Owner
from server.services.ownership import TenantView, named
from server.services.paging import Pages, page_size
from server.services.resources import Owned, Resources, require_writer
from server.store.writes import Writes

DEFAULT_PAGE = 100


class UserSessionService:
    """Every RPC of UserSessionService."""

    def __init__(self, pages: Pages, writes: Writes) -> None:
        self._pages = pages
        self._records = Resources(user_session.KIND, "user_session", pages.reads, writes, _complete)

    async def list_user_sessions(self, request: pb.ListUserSessionsRequest, caller: Caller) -> bytes:
        owner, view = _owner(request.user_id, caller)
        query = user_session.owned_by(owner, page_size(request.page_size, DEFAULT_PAGE))
        query = query.where(**view.conditions())
        if request.HasField("language"):
            query = query.where(language=request.language)
        return await self._pages.answer(query, request, caller, pb.ListUserSessionsResponse())

    async def get_user_session(self, request: pb.GetUserSessionRequest, caller: Caller) -> bytes:
        owner, view = _owner(request.user_id, caller)
        return await self._records.get(owner, request.uuid, view.sees)

    async def create_user_session(self, request: pb.CreateUserSessionRequest, caller: Caller) -> bytes:
        return await self._records.create(caller, request, _owned(request.user_session, caller))

    async def batch_create_user_sessions(
        self, request: pb.BatchCreateUserSessionsRequest, caller: Caller
    ) -> bytes:
        return await self._records.batch_create(
            caller, request.requests, lambda record: _owned(record, caller)
        )

    async def update_user_session(self, request: pb.UpdateUserSessionRequest, caller: Caller) -> bytes:
        require_writer(caller)
        owned = _owned(request.user_session, caller)
        _, view = _owner(request.user_session.user_id, caller)
        return await self._records.update(caller, request, owned, view.sees)

    async def delete_user_session(self, request: pb.DeleteUserSessionRequest, caller: Caller) -> bytes:
        require_writer(caller)
        owner, view = _owner(request.user_id, caller)
        return await self._records.delete(caller, request, owner, view.sees)


def _owner(user_id: str, caller: Caller) -> tuple[dict[str, str], TenantView]:
    owner = {"user_id": named("user_id", user_id, caller.sub, caller)}
    return owner, TenantView(owner, {"user_id": caller.sub}, caller)


def _owned(record: pb.UserSession, caller: Caller) -> Owned:
    user_id = named("user_id", record.user_id, caller.sub, caller)
    return Owned({"user_id": user_id}, {"developer_id": caller.tenant})


def _complete(record: pb.UserSession, owner: Owner) -> None:
    if not record.HasField("user_info"):
        record.user_info.string_value = owner["user_id"]

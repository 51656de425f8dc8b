"""SessionService: Julep's sessions, typed."""

import re
from typing import Any

from rollcall.v1 import session_pb2 as pb

from server.errors import InvalidArgumentError
from server.records import session
from server.records.anyjson import from_struct
from server.records.caller import Caller
from server.records.violation import FieldError
from server.services.paging import Pages, not_negative, page_size
from server.services.resources import Owned, Resources
from server.store.writes import Writes

DEFAULT_PAGE = 100

_ORDER_BY = re.compile(r"\s*(created_at|updated_at)(?:\s+(asc|desc))?\s*")


class SessionService:
    """Every RPC of SessionService."""

    def __init__(self, pages: Pages, writes: Writes) -> None:
        self._pages = pages
        self._records = Resources(session.KIND, "session", pages.reads, writes)

    async def list_sessions(self, request: pb.ListSessionsRequest, caller: Caller) -> bytes:
        if request.HasField("limit") and request.page_size:
            raise InvalidArgumentError("limit", "must not be set together with page_size")
        limit = page_size(request.page_size, DEFAULT_PAGE)
        if request.HasField("limit"):
            limit = min(not_negative(request.limit, "limit"), session.MAX_LIMIT)
        sort_by, direction = _order(request.order_by)
        query = session.owned_by(
            _owner(caller),
            limit,
            not_negative(request.offset, "offset"),
            sort_by,
            direction,
            _metadata(request),
        )
        return await self._pages.answer(query, request, caller, pb.ListSessionsResponse())

    async def get_session(self, request: pb.GetSessionRequest, caller: Caller) -> bytes:
        return await self._records.get(_owner(caller), request.id)

    async def create_session(self, request: pb.CreateSessionRequest, caller: Caller) -> bytes:
        return await self._records.create(caller, request, _owned(caller))

    async def batch_create_sessions(self, request: pb.BatchCreateSessionsRequest, caller: Caller) -> bytes:
        return await self._records.batch_create(caller, request.requests, lambda _: _owned(caller))

    async def update_session(self, request: pb.UpdateSessionRequest, caller: Caller) -> bytes:
        return await self._records.update(caller, request, _owned(caller))

    async def delete_session(self, request: pb.DeleteSessionRequest, caller: Caller) -> bytes:
        return await self._records.delete(caller, request, _owner(caller))


def _owner(caller: Caller) -> dict[str, str]:
    return {"developer_id": caller.tenant}


def _owned(caller: Caller) -> Owned:
    return Owned(_owner(caller), {})


def _order(order_by: str) -> tuple[str, str]:
    if not order_by:
        return "created_at", "desc"
    match = _ORDER_BY.fullmatch(order_by)
    if match is None:
        raise InvalidArgumentError("order_by", "must be created_at or updated_at, and asc or desc")
    return match[1], match[2] or "asc"


def _metadata(request: pb.ListSessionsRequest) -> dict[str, Any]:
    try:
        return from_struct(request.metadata_filter)
    except FieldError as error:
        raise InvalidArgumentError(f"metadata_filter.{error.proto_path}", error.rule) from None

"""RobotService: Storyden's robots, robot sessions and messages, typed."""

from typing import Any

from rollcall.v1 import robot_pb2 as pb

from server.errors import InvalidArgumentError, PermissionDeniedError
from server.records import robot, robot_message, robot_session
from server.records.caller import Caller
from server.records.fields import XID
from server.records.query import Query
from server.records.violation import FieldError
from server.services.paging import Pages, not_negative, page_size
from server.services.resources import Owned, Resources
from server.store.writes import Whole, Writes

_TEAM = Owned({}, {})
"""Robots and their sessions belong to the whole installation."""

DEFAULT_MESSAGES = 50


class RobotService:
    """Every RPC of RobotService."""

    def __init__(self, pages: Pages, writes: Writes) -> None:
        self._pages = pages
        self._robots = Resources(robot.KIND, "robot", pages.reads, writes)
        self._sessions = Resources(robot_session.KIND, "robot_session", pages.reads, writes)
        self._messages = Resources(robot_message.KIND, "robot_message", pages.reads, writes)

    async def list_robot_sessions(self, request: pb.ListRobotSessionsRequest, caller: Caller) -> bytes:
        _require_reader(caller)
        account = _account(request.account_id)
        query = robot_session.begun_by(account, page_size(request.page_size, robot_session.PAGE))
        tally = robot_session.tally(account)
        return await self._counted(query, tally, request, caller, pb.ListRobotSessionsResponse())

    async def get_robot_session(self, request: pb.GetRobotSessionRequest, caller: Caller) -> bytes:
        _require_reader(caller)
        return await self._sessions.get({}, request.id)

    async def create_robot_session(self, request: pb.CreateRobotSessionRequest, caller: Caller) -> bytes:
        return await self._sessions.create(caller, request, _TEAM)

    async def batch_create_robot_sessions(
        self, request: pb.BatchCreateRobotSessionsRequest, caller: Caller
    ) -> bytes:
        return await self._sessions.batch_create(caller, request.requests, lambda _: _TEAM)

    async def update_robot_session(self, request: pb.UpdateRobotSessionRequest, caller: Caller) -> bytes:
        return await self._sessions.update(caller, request, _TEAM)

    async def delete_robot_session(self, request: pb.DeleteRobotSessionRequest, caller: Caller) -> bytes:
        return await self._sessions.delete(caller, request, {})

    async def list_robot_messages(self, request: pb.ListRobotMessagesRequest, caller: Caller) -> bytes:
        _require_reader(caller)
        size = page_size(request.page_size, DEFAULT_MESSAGES)
        if not request.session_id:
            raise InvalidArgumentError("session_id", "is required")
        await self._sessions.require({}, request.session_id)
        query = robot_message.of_session(request.session_id, size)
        return await self._pages.answer(query, request, caller, pb.ListRobotMessagesResponse())

    async def create_robot_message(self, request: pb.CreateRobotMessageRequest, caller: Caller) -> bytes:
        session_id = request.robot_message.session_id
        session = Whole(robot_session.KIND, robot_session.KIND.document_id({}, session_id))
        owned = Owned({"session_id": session_id}, {}, session)
        return await self._messages.create(caller, request, owned)

    async def list_robots(self, request: pb.ListRobotsRequest, caller: Caller) -> bytes:
        _require_reader(caller)
        query = robot.all_robots(page_size(request.page_size, robot.PAGE))
        return await self._counted(query, robot.TALLY, request, caller, pb.ListRobotsResponse())

    async def get_robot(self, request: pb.GetRobotRequest, caller: Caller) -> bytes:
        _require_reader(caller)
        return await self._robots.get({}, request.id)

    async def create_robot(self, request: pb.CreateRobotRequest, caller: Caller) -> bytes:
        return await self._robots.create(caller, request, _TEAM)

    async def batch_create_robots(self, request: pb.BatchCreateRobotsRequest, caller: Caller) -> bytes:
        return await self._robots.batch_create(caller, request.requests, lambda _: _TEAM)

    async def update_robot(self, request: pb.UpdateRobotRequest, caller: Caller) -> bytes:
        return await self._robots.update(caller, request, _TEAM)

    async def delete_robot(self, request: pb.DeleteRobotRequest, caller: Caller) -> bytes:
        return await self._robots.delete(caller, request, {})

    async def _counted(self, query: Query, tally: str, request: Any, caller: Caller, response: Any) -> bytes:
        page = not_negative(request.page, "page")
        if page and (request.page_size or request.page_token):
            raise InvalidArgumentError("page", "must not be set together with page_size or page_token")
        if page:
            query = query.skipping((page - 1) * query.limit)
        response.total_size = await self._pages.reads.count(tally)
        return await self._pages.answer(query, request, caller, response, numbered=page > 0)


def _require_reader(caller: Caller) -> None:
    if not (caller.may_use_robots or caller.may_name_owners):
        raise PermissionDeniedError("The permission USE_ROBOTS is missing", reason="PERMISSION_MISSING")


def _account(account_id: str) -> str | None:
    try:
        return XID.check(account_id) if account_id else None
    except FieldError as error:
        raise InvalidArgumentError("account_id", error.rule) from None

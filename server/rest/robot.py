"""Storyden's robots, robot sessions and their messages, in numbered pages."""

import re
from collections.abc import Iterable
from dataclasses import replace
from email.utils import formatdate
from itertools import chain
from operator import itemgetter
from typing import Any

import grpc
import orjson

from server.auth.authenticator import Authenticator
from server.auth.credentials import bearer, cookie
from server.errors import NotFoundError, PermissionDeniedError, RateLimitedError, RollcallError
from server.records import robot, robot_message, robot_session
from server.records.fields import XID
from server.records.kind import JSON
from server.records.query import Query
from server.records.violation import FieldError
from server.rest.answer import ContractError, ErrorAnswer
from server.rest.call import RestCall, echoed
from server.store.reads import Reads

COOKIE = "storyden-session"
MESSAGES = range(1, 101)
DEFAULT_MESSAGES = 50
PAGES = range(1, 2**32 + 1)
PROBLEM_TYPE = "application/problem+json"

_INTEGER = re.compile(r"[+-]?\d{1,20}", re.ASCII)

_NOT_LOGGED_IN = (
    "The request did not contain any authentication information, please check to make sure you are logged in."
)
_PROBLEMS = {
    grpc.StatusCode.INVALID_ARGUMENT: (400, "invalid-argument", "The request is not valid."),
    grpc.StatusCode.UNAUTHENTICATED: (
        401,
        "unauthenticated",
        _NOT_LOGGED_IN,
    ),
    grpc.StatusCode.PERMISSION_DENIED: (
        403,
        "permission-denied",
        "You don\u2019t have access to this right now.",
    ),
    grpc.StatusCode.NOT_FOUND: (404, "not-found", "Not found."),
    grpc.StatusCode.RESOURCE_EXHAUSTED: (429, "too-many-requests", "Too many requests."),
    grpc.StatusCode.UNAVAILABLE: (503, "service-unavailable", "Service unavailable."),
    grpc.StatusCode.DEADLINE_EXCEEDED: (504, "gateway-timeout", "Gateway timeout."),
}
_INTERNAL = (500, "internal", "Internal server error.")


class RobotRest:
    """Answers section 3 of the contracts."""

    def __init__(self, reads: Reads, authenticator: Authenticator) -> None:
        self._reads = reads
        self._authenticator = authenticator

    async def list_robot_sessions(self, call: RestCall) -> bytes:
        """Return a page of the team's sessions, or of one account's."""
        await self._authorize(call)
        account = call.query.get("account_id")
        if account is not None:
            _check_account(account, call)
        query = robot_session.begun_by(account, robot_session.PAGE)
        return await self._page(call, query, robot_session.tally(account), b"sessions")

    async def list_robots(self, call: RestCall) -> bytes:
        """Return a page of the robots."""
        await self._authorize(call)
        return await self._page(call, robot.all_robots(robot.PAGE), robot.TALLY, b"robots")

    async def get_robot(self, call: RestCall) -> bytes:
        """Return one robot."""
        await self._authorize(call)
        row = await self._reads.get(robot.KIND, {}, call.path.get("id", ""), JSON)
        if row is None:
            raise NotFoundError("There is no such robot")
        return bytes(row[JSON])

    async def get_robot_session(self, call: RestCall) -> bytes:
        """Return one session with a page of its messages, oldest first."""
        await self._authorize(call)
        session_id = call.path.get("id", "")
        row = await self._reads.get(robot_session.KIND, {}, session_id, JSON)
        if row is None:
            raise NotFoundError("There is no such robot session")
        messages = await self._message_list(call, session_id)
        return b'%b,"message_list":%b}' % (row[JSON][:-1], messages)

    async def _message_list(self, call: RestCall, session_id: str) -> bytes:
        limit = _clamped(call.query.get("limit"))
        before = call.query.get("before")
        position = None
        if before is not None:
            message = await self._reads.get(robot_message.KIND, {"session_id": session_id}, before, "created")
            if message is None:
                raise _invalid(call, "before: must be the id of a message of this session")
            position = message["created"], message["id"]
        query = robot_message.of_session(session_id, limit + 1, position)
        rows = await self._reads.find(query, JSON)
        page = rows[:limit][::-1]
        envelope: dict[str, Any] = {"page_size": limit, "results": len(page)}
        if len(rows) > limit:
            envelope["next_before"] = page[0]["id"]
        return _envelope(envelope, b"messages", map(itemgetter(JSON), page))

    async def _page(self, call: RestCall, query: Query, tally: str, name: bytes) -> bytes:
        page = _page_number(call.query.get("page"))
        size = query.limit
        total = await self._reads.count(tally)
        total_pages = -(-total // size)
        rows = await self._reads.find(query.skipping((page - 1) * size), JSON) if page <= total_pages else []
        envelope = {
            "page_size": size,
            "results": len(rows),
            "total_pages": total_pages,
            "current_page": page,
        }
        if page < total_pages:
            envelope["next_page"] = page + 1
        return _envelope(envelope, name, map(itemgetter(JSON), rows))

    async def _authorize(self, call: RestCall) -> None:
        metadata = call.metadata
        caller = await self._authenticator.identify(chain(cookie(metadata, COOKIE), bearer(metadata)))
        if not caller.may_use_robots:
            raise PermissionDeniedError("The permission USE_ROBOTS is missing")

    def error(self, error: RollcallError, call: RestCall) -> ErrorAnswer:
        """Return an error as Storyden's problem document."""
        status, kind, title = _PROBLEMS.get(error.code, _INTERNAL)
        answer = _problem(status, kind, title, error.message, call)
        if isinstance(error, RateLimitedError):
            return replace(answer, headers=_limit_headers(error))
        return answer


def _limit_headers(error: RateLimitedError) -> dict[str, str]:
    """Return Storyden's: both times are HTTP dates there."""
    end = formatdate(error.reset, usegmt=True)
    return {
        "x-ratelimit-limit": str(error.limit),
        "x-ratelimit-remaining": str(error.remaining),
        "x-ratelimit-reset": end,
        "retry-after": end,
    }


def _problem(status: int, kind: str, title: str, detail: str, call: RestCall) -> ErrorAnswer:
    body = {
        "type": f"urn:storyden:problem:{kind}",
        "title": title,
        "detail": detail,
        "trace_id": call.trace_id,
    }
    return ErrorAnswer(status, body, PROBLEM_TYPE)


def _invalid(call: RestCall, detail: str) -> ContractError:
    return ContractError(_problem(*_PROBLEMS[grpc.StatusCode.INVALID_ARGUMENT], detail, call))


def _check_account(account: str, call: RestCall) -> None:
    try:
        XID.check(account)
    except FieldError as error:
        raise _invalid(call, f"account_id: {error.rule}, not {echoed(account)!r}") from None


def _integer(value: str | None) -> int | None:
    return int(value) if value is not None and _INTEGER.fullmatch(value) else None


def _page_number(value: str | None) -> int:
    page = _integer(value)
    return page if page is not None and page in PAGES else 1


def _clamped(value: str | None) -> int:
    limit = _integer(value)
    return DEFAULT_MESSAGES if limit is None else max(MESSAGES[0], min(limit, MESSAGES[-1]))


def _envelope(envelope: dict[str, Any], name: bytes, items: Iterable[bytes]) -> bytes:
    return b'%b,"%b":[%b]}' % (orjson.dumps(envelope)[:-1], name, b",".join(items))

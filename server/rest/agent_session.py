"""Foundry's `GET /api/v2/aipAgents/agents/allSessions`: keyset pages behind sealed tokens."""

import math
import re
import uuid
from collections.abc import Mapping
from operator import itemgetter
from typing import Any

import grpc
import orjson

from server.access import accessible_page
from server.auth.authenticator import Authenticator
from server.auth.credentials import bearer
from server.errors import EXPIRED, MISSING, PermissionDeniedError, RollcallError, UnauthenticatedError
from server.metadata import header
from server.page_tokens import PageTokenError, PageTokens
from server.records import agent_session
from server.records.caller import Caller
from server.records.kind import JSON
from server.records.query import Position
from server.rest.answer import ContractError, ErrorAnswer
from server.rest.call import RestCall, echoed
from server.store.reads import Reads

MAX_PAGE = 100
PAGES_OF = "allSessions"

_INTEGER = re.compile(r"[+-]?\d{1,1000}", re.ASCII)

_ERRORS = {
    grpc.StatusCode.INVALID_ARGUMENT: (400, "INVALID_ARGUMENT", "Conjure:InvalidArgument"),
    grpc.StatusCode.NOT_FOUND: (404, "NOT_FOUND", "Default:NotFound"),
    grpc.StatusCode.PERMISSION_DENIED: (403, "PERMISSION_DENIED", "GetAllSessionsAgentsPermissionDenied"),
    grpc.StatusCode.RESOURCE_EXHAUSTED: (429, "CUSTOM_CLIENT", "Default:RateLimited"),
    grpc.StatusCode.UNAVAILABLE: (503, "INTERNAL", "Default:Unavailable"),
    grpc.StatusCode.DEADLINE_EXCEEDED: (503, "INTERNAL", "Default:Unavailable"),
}
_INTERNAL = (500, "INTERNAL", "Default:Internal")


class AgentSessionRest:
    """Answers section 4 of the contracts."""

    def __init__(self, reads: Reads, authenticator: Authenticator, tokens: PageTokens) -> None:
        self._reads = reads
        self._authenticator = authenticator
        self._tokens = tokens

    async def list_all_agent_sessions(self, call: RestCall) -> bytes:
        """Return a page of what the caller's user and client may see."""
        caller = await self._authorize(call)
        _check_preview(call.query.get("preview"))
        size = _page_size(call.query.get("pageSize"))
        after = self._position(call.query.get("pageToken"), caller)
        query = agent_session.unexpired({"user_id": caller.sub, "client_id": caller.client_id}, size, after)
        rows, more = await accessible_page(self._reads, query, caller, JSON, math.inf, "updated")
        data = b'{"data":[%b]' % b",".join(map(itemgetter(JSON), rows))
        if more:
            last = rows[-1]
            token = self._tokens.seal((last["updated"], last["id"]), *_binding(caller))
            return b'%b,"nextPageToken":%b}' % (data, orjson.dumps(token))
        return data + b"}"

    async def _authorize(self, call: RestCall) -> Caller:
        if not header(call.metadata, "authorization"):
            raise UnauthenticatedError("Credentials are missing", reason=MISSING)
        caller = await self._authenticator.verify(next(bearer(call.metadata), ""))
        if not caller.may_see_agents:
            raise PermissionDeniedError("The scope api:aip-agents-write is missing")
        return caller

    def _position(self, token: str | None, caller: Caller) -> Position | None:
        if token is None:
            return None
        try:
            updated, rid = self._tokens.open(token, *_binding(caller))
        except (PageTokenError, ValueError):
            raise _refusal("InvalidPageToken", {"pageToken": echoed(token)}) from None
        return updated, rid

    def error(self, error: RollcallError, call: RestCall) -> ErrorAnswer:  # noqa: ARG002 # as every contract's
        """Return an error in Foundry's words."""
        if isinstance(error, UnauthenticatedError):
            if error.reason == MISSING:
                return _answer(401, "UNAUTHORIZED", "Conjure:MissingCredentials", {})
            held = "EXPIRED" if error.reason == EXPIRED else "INVALID"
            return _answer(401, "UNAUTHORIZED", "Default:Unauthorized", {"error": held})
        return _answer(*_ERRORS.get(error.code, _INTERNAL), {})


def _answer(status: int, code: str, name: str, parameters: Mapping[str, Any]) -> ErrorAnswer:
    body = {
        "errorCode": code,
        "errorName": name,
        "errorInstanceId": str(uuid.uuid4()),
        "parameters": parameters,
    }
    return ErrorAnswer(status, body)


def _refusal(name: str, parameters: Mapping[str, Any]) -> ContractError:
    return ContractError(_answer(400, "INVALID_ARGUMENT", name, parameters))


def _check_preview(value: str | None) -> None:
    if value is None or value == "false":
        raise _refusal("ApiFeaturePreviewUsageOnly", {})
    if value != "true":
        raise _refusal("Conjure:InvalidArgument", {})


def _page_size(value: str | None) -> int:
    if value is None:
        return MAX_PAGE
    if not _INTEGER.fullmatch(value):
        raise _refusal("Conjure:InvalidArgument", {})
    size = int(value)
    if size <= 0:
        raise _refusal("InvalidPageSize", {"pageSize": size})
    return min(size, MAX_PAGE)


def _binding(caller: Caller) -> tuple[str, str, str]:
    return PAGES_OF, caller.sub, caller.client_id

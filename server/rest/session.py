"""Julep's `GET /sessions`: the tenant's sessions, by limit and offset."""

from collections.abc import Mapping
from typing import Any, Literal

import grpc
from pydantic import BaseModel, ValidationError

from server.auth.authenticator import Authenticator
from server.auth.credentials import bearer_or_bare
from server.errors import RollcallError
from server.records import anyjson, session
from server.rest.answer import HTTP_STATUS, Chunks, ContractError, ErrorAnswer, array
from server.rest.call import RestCall, echoed
from server.store.reads import Reads

INT64 = range(2**63)
FILTER = "metadata_filter"

_STATUS = HTTP_STATUS | {grpc.StatusCode.UNAUTHENTICATED: 403}


class _Parameters(BaseModel):
    """The list's scalar parameters, in the order in which errors name them."""

    limit: int = 100
    offset: int = 0
    sort_by: Literal["created_at", "updated_at"] = "created_at"
    direction: Literal["asc", "desc"] = "desc"


class SessionRest:
    """Answers section 2 of the contracts."""

    def __init__(self, reads: Reads, authenticator: Authenticator) -> None:
        self._reads = reads
        self._authenticator = authenticator

    async def list_sessions(self, call: RestCall) -> bytes | Chunks:
        """Return `{"items": […]}`."""
        caller = await self._authenticator.identify(bearer_or_bare(call.metadata))
        parameters = _parameters(call.query)
        query = session.owned_by(
            {"developer_id": caller.tenant},
            min(parameters.limit, session.MAX_LIMIT),
            parameters.offset,
            parameters.sort_by,
            parameters.direction,
            metadata_filter(call.query),
        )
        return await array(self._reads, query, b'{"items":[', b"]}")

    def error(self, error: RollcallError, call: RestCall) -> ErrorAnswer:  # noqa: ARG002 # as every contract's
        """Return an error in Julep's words."""
        status = _STATUS.get(error.code, 500)
        message = "Could not validate API KEY" if status == 403 else error.message  # noqa: PLR2004 # HTTP
        return _answer(status, message)


def _answer(status: int, message: str) -> ErrorAnswer:
    body = {"error": {"message": message, "code": f"http_{status}", "type": "http_error"}}
    return ErrorAnswer(status, body)


def _parameters(query: Mapping[str, str]) -> _Parameters:
    try:
        parameters = _Parameters.model_validate(query)
    except ValidationError as error:
        raise _refusal(error) from None
    if parameters.limit not in INT64 or parameters.offset not in INT64:
        raise _out_of_range()
    return parameters


def _out_of_range() -> ContractError:
    return ContractError(_answer(400, "Invalid session data provided during list"))


def _refusal(error: ValidationError) -> ContractError:
    details = [
        {
            "type": detail["type"],
            "msg": detail["msg"],
            "loc": f"query.{detail['loc'][0]}",
            "received": echoed(detail["input"]),
        }
        for detail in error.errors(include_url=False, include_context=False)
        # An integer of thousands of digits is one all the same: out of range.
        if detail["type"] != "int_parsing_size"
    ]
    if not details:
        return _out_of_range()
    body = {"error": {"message": "Validation error", "details": details, "code": "validation_error"}}
    return ContractError(ErrorAnswer(422, body))


def metadata_filter(query: Mapping[str, str]) -> dict[str, Any]:
    """Return the metadata that a session must have.

    From `metadata_filter={JSON object}` and, winning over it, each
    `metadata_filter.KEY=VALUE`.
    """
    wanted = {}
    if FILTER in query:
        try:
            given = anyjson.parse(query[FILTER])
        except ValueError:
            given = None
        if isinstance(given, dict):
            wanted = given
    prefix = f"{FILTER}."
    for name, value in query.items():
        if name.startswith(prefix):
            wanted[name.removeprefix(prefix)] = _read(value)
    return wanted


def _read(value: str) -> int | float | str:
    """Return a value as Julep reads it: an integer, else a number, else text."""
    for number in (int, float):
        try:
            read = number(value)
        except ValueError:
            continue
        # What JSON cannot store ("nan", "inf") can only be text there.
        if read - read == 0:
            return read
    return value

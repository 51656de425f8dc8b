"""From a servicer's methods to grpc: who calls, how long it may take, how errors are told."""

import logging
import re
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from server.auth import Authenticator
from server.calls import Context, Limits, metadata_of
from server.credentials import bearer_or_bare
from server.errors import InvalidArgumentError, RollcallError
from server.records.caller import Caller

Method = Callable[[Any, Caller], Awaitable[bytes]]

_WORD_START = re.compile(r"(?<!^)(?=[A-Z])")

log = logging.getLogger(__name__)


def handlers(
    service: ServiceDescriptor, servicer: object, authenticator: Authenticator, limits: Limits
) -> grpc.GenericRpcHandler:
    """Return the RPCs of a service.

    `ListSessions` is the servicer's `list_sessions(request, caller)`, which returns
    the serialized response.
    """
    return grpc.method_handlers_generic_handler(
        service.full_name,
        {method.name: _handler(method, servicer, authenticator, limits) for method in service.methods},
    )


def _handler(
    method: MethodDescriptor, servicer: object, authenticator: Authenticator, limits: Limits
) -> "grpc.RpcMethodHandler[Any, Any]":
    answer: Method = getattr(servicer, _WORD_START.sub("_", method.name).lower())
    read = partial(_read, GetMessageClass(method.input_type))
    return grpc.unary_unary_rpc_method_handler(partial(_call, answer, authenticator, limits), read)


def _read(request: type[Message], data: bytes) -> Message | None:
    # grpc would answer INTERNAL for what is the caller's fault.
    try:
        return request.FromString(data)
    except DecodeError:
        return None


async def _call(
    answer: Method, authenticator: Authenticator, limits: Limits, request: Message | None, context: Context
) -> bytes:
    try:
        async with limits.around(context):
            caller = await authenticator.identify(bearer_or_bare(metadata_of(context)))
            return await answer(_readable(request), caller)
    except RollcallError as error:
        await _abort(context, error)
    except Exception:
        log.exception("a typed call failed")
        await _abort(context, RollcallError())
    raise AssertionError("an aborted call does not go on")


def _readable(request: Message | None) -> Message:
    if request is None:
        raise InvalidArgumentError("request", "must be a message of this method, its text UTF-8")
    return request


async def _abort(context: Context, error: RollcallError) -> None:
    status = error.status()
    await context.abort(error.code, error.message, (("grpc-status-details-bin", status.SerializeToString()),))

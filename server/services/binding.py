"""From a servicer's methods to grpc: who calls, how long it may take, how errors are told."""

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from server.auth.authenticator import Authenticator
from server.auth.credentials import bearer_or_bare
from server.calls import Context, Limits, abort, metadata_of
from server.errors import RollcallError
from server.first_message import NO_MESSAGE
from server.metadata import Metadata
from server.records.caller import Caller
from server.services.paths import PathKey, path_keys

_WORD_START = re.compile(r"(?<!^)(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class _Method:
    """One RPC: what answers it, and what is done before."""

    answer: Callable[[Any, Caller], Awaitable[bytes]]
    keys: Sequence[PathKey]
    authenticator: Authenticator
    limits: Limits

    async def call(self, request: Message | None, context: Context) -> bytes:
        """Return the serialized response, or end the call with a google.rpc.Status."""
        try:
            return await self.limits.run(context, self._answered(request, metadata_of(context)))
        except RollcallError as error:
            await abort(context, error)

    async def _answered(self, request: Message | None, metadata: Metadata) -> bytes:
        caller = await self.authenticator.identify(bearer_or_bare(metadata))
        readable = _readable(request)
        for key in self.keys:
            key.check(readable, metadata)
        return await self.answer(readable, caller)


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
    if method.name.startswith(("Get", "List")):
        limits = limits.reading()
    answer = getattr(servicer, _WORD_START.sub("_", method.name).lower())
    bound = _Method(answer, path_keys(method), authenticator, limits)
    return grpc.unary_unary_rpc_method_handler(bound.call, partial(_read, GetMessageClass(method.input_type)))


def _read(request: type[Message], data: bytes) -> Message | None:
    # grpc would answer INTERNAL for what is the caller's fault.
    try:
        return request.FromString(data)
    except DecodeError:
        return None


def _readable(request: Message | None) -> Message:
    if request is None:
        raise NO_MESSAGE
    return request

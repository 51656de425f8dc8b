"""RestService: from the wire to a REST module and back."""

import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cache, partial
from types import AsyncGeneratorType
from typing import Any, NoReturn, Protocol, cast

import grpc
from google.api.httpbody_pb2 import HttpBody
from rollcall.v1 import rest_pb2

from server.admission import Held
from server.calls import Context, Limits, cancelled_if_gone, end, metadata_of
from server.errors import RollcallError
from server.records.wire import LENGTH_DELIMITED, varint
from server.rest.answer import JSON_TYPE, Chunks, ContractError, Document, ErrorAnswer
from server.rest.call import RestCall, read_fields, rest_call

CHUNK_BYTES = 1 << 20

_SERVICE = rest_pb2.DESCRIPTOR.services_by_name["RestService"]
_CODES = {400: grpc.StatusCode.INVALID_ARGUMENT, 422: grpc.StatusCode.INVALID_ARGUMENT}

_DATA_TAG = bytes((HttpBody.DATA_FIELD_NUMBER << 3 | LENGTH_DELIMITED,))

log = logging.getLogger(__name__)


class RestModule(Protocol):
    """One contract."""

    def error(self, error: RollcallError, call: RestCall) -> ErrorAnswer:
        """Return an error in the contract's words."""


@dataclass(frozen=True, slots=True)
class Route:
    """One RPC of RestService: the contract that it belongs to, and what answers it."""

    module: RestModule
    answer: Callable[[RestCall], Coroutine[Any, Any, bytes | Chunks | Document]]


def contracts(routes: Mapping[str, Route]) -> Mapping[str, str]:
    """Return the contract of each method, by its full name: the contract's module, as Envoy names it too."""
    return {
        f"/{_SERVICE.full_name}/{name}": type(route.module).__module__.rpartition(".")[2]
        for name, route in routes.items()
    }


def handlers(routes: dict[str, Route], limits: Limits) -> grpc.GenericRpcHandler:
    """Return the RPCs of RestService."""
    if set(routes) != {method.name for method in _SERVICE.methods}:
        raise LookupError("every RPC of RestService needs one route")
    return grpc.method_handlers_generic_handler(
        _SERVICE.full_name, {name: _handler(name, route, limits.reading()) for name, route in routes.items()}
    )


def _handler(name: str, route: Route, limits: Limits) -> "grpc.RpcMethodHandler[Any, Any]":
    method = _SERVICE.methods_by_name[name]
    answer = partial(_answer, route, limits, streams=method.server_streaming)
    # Streaming ones too: what they return goes out together with the status, in one step instead of two.
    return grpc.unary_unary_rpc_method_handler(answer, partial(read_fields, method.input_type))


async def _answer(
    route: Route, limits: Limits, fields: dict[str, str], context: Context, *, streams: bool
) -> bytes:
    """Return the last part of an answer; end the call with its contract's body for whatever goes wrong."""
    call = rest_call(fields, metadata_of(context))
    try:
        return await _answered(route, limits, call, context, streams=streams)
    except ContractError as error:
        await _refuse(context, _CODES[error.answer.status], error.answer)
    except RollcallError as error:
        answer = route.module.error(error, call)
        headers = {**error.headers(), **answer.headers}
        await _refuse(context, error.code, replace(answer, headers=headers))
    except Exception:
        log.exception("a documented path failed")
        internal = RollcallError()
        await _refuse(context, internal.code, route.module.error(internal, call))


async def _answered(
    route: Route, limits: Limits, call: RestCall, context: Context, *, streams: bool
) -> bytes:
    with limits.gate.stream() if streams else nullcontext() as held:
        body = await limits.run(context, route.answer(call))
        if isinstance(body, Document):
            with cancelled_if_gone():
                await context.send_initial_metadata(tuple(body.headers.items()))
            return _http_body(body.data, body.content_type)
        if not isinstance(body, bytes):
            async with _closing(body) as chunks:
                body = await _all_but_last(chunks, limits, context, held)
        return _http_body(body if held is None else await _all_but_end(body, context, held))


@asynccontextmanager
async def _closing(chunks: Chunks) -> AsyncIterator[Chunks]:
    """Close a body at the end of the block; one whose next chunk outlives the call is closed with that."""
    try:
        yield chunks
    finally:
        if not cast("AsyncGeneratorType[Any, Any]", chunks).ag_running:
            await chunks.aclose()


async def _all_but_last(chunks: Chunks, limits: Limits, context: Context, held: Held | None) -> bytes:
    """Write a body's chunks; return the last one."""
    while True:
        # Each chunk has its own time and place: a slow reader takes as long as it likes.
        chunk, last = await limits.run(context, anext(chunks), begun=True)
        if last:
            return chunk
        await _write(await _all_but_end(chunk, context, held), context)


async def _all_but_end(data: bytes, context: Context, held: Held | None) -> bytes:
    """Write what is too much for one message; return the rest."""
    if held is not None:
        held.is_now(len(data))
    end_ = (len(data) - 1) // CHUNK_BYTES * CHUNK_BYTES
    for start in range(0, end_, CHUNK_BYTES):
        await _write(data[start : start + CHUNK_BYTES], context)
    return data[end_:] if end_ else data


async def _write(part: bytes, context: Context) -> None:
    with cancelled_if_gone():
        await context.write(_http_body(part))


async def _refuse(context: Context, code: grpc.StatusCode, answer: ErrorAnswer) -> NoReturn:
    await end(context, code, f"HTTP {answer.status}", answer.metadata())


def _http_body(data: bytes, content_type: str = JSON_TYPE) -> bytes:
    """Return a serialized HttpBody; `data`, the last of its fields, is copied once."""
    return b"".join((_type_field(content_type), _DATA_TAG, varint(len(data)), data))


@cache
def _type_field(content_type: str) -> bytes:
    field: bytes = HttpBody(content_type=content_type).SerializeToString()
    return field

"""A gRPC server that misbehaves as it is told: `upstream.py PORT`.

The metadata `x-act` says what a call of it does; tests send it as an HTTP header.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
from google.api.httpbody_pb2 import HttpBody
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio
from grpc_reflection.v1alpha import reflection
from grpc_status import rpc_status
from rollcall.v1 import rest_pb2, session_pb2

OPTIONS = (
    ("grpc.max_metadata_size", 262144),
    ("grpc.absolute_max_metadata_size", 262144),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", 32 << 20),
    ("grpc.so_reuseport", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 5000),
    ("grpc.keepalive_permit_without_calls", 1),
)

MEGABYTE = b'"' + b"x" * (1024 * 1024 - 3) + b'"'
UNARY_MEGABYTES = 20
STREAM_MEGABYTES = 40
DRIPS = 4
DRIP_SECONDS = 0.4

Context = grpc.aio.ServicerContext[Any, Any]
Act = Callable[[Context], Awaitable[bytes]]


def _array(count: int) -> bytes:
    return b"[" + b",".join([MEGABYTE] * count) + b"]"


def _metadata(context: Context) -> dict[str, str]:
    found = context.invocation_metadata() or ()
    return {str(key): str(value) for key, value in found}


async def _ok(_: Context) -> bytes:
    return b'{"items":[]}'


async def _echo(context: Context) -> bytes:
    return json.dumps(_metadata(context)).encode()


async def _big(_: Context) -> bytes:
    return _array(UNARY_MEGABYTES)


async def _hang(_: Context) -> bytes:
    await asyncio.sleep(3600)
    return b""


async def _error(context: Context) -> bytes:
    """Fail as the server does: with the contract's body in the trailers."""
    body = json.dumps({"error": {"message": "caf\u00e9 \u2019", "status": 418}})
    await context.abort(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "not for callers",
        (
            ("x-error-body", body),
            ("x-http-status", "429"),
            ("x-error-type", "application/problem+json"),
            ("retry-after", "7"),
            ("x-ratelimit-limit", "10"),
            ("x-ratelimit-remaining", "0"),
            ("x-ratelimit-reset", "2026-01-01T00:00:00Z"),
        ),
    )


async def _long_error(context: Context) -> bytes:
    body = json.dumps({"title": "x" * 4096})
    metadata = (
        ("x-error-body", body),
        ("x-http-status", "400"),
        ("x-error-type", "application/problem+json"),
    )
    await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "", metadata)


async def _unauthorized(context: Context) -> bytes:
    metadata = (("x-error-body", '{"error":{}}'), ("x-http-status", "401"))
    await context.abort(grpc.StatusCode.UNAUTHENTICATED, "", metadata)


async def _typed(context: Context) -> bytes:
    """Fail as a typed service does: with google.rpc details."""
    detail = AnyMessage()
    detail.Pack(error_details_pb2.ErrorInfo(reason="RECORD_NOT_FOUND", domain="rollcall"))
    status = status_pb2.Status(code=5, message="no such session", details=[detail])
    await context.abort_with_status(rpc_status.to_status(status))


async def _bare(context: Context) -> bytes:
    """Fail as the grpc core does: with the code that `x-code` names, and no body."""
    metadata = _metadata(context)
    await context.abort(grpc.StatusCode[metadata["x-code"]], metadata.get("x-message", "core's own words"))


async def _too_big(_: Context) -> bytes:
    """Answer more than the proxy holds."""
    return _array(65)


ACTS: dict[str, Act] = {
    "ok": _ok,
    "echo": _echo,
    "big": _big,
    "hang": _hang,
    "error": _error,
    "long-error": _long_error,
    "unauthorized": _unauthorized,
    "typed": _typed,
    "bare": _bare,
    "too-big": _too_big,
}


async def _chunks(context: Context) -> AsyncIterator[bytes]:
    act = _metadata(context).get("x-act", "ok")
    if act == "stream":
        yield b"["
        for number in range(int(_metadata(context).get("x-megabytes", STREAM_MEGABYTES))):
            yield (b"," if number else b"") + MEGABYTE
        yield b"]"
    elif act == "half":
        yield b"[1,2,3"
        await _error(context)
    elif act == "drip":
        yield b"[1"
        for _ in range(DRIPS):
            await asyncio.sleep(DRIP_SECONDS)
            yield b",1"
        yield b"]"
    else:
        yield await ACTS[act](context)


async def _stream_body(_: bytes, context: Context) -> AsyncIterator[bytes]:
    async for chunk in _chunks(context):
        yield HttpBody(content_type="application/json", data=chunk).SerializeToString()


async def _unary_body(_: bytes, context: Context) -> bytes:
    data = await ACTS[_metadata(context).get("x-act", "ok")](context)
    return bytes(HttpBody(content_type="application/json", data=data).SerializeToString())


async def _session(request: bytes, context: Context) -> bytes:
    act = _metadata(context).get("x-act", "ok")
    if act != "ok":
        return await ACTS[act](context)
    session = session_pb2.Session(id=session_pb2.GetSessionRequest.FromString(request).id)
    return bytes(session.SerializeToString())


async def _batch(request: bytes, _: Context) -> bytes:
    """Say how much came in."""
    return bytes(
        session_pb2.BatchCreateSessionsResponse(
            sessions=[session_pb2.Session(situation=str(len(request)))]
        ).SerializeToString()
    )


class _Handlers(grpc.GenericRpcHandler):
    """All methods of RestService, and enough of SessionService."""

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> "grpc.RpcMethodHandler[Any, Any] | None":
        service, _, method = str(handler_call_details.method)[1:].partition("/")
        if service == "rollcall.v1.SessionService" and method in {"GetSession", "BatchCreateSessions"}:
            return grpc.unary_unary_rpc_method_handler(_session if method == "GetSession" else _batch)
        if service != "rollcall.v1.RestService":
            return None
        if method in {"ListUserSessions", "ListSessions"}:
            return grpc.unary_stream_rpc_method_handler(_stream_body)
        return grpc.unary_unary_rpc_method_handler(_unary_body)


async def _serve(port: int) -> None:
    server = grpc.aio.server(options=OPTIONS)
    health = aio.HealthServicer()
    await health.set("", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    names = [file.services_by_name for file in (rest_pb2.DESCRIPTOR, session_pb2.DESCRIPTOR)]
    reflection.enable_server_reflection([s.full_name for by_name in names for s in by_name.values()], server)
    server.add_generic_rpc_handlers((_Handlers(),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    print("ready", flush=True)  # noqa: T201 # what the parent waits for
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))

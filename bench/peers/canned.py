"""REST limit: one fixed body a page size, as an HttpBody for Envoy; no store, no credentials.

What any server behind this proxy costs at least.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, TypeAlias

import grpc
from google.api.httpbody_pb2 import HttpBody
from rollcall.v1 import rest_pb2

FOLDER = Path(os.environ["BODIES"])
"""Holds a body as `LIMIT.json` for each page size."""

BODIES = {
    path.stem: HttpBody(content_type="application/json", data=path.read_bytes()).SerializeToString()
    for path in FOLDER.glob("*.json")
}


Handler: TypeAlias = "grpc.RpcMethodHandler[rest_pb2.ListSessionsRestRequest, bytes]"


async def list_sessions(request: rest_pb2.ListSessionsRestRequest, _: Any) -> AsyncIterator[bytes]:
    """Yield the body of a page size."""
    yield BODIES[request.limit[0]]


async def main() -> None:
    """Serve until stopped."""
    server = grpc.aio.server()
    read = rest_pb2.ListSessionsRestRequest.FromString
    handler: Handler = grpc.unary_stream_rpc_method_handler(list_sessions, read)
    service = "rollcall.v1.RestService"
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler(service, {"ListSessions": handler})]
    )
    server.add_insecure_port(f"127.0.0.1:{os.environ['PORT']}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main())

"""gRPC limit: rollcall's stored bytes by OP_MSG over a bare socket; no driver, no credentials, no checks.

What any Python server costs at least that reads these bytes from MongoDB.
"""

import asyncio
import os
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import bson
import grpc
from rollcall.v1 import session_pb2 as pb

OP_MSG = 2013
HEADER = struct.Struct("<iiiiIB")
"""Length, request, response to, opcode, flags, kind of the section."""
INDEX = {"owner": 1, "created": 1, "id": 1}
BUFFER = 4 << 20

Handler: TypeAlias = "grpc.RpcMethodHandler[pb.ListSessionsRequest, bytes]"


class Mongo:
    """Connections to one mongod, each with one command at a time."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        if self._idle:
            connection = self._idle.pop()
        else:
            connection = await asyncio.open_connection("127.0.0.1", self._port, limit=BUFFER)
        yield connection
        self._idle.append(connection)

    async def command(self, command: dict[str, Any]) -> dict[str, Any]:
        """Return the reply to a command."""
        body = bson.encode(command)
        async with self._connection() as (reader, writer):
            writer.write(HEADER.pack(HEADER.size + len(body), 1, 0, OP_MSG, 0, 0) + body)
            (length,) = struct.unpack("<i", await reader.readexactly(4))
            reply = await reader.readexactly(length - 4)
        return bson.decode(reply[HEADER.size - 4 :])


async def main() -> None:
    """Serve until stopped."""
    mongo = Mongo(int(os.environ["MONGO_PORT"]))
    database = os.environ["MONGODB_DATABASE"]

    async def list_sessions(request: pb.ListSessionsRequest, context: Any) -> bytes:
        owner = dict(context.invocation_metadata())["x-developer-id"]
        reply = await mongo.command(
            {
                "find": "sessions",
                "filter": {"owner": {"developer_id": owner}},
                "projection": {"_id": 0, "pb": 1},
                "sort": {"created": -1, "id": -1},
                "limit": request.page_size,
                "singleBatch": True,
                "hint": INDEX,
                "$db": database,
            }
        )
        return b"".join([row["pb"] for row in reply["cursor"]["firstBatch"]])

    server = grpc.aio.server()
    handler: Handler = grpc.unary_unary_rpc_method_handler(list_sessions, pb.ListSessionsRequest.FromString)
    service = "rollcall.v1.SessionService"
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler(service, {"ListSessions": handler})]
    )
    server.add_insecure_port(f"127.0.0.1:{os.environ['PORT']}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main())

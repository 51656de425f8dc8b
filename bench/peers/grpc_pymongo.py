"""gRPC peer: PyMongo's own asyncio client, and one response made of the documents at once."""

import asyncio
import os
from typing import Any

import grpc
from pymongo import AsyncMongoClient
from rollcall.v1 import session_pb2 as pb
from rollcall.v1 import session_pb2_grpc

Context = grpc.aio.ServicerContext[pb.ListSessionsRequest, pb.ListSessionsResponse]


class SessionService(session_pb2_grpc.SessionServiceServicer):
    """Lists sessions."""

    def __init__(self, client: AsyncMongoClient[dict[str, Any]]) -> None:
        self._sessions = client[os.environ["MONGODB_DATABASE"]]["grpc_sessions"]

    async def ListSessions(  # noqa: N802 # grpc's name
        self, request: pb.ListSessionsRequest, context: Context
    ) -> pb.ListSessionsResponse:
        """List a tenant's sessions, the newest first."""
        owner = dict(context.invocation_metadata() or ())["x-developer-id"]
        cursor = self._sessions.find({"developer_id": owner}, {"_id": 0})
        limit = request.page_size
        items = await cursor.sort([("created_at", -1), ("id", -1)]).limit(limit).to_list(limit)
        return pb.ListSessionsResponse(sessions=items)  # type: ignore[arg-type] # dicts are taken too


async def main() -> None:
    """Serve until stopped."""
    server = grpc.aio.server()
    async with AsyncMongoClient[dict[str, Any]](os.environ["MONGODB_URI"]) as client:
        service = SessionService(client)  # type: ignore[abstract] # the other methods are UNIMPLEMENTED
        session_pb2_grpc.add_SessionServiceServicer_to_server(service, server)
        server.add_insecure_port(f"127.0.0.1:{os.environ['PORT']}")
        await server.start()
        await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main())

"""REST peer: FastAPI with PyMongo's own asyncio client, its documents printed by orjson as they are."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import orjson
from fastapi import FastAPI, Header, Query, Request, Response
from pymongo import AsyncMongoClient


@asynccontextmanager
async def lifespan(application: FastAPI) -> AsyncIterator[None]:
    """Hold the client while the application runs."""
    async with AsyncMongoClient[dict[str, Any]](os.environ["MONGODB_URI"], tz_aware=True) as client:
        application.state.sessions = client[os.environ["MONGODB_DATABASE"]]["rest_sessions"]
        yield


app = FastAPI(lifespan=lifespan)

NOT_SENT = {"_id": 0, "developer_id": 0, "etag": 0}


@app.get("/sessions")
async def list_sessions(
    request: Request,
    x_developer_id: Annotated[str, Header()],
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """List a tenant's sessions, the newest first."""
    cursor = request.app.state.sessions.find({"developer_id": x_developer_id}, NOT_SENT)
    items = await cursor.sort([("created_at", -1), ("id", -1)]).limit(limit).to_list(limit)
    return Response(orjson.dumps({"items": items}), media_type="application/json")

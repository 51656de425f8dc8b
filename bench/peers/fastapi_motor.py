"""REST peer: FastAPI, motor and a response model."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Header, Query, Request
from motor.motor_asyncio import AsyncIOMotorClient
from pydantic import BaseModel


class RecallOptions(BaseModel):
    """How documents are searched for a session."""

    mode: Literal["vector", "text", "hybrid"]
    num_search_messages: int
    max_query_length: int
    alpha: float
    confidence: float
    limit: int
    lang: str
    metadata_filter: dict[str, Any]
    mmr_strength: float
    trigram_similarity_threshold: float
    k_multiplier: int


class Session(BaseModel):
    """One conversation's settings."""

    situation: str | None
    system_template: str | None
    summary: str | None
    render_templates: bool
    token_budget: int | None
    context_overflow: Literal["truncate", "adaptive"] | None
    auto_run_tools: bool
    forward_tool_calls: bool
    recall_options: RecallOptions | None
    id: str
    metadata: dict[str, Any]
    created_at: datetime
    updated_at: datetime
    kind: str | None


class Sessions(BaseModel):
    """A page."""

    items: list[Session]


@asynccontextmanager
async def lifespan(application: FastAPI) -> AsyncIterator[None]:
    """Hold the client while the application runs."""
    client: Any = AsyncIOMotorClient(os.environ["MONGODB_URI"], tz_aware=True)
    application.state.sessions = client[os.environ["MONGODB_DATABASE"]]["rest_sessions"]
    yield
    client.close()


app = FastAPI(lifespan=lifespan)

NOT_SENT = {"_id": 0, "developer_id": 0, "etag": 0}


@app.get("/sessions", response_model=Sessions)
async def list_sessions(
    request: Request,
    x_developer_id: Annotated[str, Header()],
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Any:
    """List a tenant's sessions, the newest first."""
    cursor = request.app.state.sessions.find({"developer_id": x_developer_id}, NOT_SENT)
    return {"items": await cursor.sort([("created_at", -1), ("id", -1)]).limit(limit).to_list(limit)}

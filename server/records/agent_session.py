"""Palantir Foundry's agent sessions: one user's, made by one client, until they expire."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from rollcall.v1 import agent_session_pb2 as pb

from server.records import times
from server.records.agent import RID
from server.records.fields import INTEGER, NAME, TEXT, TIME, Field, Schema, identifier_of, new_uuid, now
from server.records.kind import Document, Kind, Owner, tenant_of
from server.records.query import ASC, DESC, Position, Query

LIFETIME = timedelta(days=1)
"""How long a session lasts after its last change, where a write does not say."""


def _expiry(metadata: Mapping[str, Any]) -> str:
    return times.plus(metadata["updatedTime"], LIFETIME)


_METADATA = Schema(
    pb.AgentSessionMetadata,
    Field("title", TEXT),
    Field("createdTime", TIME, default=now),
    Field("updatedTime", TIME, default=now),
    Field("estimatedExpiresTime", TIME, default=_expiry),
    Field("messageCount", INTEGER),
)
_SCHEMA = Schema(
    pb.AgentSession,
    Field("rid", RID, default=identifier_of(lambda: f"ri.aip-agents..session.{new_uuid()}")),
    Field("agentRid", RID),
    Field("agentVersion", TEXT),
    Field("metadata", _METADATA.codec),
)


def _facts(checked: Mapping[str, Any]) -> Document:
    metadata = checked["metadata"]
    return {
        "updated": times.sortable(metadata["updatedTime"]),
        "expires": times.sortable(metadata["estimatedExpiresTime"]),
        "agent": checked["agentRid"],
    }


def _live() -> Document:
    return {"expires": {"$gt": times.sortable(times.now())}}


KIND = Kind(
    name="agent_session",
    collection="agent_sessions",
    schema=_SCHEMA,
    key="rid",
    owner=("user_id", "client_id"),
    facts=_facts,
    changed="metadata.updated_time",
    owner_facts=tenant_of,
    extras={"developer_id": NAME},
    optional_extras=frozenset({"developer_id"}),
    subjects={"user": "owner.user_id", "tenant": "tenant"},
    expiry=lambda checked: times.not_before(checked["metadata"]["estimatedExpiresTime"]),
    deciding=("tenant", "agent"),
    live=_live,
    indexes=(
        # Expiry, access and tenant are decided in the index, before a document is fetched.
        (("owner", ASC), ("updated", DESC), ("id", ASC), ("expires", ASC), ("agent", ASC), ("tenant", ASC)),
        (("owner", ASC), ("agent", ASC), ("updated", DESC), ("id", ASC), ("expires", ASC), ("tenant", ASC)),
    ),
)

ORDER = (("updated", DESC), ("id", ASC))


def unexpired(owner: Owner, limit: int, after: Position | None = None) -> Query:
    """Return the list of an owner's sessions before their expiry, latest change first, then rid."""
    filter_ = {"owner": KIND.owner_document(owner), **_live()}
    return Query(KIND, filter_, ORDER, limit, after=after)

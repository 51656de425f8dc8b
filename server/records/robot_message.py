"""Messages of Storyden's robot sessions; a message belongs to one session."""

from collections.abc import Mapping
from typing import Any

from rollcall.v1 import robot_pb2 as pb

from server.records.account import ACCOUNT
from server.records.fields import (
    NAME,
    OBJECT,
    OPTIONAL,
    TEXT,
    TIME,
    Field,
    Schema,
    enum_of,
    identifier_of,
    list_of,
    now,
)
from server.records.kind import Document, Kind
from server.records.query import ASC, DESC, Position, Query
from server.records.times import sortable
from server.records.xid import new_xid

_ROBOT = Schema(pb.RobotReference, Field("id", NAME), Field("name", TEXT))
_SCHEMA = Schema(
    pb.RobotMessage,
    Field("id", NAME, default=identifier_of(new_xid)),
    Field("role", enum_of(pb.RobotMessage.Role, "ROLE_")),
    Field("parts", list_of(OBJECT)),
    Field("created_at", TIME, default=now),
    Field("metadata", OBJECT, OPTIONAL),
    Field("robot", _ROBOT.codec, OPTIONAL),
    Field("author", ACCOUNT, OPTIONAL),
)


def _facts(checked: Mapping[str, Any]) -> Document:
    return {"created": sortable(checked["created_at"])}


KIND = Kind(
    name="robot_message",
    collection="robot_messages",
    schema=_SCHEMA,
    key="id",
    owner=("session_id",),
    facts=_facts,
    indexes=((("owner", ASC), ("created", ASC), ("id", ASC)),),
)

NEWEST_FIRST = (("created", DESC), ("id", DESC))


def of_session(session_id: str, limit: int, after: Position | None = None) -> Query:
    """Return a session's messages, newest first, or those older than a position."""
    owner = KIND.owner_document({"session_id": session_id})
    return Query(KIND, {"owner": owner}, NEWEST_FIRST, limit, after=after)

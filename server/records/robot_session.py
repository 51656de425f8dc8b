"""Storyden's robot sessions: the whole installation's, counted for their pages."""

from collections.abc import Mapping
from typing import Any

from rollcall.v1 import robot_pb2 as pb

from server.records import robot_message
from server.records.account import ACCOUNT
from server.records.fields import OBJECT, OPTIONAL, TEXT, TIME, XID, Field, Schema, identifier_of, now
from server.records.kind import Document, Kind, Part
from server.records.query import ASC, DESC, Query
from server.records.times import sortable
from server.records.xid import new_xid

PAGE = 20

_SCHEMA = Schema(
    pb.RobotSession,
    Field("id", XID, default=identifier_of(new_xid)),
    Field("createdAt", TIME, default=now),
    Field("updatedAt", TIME, default=now),
    Field("deletedAt", TIME, OPTIONAL),
    Field("misc", OBJECT, OPTIONAL),
    Field("name", TEXT),
    Field("created_by", ACCOUNT),
)


def _facts(checked: Mapping[str, Any]) -> Document:
    return {"created": sortable(checked["createdAt"]), "account": checked["created_by"]["id"]}


def _tallies(document: Document) -> tuple[str, ...]:
    return (tally(), tally(document["account"]))


def tally(account: str | None = None) -> str:
    """Return the name of the counter of all sessions, or of one account's."""
    return "robot_session" if account is None else f"robot_session:{account}"


KIND = Kind(
    name="robot_session",
    collection="robot_sessions",
    schema=_SCHEMA,
    key="id",
    facts=_facts,
    changed="updated_at",
    tallies=_tallies,
    subjects={"user": "account"},
    parts=(Part("messages", robot_message.KIND, "session_id"),),
    indexes=(
        (("created", DESC), ("id", ASC)),
        (("account", ASC), ("created", DESC), ("id", ASC)),
    ),
)

ORDER = (("created", DESC), ("id", ASC))


def begun_by(account: str | None, limit: int, skip: int = 0) -> Query:
    """Return the list of all sessions, or of one account's, `createdAt` descending, then `id`."""
    return Query(KIND, {} if account is None else {"account": account}, ORDER, limit, skip)

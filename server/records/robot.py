"""Storyden's robots."""

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
    identifier_of,
    list_of,
    now,
)
from server.records.kind import Document, Kind
from server.records.query import ASC, DESC, Query
from server.records.times import sortable
from server.records.xid import new_xid

PAGE = 50
TALLY = "robot"

_SCHEMA = Schema(
    pb.Robot,
    Field("id", NAME, default=identifier_of(new_xid)),
    Field("createdAt", TIME, default=now),
    Field("updatedAt", TIME, default=now),
    Field("deletedAt", TIME, OPTIONAL),
    Field("name", TEXT),
    Field("description", TEXT),
    Field("playbook", TEXT),
    Field("model", TEXT),
    Field("author", ACCOUNT),
    Field("tools", list_of(TEXT)),
    Field("misc", OBJECT, OPTIONAL),
    Field("meta", OBJECT, OPTIONAL),
)


def _facts(checked: Mapping[str, Any]) -> Document:
    return {"created": sortable(checked["createdAt"])}


KIND = Kind(
    name="robot",
    collection="robots",
    schema=_SCHEMA,
    key="id",
    facts=_facts,
    changed="updated_at",
    tallies=lambda _: (TALLY,),
    indexes=((("created", DESC), ("id", ASC)),),
)

ORDER = (("created", DESC), ("id", ASC))


def all_robots(limit: int, skip: int = 0) -> Query:
    """Return the list of all robots, `createdAt` descending, then `id`."""
    return Query(KIND, {}, ORDER, limit, skip)

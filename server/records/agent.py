"""Palantir Foundry's agents on record: whose viewers decide who sees a session."""

from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf.message import Message
from rollcall.v1 import agent_session_pb2 as pb

from server.records.caller import Caller
from server.records.fields import Field, Schema, at_most, identifier_of, list_of, matching, new_uuid
from server.records.kind import Document, Kind, message_of, stored
from server.records.query import ASC, Query

RID = matching(
    r"(?!.{1001})ri\.[a-z][a-z0-9-]*\.([a-z0-9][a-z0-9-]*)?\.[a-z][a-z0-9-]*\.[a-zA-Z0-9._-]+",
    "must be a resource identifier of at most 1,000 characters: ri.SERVICE.INSTANCE.TYPE.LOCATOR",
)
ORDER = (("id", ASC),)
MOST_VIEWERS = 1000
VIEWERS = at_most(
    MOST_VIEWERS, list_of(matching(r"\*|(user|group):.{1,1000}", 'must be "*", "user:ID" or "group:ID"'))
)
"""Who may access an agent."""

_SCHEMA = Schema(
    pb.Agent, Field("rid", RID, default=identifier_of(lambda: f"ri.aip-agents..agent.{new_uuid()}"))
)


def _facts(_: Mapping[str, Any]) -> Document:
    return {}


def _viewers(message: Message) -> Document:
    return {"viewers": sorted(set(message.viewers))}  # type: ignore[attr-defined] # an Agent has them


KIND = Kind(
    name="agent",
    collection="agents",
    schema=_SCHEMA,
    key="rid",
    facts=_facts,
    owner_facts=_viewers,
    deciding=("viewers",),
    extras={"viewers": VIEWERS},
    indexes=(
        (("id", ASC),),
        (("viewers", ASC), ("id", ASC)),
    ),
)


def viewer(user: str) -> str:
    """Return what `viewers` say to let one user in."""
    return f"user:{user}"


def viewers_of(pb_form: bytes) -> list[str]:
    """Return who may access an agent, from its stored message."""
    message: Any = message_of(KIND, pb_form)
    return list(message.viewers)


def first_seen(rid: str, viewer: str) -> Document:
    """Return the document of a new agent with one viewer."""
    return stored(KIND, {}, _SCHEMA.check({"rid": rid}), {"viewers": [viewer]})


def with_viewers(pb_form: bytes, viewers: Sequence[str]) -> Document:
    """Return the document of an agent, from its stored message, with other viewers."""
    checked = _SCHEMA.check(_SCHEMA.from_proto(message_of(KIND, pb_form)))
    return stored(KIND, {}, checked, {"viewers": sorted(viewers)})


def without_viewer(pb_form: bytes, viewer: str) -> Document:
    """Return the document of an agent, from its stored message, that no longer names a viewer."""
    return with_viewers(pb_form, [each for each in viewers_of(pb_form) if each != viewer])


def on_record(limit: int) -> Query:
    """Return the list of all agents, by rid."""
    return Query(KIND, {}, ORDER, limit)


def accessible(rids: set[str], caller: Caller) -> Document:
    """Return the filter of those agents among `rids` that `caller` may access."""
    return {"id": {"$in": sorted(rids)}, "viewers": {"$in": caller.viewers}}

"""User sessions of the coding tutor: one owner each, sorted by their last change."""

from collections.abc import Mapping
from typing import Any

from google.protobuf.struct_pb2 import Value
from rollcall.v1 import user_session_pb2 as pb

from server.records import anyjson
from server.records.dialogue import dialogue
from server.records.fields import (
    FLAG,
    LABEL,
    NAME,
    NULLABLE,
    NUMBER,
    OBJECT,
    TEXT,
    TIME,
    Codec,
    Field,
    Schema,
    identifier_of,
    matching,
    new_uuid,
    now,
    wrapped_list_of,
)
from server.records.kind import Document, Kind, Owner, tenant_of
from server.records.query import ASC, DESC, Query
from server.records.times import sortable
from server.records.violation import FieldError

MAX_SESSIONS = 2**31 - 1
"""The documented list has no pages: this is MongoDB's own maximum."""


def _check_user_info(value: Any) -> Any:
    if type(value) is str or type(value) is dict:
        return anyjson.check(value)
    raise FieldError("must be a string, an object or null")


def _user_info(value: Any) -> Value:
    return Value(string_value=value) if isinstance(value, str) else Value(struct_value=value)


_MODE = Codec(
    matching("text|audio", "must be text or audio").check,
    # A typed create may leave it out, the contract's JSON may not.
    from_proto=lambda mode: mode or "text",
)
_STRINGS = wrapped_list_of(TEXT, pb.StringList, "values")
_AUDIOS = wrapped_list_of(Schema(pb.Audio, Field("id", TEXT), Field("base64", TEXT)).codec, pb.AudioList)
_CLICKS = wrapped_list_of(
    Schema(
        pb.Click, Field("x", NUMBER), Field("y", NUMBER), Field("value", NUMBER), Field("timestamp", NUMBER)
    ).codec,
    pb.ClickList,
)
_TUTORIAL = Schema(
    pb.Tutorial,
    Field("isTutorial", FLAG),
    Field("tutorialId", NUMBER, NULLABLE),
    Field("progress", NUMBER),
)
_STATS = Schema(
    pb.SessionStats,
    Field("totalConnectingTime", NUMBER),
    Field("currentNumOfBlocks", NUMBER),
    Field("totalInvokedLLM", NUMBER, proto="total_invoked_llm"),
    Field("totalUserMessages", NUMBER),
    Field("totalCodeExecutions", NUMBER),
)
_SCHEMA = Schema(
    pb.UserSession,
    Field("uuid", NAME, default=identifier_of(new_uuid)),
    Field("sessionId", TEXT),
    Field("name", TEXT, NULLABLE),
    Field("dialogue", dialogue(), NULLABLE),
    Field("quickReplies", _STRINGS, NULLABLE),
    Field("isReplying", FLAG),
    Field("workspace", OBJECT, NULLABLE),
    Field("isVMRunning", FLAG, proto="is_vm_running"),
    Field("clients", _STRINGS, NULLABLE),
    Field("language", LABEL, NULLABLE),
    Field("easyMode", FLAG, NULLABLE),
    Field("responseMode", _MODE),
    Field("llmContext", TEXT, NULLABLE),
    Field("tutorial", _TUTORIAL.codec),
    Field("stats", _STATS.codec),
    Field("audios", _AUDIOS, NULLABLE),
    Field("userAudio", TEXT, NULLABLE),
    Field("screenshot", TEXT, NULLABLE),
    Field("clicks", _CLICKS, NULLABLE),
    Field("userInfo", Codec(_check_user_info, _user_info, anyjson.from_value), NULLABLE),
    Field("createdAt", TIME, default=now),
    Field("updatedAt", TIME, default=now),
)


def _facts(checked: Mapping[str, Any]) -> Document:
    return {"updated": sortable(checked["updatedAt"]), "language": checked["language"]}


KIND = Kind(
    name="user_session",
    collection="user_sessions",
    schema=_SCHEMA,
    key="uuid",
    owner=("user_id",),
    facts=_facts,
    changed="updated_at",
    owner_facts=tenant_of,
    extras={"developer_id": NAME},
    optional_extras=frozenset({"developer_id"}),
    subjects={"user": "owner.user_id", "tenant": "tenant"},
    deciding=("tenant",),
    heavy=("dialogue", "workspace", "audios", "user_audio", "screenshot", "clicks"),
    indexes=(
        (("owner", ASC), ("updated", DESC), ("id", ASC), ("tenant", ASC)),
        (("owner", ASC), ("language", ASC), ("updated", DESC), ("id", ASC), ("tenant", ASC)),
    ),
)

ORDER = (("updated", DESC), ("id", ASC))


def owned_by(owner: Owner, limit: int = MAX_SESSIONS) -> Query:
    """Return the list of one user's sessions, `updatedAt` descending, then `uuid`."""
    return Query(KIND, {"owner": KIND.owner_document(owner)}, ORDER, limit)

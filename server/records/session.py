"""Julep's sessions: shared by a tenant, filtered by their metadata."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from rollcall.v1 import session_pb2 as pb

from server.records import anyjson
from server.records.fields import (
    FLAG,
    INTEGER,
    NULLABLE,
    NUMBER,
    OBJECT,
    OPTIONAL,
    TEXT,
    TIME,
    UUID,
    Field,
    Schema,
    at_most,
    enum_of,
    identifier_of,
    new_uuid,
    now,
)
from server.records.kind import Document, Kind, Owner
from server.records.query import ASC, DESC, Query
from server.records.times import sortable
from server.records.violation import FieldError

MAX_TERM_BYTES = 128
MAX_METADATA_KEYS = 1000
"""Each has an entry in an index."""


def _always(value: Any) -> Any:
    return lambda _: value


_RECALL_OPTIONS = Schema(
    pb.RecallOptions,
    Field("mode", enum_of(pb.RecallOptions.Mode, "MODE_"), default=_always("vector")),
    Field("num_search_messages", INTEGER, default=_always(4)),
    Field("max_query_length", INTEGER, default=_always(1000)),
    Field("alpha", NUMBER, default=_always(0.7)),
    Field("confidence", NUMBER, default=_always(0.6)),
    Field("limit", INTEGER, default=_always(10)),
    Field("lang", TEXT, default=_always("en-US")),
    Field("metadata_filter", OBJECT, default=lambda _: {}),
    Field("mmr_strength", NUMBER, default=_always(0)),
    Field("trigram_similarity_threshold", NUMBER, OPTIONAL),
    Field("k_multiplier", INTEGER, OPTIONAL),
)
_SCHEMA = Schema(
    pb.Session,
    Field("situation", TEXT, NULLABLE),
    Field("system_template", TEXT, NULLABLE),
    Field("summary", TEXT, NULLABLE),
    Field("render_templates", FLAG),
    Field("token_budget", INTEGER, NULLABLE),
    Field("context_overflow", enum_of(pb.Session.ContextOverflow, "CONTEXT_OVERFLOW_"), NULLABLE),
    Field("auto_run_tools", FLAG),
    Field("forward_tool_calls", FLAG),
    Field("recall_options", _RECALL_OPTIONS.codec, NULLABLE),
    Field("id", UUID, default=identifier_of(new_uuid)),
    Field("metadata", at_most(MAX_METADATA_KEYS, OBJECT)),
    Field("created_at", TIME, default=now),
    Field("updated_at", TIME, default=now),
    Field("kind", TEXT, NULLABLE),
)


def term(key: str, value: Any) -> str:
    """Return what stands for `key: value` in the metadata index; equal values have equal terms.

    A long term is a hash: index keys should stay short.  The two forms cannot be
    confused, as canonical JSON of a pair begins with `[`.
    """
    text = orjson.dumps([key, value], option=orjson.OPT_SORT_KEYS)
    if len(text) <= MAX_TERM_BYTES:
        return text.decode()
    return "#" + hashlib.blake2b(text, digest_size=24).hexdigest()


_NO_TERM = "-"
"""A term that no session has."""


def terms(wanted: Mapping[str, Any]) -> list[str]:
    """Return the terms that a session must have to match a metadata filter."""
    found = []
    for key, value in wanted.items():
        try:
            found.append(term(anyjson.text(key), _comparable(value)))
        except FieldError:
            return [_NO_TERM]
    return found


def _comparable(value: Any) -> Any:
    if type(value) is int and abs(value) > anyjson.MAX_INTEGER:
        # A stored double can equal a great integer, if it stands for exactly that one.
        try:
            double = float(value)
        except OverflowError:
            raise FieldError("must be a number that JSON can store") from None
        if double != value:
            raise FieldError("must be a number that JSON can store")
        return double
    return anyjson.check(value)


def _facts(checked: Mapping[str, Any]) -> Document:
    return {
        "created": sortable(checked["created_at"]),
        "updated": sortable(checked["updated_at"]),
        "terms": [term(key, value) for key, value in checked["metadata"].items()],
    }


KIND = Kind(
    name="session",
    collection="sessions",
    schema=_SCHEMA,
    key="id",
    owner=("developer_id",),
    subjects={"tenant": "owner.developer_id"},
    facts=_facts,
    changed="updated_at",
    indexes=(
        (("owner", ASC), ("created", ASC), ("id", ASC)),
        (("owner", ASC), ("updated", ASC), ("id", ASC)),
        (("owner", ASC), ("terms", ASC), ("created", ASC), ("id", ASC)),
        (("owner", ASC), ("terms", ASC), ("updated", ASC), ("id", ASC)),
    ),
)

MAX_LIMIT = 1000
SORT_FIELDS = {"created_at": "created", "updated_at": "updated"}


def owned_by(  # noqa: PLR0913, PLR0917 # the contract's list has these parameters
    owner: Owner,
    limit: int,
    offset: int = 0,
    sort_by: str = "created_at",
    direction: str = "desc",
    metadata_filter: Mapping[str, Any] | None = None,
) -> Query:
    """Return the list of a tenant's sessions; equal times are sorted by id, in the same direction."""
    filter_: Document = {"owner": KIND.owner_document(owner)}
    if metadata_filter:
        filter_["terms"] = _matching(terms(metadata_filter))
    sign = ASC if direction == "asc" else DESC
    return Query(KIND, filter_, ((SORT_FIELDS[sort_by], sign), ("id", sign)), limit, offset)


def _matching(wanted: Iterable[str]) -> Any:
    first, *more = sorted(set(wanted))
    return {"$all": [first, *more]} if more else first

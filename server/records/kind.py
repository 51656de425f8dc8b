"""A kind of record, and how one becomes a stored document.

A stored document is: `_id` (owner and key), `owner`, `id`, the fields that
queries filter or sort by, `etag`, `tenant`, and up to three ready-made forms,
all derived here and nowhere else:

- `pb`: the typed message, framed as field 1 of its List response, so that a page
  is a concatenation;
- `basic`: the same without the kind's heavy fields, if it has any;
- `json1`: the item as its REST contract prints it.  The digit is the rendering
  version: after a change of rendering the field has another name, and documents
  without it are rendered from `pb` until `rollcall migrate` has done it for good.
  A record too big for both forms has no `json1`, and `whole: false`, which is named
  `whole2` from rendering version 2 on: `rollcall migrate` derives its other fields
  again as those of all others.
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson
from google.protobuf.message import Message

from server.records.fields import Codec, Schema
from server.records.violation import FieldError
from server.records.wire import framed, unframed

RENDERING_VERSION = 1
JSON = f"json{RENDERING_VERSION}"
WHOLE = "whole" if RENDERING_VERSION == 1 else f"whole{RENDERING_VERSION}"
PB = "pb"
BASIC = "basic"
EXPIRY = "expiry"
"""A BSON date, for MongoDB's own deletion; queries use the exact time."""

MAX_DOCUMENT_BYTES = 15 << 20
"""Room for the ready-made forms in a BSON document of 16 MiB."""

ETAG_BYTES = 12

Document = dict[str, Any]
Stored = list[tuple["Kind", Document]]
Owner = Mapping[str, str]
Order = tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """One kind of record.

    - `name`: as in an import line.  `collection`: MongoDB's, where its documents lie.
    - `owner`: the protobuf fields that, with the key, make a record unique.
    - `schema`: its contract's object.  `key`: the object's own id, whose key is the
      same in JSON and protobuf.
    - `facts`: from the checked object, the fields that queries filter or sort by;
      `owner_facts`: those from what REST does not print of the message, such as the tenant.
    - `indexes`: over stored fields; each serves the queries of its kind.
    - `heavy`: the protobuf fields that view BASIC leaves out.
    - `changed`: the path of the protobuf field that says when it last changed, if it has one.
    - `live`: the filter of records that are not gone by themselves, such as by expiry.
    - `deciding`: the stored fields that decide whether a caller sees a record.
    - `tallies`: the counters that a stored document is counted in, if any.
    - `extras`: what an import line's owner carries beside the owner: protobuf fields
      that REST does not print.  `optional_extras` are those that it may leave out.
    - `subjects`: the stored field that names the "user" or "tenant" whom a record is
      about, for its erasure.
    - `expiry`: from the checked object, when MongoDB may delete the record.
    - `parts`: records that an import line's body may carry along, and that are deleted
      with it.
    """

    name: str
    collection: str
    schema: Schema
    key: str
    facts: Callable[[Mapping[str, Any]], Document]
    owner: tuple[str, ...] = ()
    indexes: tuple[Order, ...] = ()
    heavy: tuple[str, ...] = ()
    changed: str = ""
    live: Callable[[], Document] = field(default=dict)
    deciding: tuple[str, ...] = ()
    tallies: Callable[[Document], tuple[str, ...]] | None = None
    extras: Mapping[str, Codec] = field(default_factory=dict)
    optional_extras: frozenset[str] = frozenset()
    subjects: Mapping[str, str] = field(default_factory=dict)
    expiry: Callable[[Mapping[str, Any]], datetime] | None = None
    parts: tuple["Part", ...] = ()
    owner_facts: Callable[[Message], Document] = field(default=lambda _: {})

    def document_id(self, owner: Owner, key: str) -> Document:
        """Return the `_id` of a record."""
        return {**self.owner_document(owner), "id": key}

    def owner_document(self, owner: Owner) -> Document:
        """Return `owner` with its fields in stored order: BSON compares bytes."""
        return {name: owner[name] for name in self.owner}


@dataclass(frozen=True, slots=True)
class Part:
    """Records that belong to one of another kind: the body's key, their kind, their owner's field."""

    key: str
    kind: Kind
    owner: str


def stored(kind: Kind, owner: Owner, checked: Mapping[str, Any], extra: Mapping[str, Any]) -> Document:
    """Return the document of a checked object.

    `extra` are the protobuf fields that REST does not print, beside the owner's:
    the tenant, an agent's viewers.  Raises FieldError if no document could hold
    the record.
    """
    message = kind.schema.to_proto(checked)
    message.etag = secrets.token_hex(ETAG_BYTES)  # type: ignore[attr-defined] # every stored message has one
    for name, value in (*owner.items(), *extra.items()):
        if isinstance(value, list):
            getattr(message, name).extend(value)
        else:
            setattr(message, name, value)
    return _document(kind, message, checked)


def renewed(kind: Kind, pb: bytes) -> Document:
    """Return the document of a stored `pb`, with everything derived again."""
    message = message_of(kind, pb)
    return _document(kind, message, kind.schema.check(kind.schema.from_proto(message)))


def _document(kind: Kind, message: Message, checked: Mapping[str, Any]) -> Document:
    etag: str = message.etag  # type: ignore[attr-defined] # every stored message has one
    pb = framed(message.SerializeToString())
    owner = {name: getattr(message, name) for name in kind.owner}
    key = checked[kind.key]
    document = {
        "_id": kind.document_id(owner, key),
        "owner": owner,
        "id": key,
        **kind.facts(checked),
        **kind.owner_facts(message),
        "etag": etag,
        PB: pb,
    }
    if kind.expiry is not None:
        document[EXPIRY] = kind.expiry(checked)
    json = rendered(checked)
    if kind.heavy:
        for name in kind.heavy:
            message.ClearField(name)
        document[BASIC] = framed(message.SerializeToString())
    size = len(pb) + len(document.get(BASIC, b""))
    if size > MAX_DOCUMENT_BYTES:
        twice = ", what is not heavy counted twice" if kind.heavy else ""
        raise FieldError(f"must not take more than {MAX_DOCUMENT_BYTES >> 20} MiB{twice}")
    if size + len(json) <= MAX_DOCUMENT_BYTES:
        document[JSON] = json
    else:
        document[WHOLE] = False
    return document


def tenant_of(message: Message) -> Document:
    """Return whose service wrote a record, for queries."""
    return {"tenant": message.developer_id}  # type: ignore[attr-defined] # those with this fact have it


def rendered(checked: Mapping[str, Any]) -> bytes:
    """Return a checked object as its REST contract prints it."""
    return orjson.dumps(checked)


def message_of(kind: Kind, pb: bytes) -> Message:
    """Return the typed message of a stored `pb`."""
    return kind.schema.message.FromString(unframed(pb))


def rerendered(kind: Kind, pb: bytes) -> bytes:
    """Return the REST form of a stored `pb`."""
    return rendered(kind.schema.check(kind.schema.from_proto(message_of(kind, pb))))

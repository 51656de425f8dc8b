"""Strategies of what no client should send: texts, bytes, and messages of any type by its descriptor."""

from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st

Strategy = st.SearchStrategy[Any]

MAX_LEVELS = 4
MAX_FIELDS = 4
SHORT = 1500
"""Characters of a text that may be repeated many times: a message over 16 MiB is another test's."""

SHARP = (
    "",
    " ",
    "\0",
    "a\0b",
    "$where",
    "$ne",
    "a.b",
    "$set.x",
    "*",
    "..",
    "../../etc/passwd",
    "%00",
    "%2e%2e%2f",
    "\r\nx-evil: 1",
    "\x1b[2J",
    "\u202e\u2028\ufeff",
    "\ufffe\uffff\U0010ffff",
    '{"$gt": ""}',
    '{"a": 1e999}',
    "[" * 5000,
    "9" * 5000,
    "-1",
    "NaN",
    "1e400",
    "\u0661\u0662",
    "null",
    "__proto__",
    "\U0001f600" * 300,
    "x" * 20_000,
    "3c90c3cc-0d44-4b50-8888-8dd25736052a",
    "cc5lnd2s1s4652adtu50",
    "ri.aip-agents..agent.a",
    "ri.aip-agents..session.a",
    "2026-01-01T00:00:00Z",
    "0000-13-99T99:99:99.9999999999+99:99",
    "created_at desc",
    "v1." + "A" * 80,
)
"""Texts that mean something to a part that they could reach."""


@cache
def texts() -> Strategy:
    """Return texts that protobuf can hold: sharp ones, and any."""
    return st.sampled_from(SHARP) | st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@cache
def any_texts() -> Strategy:
    """Return texts of Python, lone surrogates included."""
    return texts() | st.text(max_size=12) | st.sampled_from(("\ud800", "a\udfff", "\udcff\udc80"))


@cache
def jsons() -> Strategy:
    """Return what Python reads as JSON: numbers that JSON has not, and lone surrogates, too."""
    return st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | any_texts(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_texts(), inner, max_size=3),
        max_leaves=8,
    )


_INTEGERS = {
    FieldDescriptor.TYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.TYPE_UINT64: (0, 2**64 - 1),
    FieldDescriptor.TYPE_ENUM: (-(2**31), 2**31 - 1),
}


@cache
def _scalars(kind: int) -> Strategy:
    if kind in _INTEGERS:
        low, high = _INTEGERS[kind]
        return st.sampled_from((0, 1, 2, 3, 1000, high, high - 1, low)) | st.integers(low, high)
    if kind == FieldDescriptor.TYPE_BOOL:
        return st.booleans()
    if kind == FieldDescriptor.TYPE_BYTES:
        return st.binary(max_size=20)
    if kind == FieldDescriptor.TYPE_STRING:
        return texts()
    return st.sampled_from((0.0, -0.0, 1e308, 5e-324, float("inf"), float("nan"), 2.0**53)) | st.floats()


def paths_of(descriptor: Descriptor, levels: int = 3) -> list[str]:
    """Return the paths that a field mask of this message may name, those through repeated fields too."""
    paths = []
    for field in descriptor.fields:
        paths.append(field.name)
        if field.message_type is not None and levels:
            paths += [f"{field.name}.{path}" for path in paths_of(field.message_type, levels - 1)]
    return paths


_ANY_PATHS: dict[str, list[str]] = {}


def _mask_paths(owner: Descriptor) -> list[str]:
    """Return the paths of the records that a request carries."""
    if owner.full_name not in _ANY_PATHS:
        records = [field.message_type for field in owner.fields if field.message_type is not None]
        _ANY_PATHS[owner.full_name] = ["*", *(path for record in records for path in paths_of(record))]
    return _ANY_PATHS[owner.full_name]


def _fill(draw: st.DrawFn, message: Any, levels: int) -> None:
    descriptor = message.DESCRIPTOR
    if not descriptor.fields:
        return
    wanted = draw(st.lists(st.sampled_from(list(descriptor.fields)), max_size=MAX_FIELDS))
    for field in wanted:
        _set(draw, message, field, levels)


def _fill_map(draw: st.DrawFn, held: Any, value: FieldDescriptor, levels: int) -> None:
    for key in draw(st.lists(texts(), max_size=2)):
        if value.message_type is None:
            held[key] = draw(_scalars(value.type))
        elif levels:
            _fill(draw, held[key], levels - 1)
        else:
            held.get_or_create(key)


def _set(draw: st.DrawFn, message: Any, field: FieldDescriptor, levels: int) -> None:
    held = getattr(message, field.name)
    inner = field.message_type
    if inner is None:
        drawn = draw(_scalars(field.type))
        if field.is_repeated:
            short = not isinstance(drawn, str) or len(drawn) < SHORT
            held.extend([drawn] * draw(st.sampled_from((1, 1, 2, 1001 if short else 3))))
        else:
            setattr(message, field.name, drawn)
    elif inner.full_name == "google.protobuf.FieldMask":
        known = st.sampled_from(_mask_paths(message.DESCRIPTOR))
        held.paths.extend(draw(st.lists(known | known | texts(), max_size=4)))
        held.SetInParent()
    elif inner.GetOptions().map_entry:
        _fill_map(draw, held, inner.fields_by_name["value"], levels)
    elif field.is_repeated:
        for _ in range(draw(st.integers(0, 2)) if levels else 0):
            _fill(draw, held.add(), levels - 1)
    else:
        held.SetInParent()
        if levels:
            _fill(draw, held, levels - 1)


@st.composite
def messages(draw: st.DrawFn, descriptor: Descriptor) -> Message:
    """Return messages of a type with any values in any of its fields."""
    message = GetMessageClass(descriptor)()
    _fill(draw, message, MAX_LEVELS)
    return message


@st.composite
def wilder(draw: st.DrawFn, good: Message) -> Message:
    """Return a message with some of its fields, at any depth, set to anything."""
    message = type(good)()
    message.CopyFrom(good)
    _fill(draw, message, MAX_LEVELS)
    return message


@st.composite
def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    """Return bytes with bits flipped, cut, repeated, or with others among them."""
    made = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(made)))
        act = draw(st.sampled_from(("flip", "cut", "insert", "repeat")))
        if act == "flip" and place < len(made):
            made[place] ^= 1 << draw(st.integers(0, 7))
        elif act == "cut":
            del made[place : place + draw(st.integers(1, 16))]
        elif act == "insert":
            made[place:place] = draw(st.binary(min_size=1, max_size=8))
        elif act == "repeat":
            made[place:place] = made[max(0, place - 20) : place] * draw(st.integers(1, 3))
    return bytes(made)

"""The vocabulary in which the record modules describe their contract's JSON.

A `Codec` knows one sort of value in three forms: the contract's JSON, its
canonical JSON (what the REST list prints), and the protobuf value.  Every write,
documented JSON or typed message, goes through `check`, so that what is stored
can always be printed.
"""

import re
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any, NoReturn

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from server.records import anyjson, times
from server.records.violation import FieldError

MAX_LABEL_CHARS = 1000
INT32 = range(-(2**31), 2**31)


class Presence(Enum):
    """Whether a contract's key must be there, and how it prints without a value."""

    REQUIRED = "always there, never null"
    NULLABLE = "always there, `null` without a value"
    OPTIONAL = "left out without a value"


REQUIRED, NULLABLE, OPTIONAL = Presence


def _identity(value: Any) -> Any:
    return value


@dataclass(frozen=True, slots=True)
class Codec:
    """One sort of value.

    `check` takes parsed JSON and returns it canonical, or raises `FieldError`;
    `to_proto` takes canonical JSON; `from_proto` gives what `check` accepts.
    """

    check: Callable[[Any], Any]
    to_proto: Callable[[Any], Any] = _identity
    from_proto: Callable[[Any], Any] = _identity


def _flag(value: Any) -> bool:
    if value is True or value is False:
        return bool(value)
    raise FieldError("must be true or false")


def _number(value: Any) -> int | float:
    if type(value) is int or type(value) is float:
        return anyjson.number(value)
    raise FieldError("must be a number")


def _int32(value: Any) -> int:
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is int and value in INT32:
        return value
    raise FieldError("must be an integer of 32 bits")


def _text(value: Any) -> str:
    if type(value) is str:
        return anyjson.text(value)
    raise FieldError("must be a string")


def _name(value: Any) -> str:
    if not _text(value):
        raise FieldError("must not be empty")
    return _label(value)


def _label(value: Any) -> str:
    if len(_text(value)) > MAX_LABEL_CHARS:
        raise FieldError(f"must not be longer than {MAX_LABEL_CHARS:,} characters")
    return str(value)


def at_most(items: int, codec: Codec) -> Codec:
    """Return the codec of an array or object of so many items at most."""

    def check(value: Any) -> Any:
        checked = codec.check(value)
        if len(checked) > items:
            raise FieldError(f"must not have more than {items:,} items")
        return checked

    return Codec(check, codec.to_proto, codec.from_proto)


FLAG = Codec(_flag)
NUMBER = Codec(_number)
INTEGER = Codec(_int32)
TEXT = Codec(_text)
NAME = Codec(_name)
"""An id, or the like: text that is not empty, nor longer than an index key should be."""
LABEL = Codec(_label)
"""Text of which an index is made; it may be empty."""
TIME = Codec(times.canonical, times.to_proto, times.from_proto)
OBJECT = Codec(anyjson.check_object, _identity, anyjson.from_struct)
"""Any JSON object, kept in a Struct."""


def matching(pattern: str, rule: str) -> Codec:
    """Text that the whole of `pattern` matches; `rule` says so to people."""
    fullmatch = re.compile(pattern, re.ASCII).fullmatch

    def check(value: Any) -> str:
        if fullmatch(_text(value)) is None:
            raise FieldError(rule)
        return str(value)

    return Codec(check)


def new_uuid() -> str:
    """Return a random UUID, as text."""
    return str(uuid.uuid4())


UUID = matching(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", "must be a UUID")
XID = matching(r"[0-9a-v]{20}", "must be an xid: 20 of 0-9 and a-v")


def enum_of(enum: Any, prefix: str) -> Codec:
    """Return the codec of a generated enum: `ai_audio` in JSON is PREFIX_AI_AUDIO in protobuf."""
    names = {number: name.removeprefix(prefix).lower() for name, number in enum.items() if number}
    numbers = {name: number for number, name in names.items()}
    rule = f"must be one of {', '.join(numbers)}"

    def check(value: Any) -> str:
        if isinstance(value, str) and value in numbers:
            return str(value)
        raise FieldError(rule)

    def from_proto(number: int) -> str:
        if number in names:
            return str(names[number])
        raise FieldError(rule)

    return Codec(check, numbers.__getitem__, from_proto)


def _each(step: Callable[[Any], Any], values: Sequence[Any]) -> Iterator[Any]:
    for index, value in enumerate(values):
        try:
            yield step(value)
        except FieldError as error:
            raise error.within(f"[{index}]") from None


def list_of(item: Codec) -> Codec:
    """Return the codec of an array; a `repeated` field in protobuf."""

    def check(value: Any) -> list[Any]:
        if type(value) is not list:
            raise FieldError("must be an array")
        return list(_each(item.check, value))

    return Codec(
        check,
        (lambda values: list(map(item.to_proto, values))),
        (lambda values: list(_each(item.from_proto, values))),
    )


def wrapped_list_of(item: Codec, wrapper: type[Message], field: str = "items") -> Codec:
    """Return the codec of an array that can be null: in protobuf, a message around a `repeated` field."""
    plain = list_of(item)

    def inside(step: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def wrapped(value: Any) -> Any:
            try:
                return step(value)
            except FieldError as error:
                raise error.within("", field) from None

        return wrapped

    return Codec(
        inside(plain.check),
        lambda values: wrapper(**{field: plain.to_proto(values)}),
        inside(lambda message: plain.from_proto(getattr(message, field))),
    )


_WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class Field:
    """One key of a contract's object.

    `proto` is the protobuf field, by default the key in snake_case.  `default`
    makes the value of a write that leaves the key out, from the rest of the
    object; without one, a key that is not OPTIONAL must be there.
    """

    json: str
    codec: Codec
    presence: Presence = REQUIRED
    proto: str = ""
    default: Callable[[Mapping[str, Any]], Any] | None = None

    @property
    def proto_name(self) -> str:
        """The protobuf field."""
        return self.proto or _WORD_START.sub("_", self.json).lower()


def _has_value(descriptor: Any, field: Field) -> Callable[[Message], bool]:
    name = descriptor.name
    part = descriptor.message_type
    # A required part that is not set is an empty one, as proto3's scalars are; but no time is 1970.
    if part and field.presence is REQUIRED and part.full_name != Timestamp.DESCRIPTOR.full_name:
        return lambda _: True
    if descriptor.has_presence:
        return lambda message: message.HasField(name)
    if descriptor.is_repeated:
        return lambda _: True
    if field.default is not None or descriptor.type == FieldDescriptor.TYPE_ENUM:
        return lambda message: bool(getattr(message, name))
    return lambda _: True


class Schema:
    """The keys of one of a contract's objects, and the message that holds them."""

    def __init__(self, message: type[Message], *fields: Field) -> None:
        self.message = message
        self.fields = fields
        self._to_proto = {field.json: (field.proto_name, field.codec.to_proto) for field in fields}
        by_name = message.DESCRIPTOR.fields_by_name
        self._has_value = tuple(
            (field, field.proto_name, _has_value(by_name[field.proto_name], field)) for field in fields
        )
        self.codec = Codec(self.check, self.to_proto, self.from_proto)

    def check(self, document: Any) -> dict[str, Any]:
        """Return the object canonical and complete, in the contract's order of keys."""
        if type(document) is not dict:
            raise FieldError("must be an object")
        checked: dict[str, Any] = {}
        missing = 0
        instant = ""
        for field in self.fields:
            key = field.json
            try:
                value = document[key]
            except KeyError:
                missing += 1
                if field.default is now:
                    # One for all times that the object leaves out.
                    checked[key] = instant = instant or times.now()
                elif field.default is not None:
                    checked[key] = field.default(checked)
                elif field.presence is not OPTIONAL:
                    raise FieldError("is required").within(key, field.proto_name) from None
                continue
            if value is None and field.presence is NULLABLE:
                checked[key] = None
                continue
            try:
                checked[key] = field.codec.check(value) if value is not None else _refuse_null(field)
            except FieldError as error:
                raise error.within(key, field.proto_name) from None
        if len(document) > len(self.fields) - missing:
            unknown = min(str(key) for key in document if key not in self._to_proto)
            raise FieldError("is not a key of this contract").within(unknown)
        return checked

    def to_proto(self, checked: Mapping[str, Any]) -> Message:
        """Return the message of an object that `check` returned."""
        arguments = {}
        for key, value in checked.items():
            if value is not None:
                name, to_proto = self._to_proto[key]
                arguments[name] = to_proto(value)
        return self.message(**arguments)

    def from_proto(self, message: Message) -> dict[str, Any]:
        """Return the object of a message, for `check` to judge."""
        document = {}
        for field, name, has_value in self._has_value:
            if has_value(message):
                try:
                    document[field.json] = field.codec.from_proto(getattr(message, name))
                except FieldError as error:
                    raise error.within(field.json, name) from None
            elif field.presence is NULLABLE:
                document[field.json] = None
        return document


def _refuse_null(field: Field) -> NoReturn:
    raise FieldError(
        "must be left out rather than null" if field.presence is OPTIONAL else "must not be null"
    )


def now(_: Mapping[str, Any]) -> str:
    """Return the current time; a `Field.default`."""
    return times.now()


identifier_of = partial(partial, lambda make, _: make())
"""Turn a maker of keys into a `Field.default`."""

"""Any JSON, as far as the contracts' common rules go.

28 levels of objects and arrays; no NUL and no lone surrogates in text; integers
within ±2^53; finite numbers.  A double that is a whole number within ±2^53 is
canonical as an integer.
"""

import json
from typing import Any, NoReturn

from google.protobuf.struct_pb2 import Struct, Value

from server.records.violation import FieldError

MAX_DEPTH = 28
MAX_INTEGER = 2**53


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def parse(data: str | bytes) -> Any:
    """Return parsed JSON; raise ValueError for what is not, however it is broken."""
    try:
        try:
            return json.loads(data, parse_constant=_no_constant)
        except (json.JSONDecodeError, UnicodeDecodeError):
            raise
        except ValueError:
            # Python reads no integer of thousands of digits; cut, it is still one that `number` refuses.
            return json.loads(data, parse_constant=_no_constant, parse_int=_cut_integer)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _cut_integer(digits: str) -> int:
    return int(digits[:100])


def text(value: str) -> str:
    """Return `value` if UTF-8 and every store can hold it."""
    if "\0" in value:
        raise FieldError("must not contain NUL")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise FieldError("must not contain a lone surrogate") from None
    return value


def number(value: float) -> int | float:
    """Return a number in canonical form."""
    if type(value) is int:
        if -MAX_INTEGER <= value <= MAX_INTEGER:
            return value
        raise FieldError("must be an integer within ±2^53")
    if value.is_integer():
        return int(value) if abs(value) <= MAX_INTEGER else value
    if value - value == 0:
        return value
    raise FieldError("must be a finite number")


def check(value: Any, depth: int = 1) -> Any:
    """Return any JSON in canonical form; a container at `depth` may go on to MAX_DEPTH."""
    kind = type(value)
    if kind is str:
        return text(value)
    if value is None or kind is bool:
        return value
    if kind is int or kind is float:
        return number(value)
    if depth > MAX_DEPTH:
        raise FieldError(f"must not be deeper than {MAX_DEPTH} levels")
    if kind is dict:
        return {text(key): _below(key, item, depth) for key, item in value.items()}
    if kind is list:
        return [_below(f"[{index}]", item, depth) for index, item in enumerate(value)]
    raise FieldError("must be JSON")


def _below(name: str, value: Any, depth: int) -> Any:
    try:
        return check(value, depth + 1)
    except FieldError as error:
        raise error.within(name) from None


def check_object(value: Any) -> dict[str, Any]:
    """Return any JSON object in canonical form."""
    if type(value) is not dict:
        raise FieldError("must be an object")
    checked: dict[str, Any] = check(value)
    return checked


def from_struct(struct: Struct) -> dict[str, Any]:
    """Return a Struct as JSON."""
    return {name: _from(name, value) for name, value in struct.fields.items()}


def from_value(value: Value) -> Any:
    """Return a Value as JSON."""
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return from_struct(value.struct_value)
    if kind == "list_value":
        return [_from(f"[{index}]", item) for index, item in enumerate(value.list_value.values)]
    if kind == "null_value":
        return None
    if kind is None:
        raise FieldError("must have a value")
    return getattr(value, kind)


def _from(name: str, value: Value) -> Any:
    try:
        return from_value(value)
    except FieldError as error:
        raise error.within(name) from None

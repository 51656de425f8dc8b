"""What a setting's value must be, in words, from its JSON schema; and what a wrong one looks like."""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from server.sources import Givens, variable

TYPE = "type"
"""The reason of a refusal for which the rule says all."""
HIDDEN = "\N{HORIZONTAL ELLIPSIS}"

_SHOWN = 60

Schema = Mapping[str, Any]


def explained(error: ValidationError, givens: Givens, schemas: Mapping[str, Schema]) -> Iterator[str]:
    """Yield what is wrong: the variable, its value unless that is secret, the rule, and where it stands."""
    for detail in error.errors(include_url=False, include_input=False):
        reason = str(detail.get("ctx", {}).get("error", TYPE))
        if not detail["loc"]:  # a validator of the whole names its settings
            yield reason
            continue
        name = str(detail["loc"][0])
        given = givens[name]
        if name not in schemas:
            yield f"{variable(name)}: is not a setting ({given.origin})"
            continue
        shown = shape(given.value) if is_secret(schemas[name]) else shortened(given.value)
        judged = f"{shown} is not {rule(schemas[name])}" if reason == TYPE else f"{shown}: {reason}"
        yield f"{variable(name)}: {judged} ({given.origin})"


def alternatives(schema: Schema) -> Iterator[Schema]:
    """Yield the schemas of which a value fulfils one, without that of "not set"."""
    for one in schema.get("anyOf", [schema]):
        if one.get("type") != "null":
            yield {**schema, **one}


def is_secret(schema: Schema) -> bool:
    """Return whether a setting's value must not be shown."""
    return any(one.get("writeOnly") for one in alternatives(schema))


def rule(schema: Schema) -> str:
    """Return what fits behind "must be" and "is not"."""
    return " or ".join(_one(each) for each in alternatives(schema))


def _one(schema: Schema) -> str:
    if "rule" in schema:
        return str(schema["rule"])
    if "enum" in schema:
        *others, last = schema["enum"]
        return f"{', '.join(others)} or {last}"
    if schema.get("type") in _NUMBERS:
        return f"{_NUMBERS[schema['type']]}{_range(schema)}"
    if schema.get("type") in _OTHERS:
        return _OTHERS[schema["type"]]
    return _OTHERS["path"] if schema.get("format") == "path" else _text(schema)


_NUMBERS = {"integer": "a whole number", "number": "a number"}
_OTHERS = {
    "boolean": "true or false",
    "array": "a list of texts",
    "path": "the path of a file or folder",
}


def _text(schema: Schema) -> str:
    text = "text of at least one character"
    if "maxLength" in schema:
        text = f"text of {schema.get('minLength', 1)} to {schema['maxLength']} characters"
    return f"{text} and matches {schema['pattern']}" if "pattern" in schema else text


def _range(schema: Schema) -> str:
    # Older versions of pydantic print the whole bounds of a float as floats.
    keys = ("minimum", "exclusiveMinimum", "maximum")
    least, above, most = (f"{schema[key]:.15g}" if key in schema else None for key in keys)
    bounds = []
    if least is not None:
        bounds.append(f"from {least}")
    if above is not None:
        bounds.append(f"above {above}")
    if most is not None:
        bounds.append(f"to {most}" if least is not None else f"up to {most}")
    return f" {' '.join(bounds)}" if bounds else ""


def shape(value: object) -> str:
    """Return what a secret's value is without a part of it."""
    if isinstance(value, str):
        return f"text of {len(value)} characters"
    return _SHAPES.get(type(value), "a date or time")


_SHAPES = {bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "a table"}


def shortened(value: object) -> str:
    """Return a value that is no secret as an error shows it: short, in one line, without a URL's password."""
    text = repr(without_password(value)) if isinstance(value, str) else repr(value)
    if isinstance(value, bool):
        text = text.lower()
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}{HIDDEN}{text[0]}"


def without_password(text: str) -> str:
    """Return a text without what stands before the @ of a URL."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return HIDDEN if "@" in text else text
    if "@" not in parts.netloc:
        return text
    return parts._replace(netloc=f"{HIDDEN}@{parts.netloc.rpartition('@')[2]}").geturl()

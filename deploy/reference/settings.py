"""The page of settings: names, rules and defaults as the code has them, docstrings as their meaning."""

import ast
import inspect
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from deploy.reference.markdown import NONE, page, table
from server.settings import PREFIX, Settings

INTRODUCTION = """
One setting a line: the variable of the environment, what it may be, its default, its meaning. A
wrong one stops the start with its name and its rule. A secret may be in a file instead, named by
the variable with `_FILE`; not both.
"""

_WORDS = {bool: "`true` or `false`", float: "number", int: "integer", Path: "path", str: "text"}
_RULES = (
    ("ge", "{} or more"),
    ("gt", "above {}"),
    ("le", "up to {}"),
    ("min_length", "{} characters or more"),
    ("max_length", "{} characters or fewer"),
    ("pattern", "`{}`"),
)


def docstrings(source: str) -> dict[str, str]:
    """Return the texts below a class's attributes, in one line each."""
    (definition,) = ast.parse(source).body
    if not isinstance(definition, ast.ClassDef):
        raise TypeError("the source must be that of one class")
    found = {}
    for attribute, below in zip(definition.body, definition.body[1:], strict=False):
        if (
            isinstance(attribute, ast.AnnAssign)
            and isinstance(attribute.target, ast.Name)
            and isinstance(below, ast.Expr)
        ):
            found[attribute.target.id] = " ".join(ast.literal_eval(below.value).split())
    return found


def printed(field: FieldInfo) -> str:
    """Return a default as an operator would write it; the name of what this machine decides."""
    default = field.default
    if default is None:
        return NONE
    if field.default_factory is not None:
        return field.default_factory.__name__.strip("_")
    if isinstance(default, SecretStr):
        default = default.get_secret_value()
    elif isinstance(default, tuple):
        default = ",".join(default)
    elif isinstance(default, bool):
        default = str(default).lower()
    elif isinstance(default, float):
        default = f"{default:g}"
    return f"`{default}`"


def settings() -> str:
    """Return the page."""
    meanings = docstrings(inspect.getsource(Settings))
    lines = [
        (f"`{PREFIX}{name}`".upper(), _value(field), printed(field), meanings.get(name, ""))
        for name, field in Settings.model_fields.items()
    ]
    return page(
        "Settings",
        INTRODUCTION,
        table(("variable", "value", "default", "meaning"), lines),
    )


def _value(field: FieldInfo) -> str:
    rules = _rules(field.metadata)
    for part in _parts(field.annotation):
        rules |= _rules(getattr(part, "__metadata__", ()))
    words = " or ".join(dict.fromkeys(_word(part) for part in _parts(field.annotation)))
    shown = [text.format(rules[name]) for name, text in _RULES if name in rules]
    return ", ".join([words, ", ".join(shown)] if shown else [words])


def _parts(annotation: Any) -> list[Any]:
    """Return the alternatives of a type, without None."""
    if get_origin(annotation) in {types.UnionType, typing.Union}:
        return [part for part in get_args(annotation) if part is not type(None)]
    return [annotation]


def _word(part: Any) -> str:
    if hasattr(part, "__metadata__"):
        return _word(part.__origin__)
    if get_origin(part) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(part))
    if get_origin(part) is tuple:
        return "texts, comma-separated"
    return "secret" if part is SecretStr else _WORDS[part]


def _rules(metadata: Any) -> dict[str, Any]:
    """Return the limits among a field's constraints, by their names."""
    found: Mapping[str, Any] = {}
    for constraint in metadata:
        inner = constraint.metadata if isinstance(constraint, FieldInfo) else [constraint]
        for each in inner:
            found = {**found, **{name: getattr(each, name) for name, _ in _RULES if hasattr(each, name)}}
    return {name: value for name, value in found.items() if value is not None}

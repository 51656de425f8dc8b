"""The page of settings: names, rules and defaults as the code has them, docstrings as their meaning."""

import inspect
from collections.abc import Iterator

from deploy.reference.markdown import NONE, page, table
from deploy.settings_table import default_of, docstrings
from server.commands.config import GROUPS
from server.settings import Settings
from server.settings_rules import is_secret, rule
from server.sources import variable

HEADER = ("variable", "must be", "default", "meaning")
INTRODUCTION = """
One setting a line: the variable of the environment, what it must be, its default, its meaning. Where
settings may stand, and which place wins, is in [the README](../../README.md#settings).
"""


def settings() -> str:
    """Return the page."""
    return page("Settings", INTRODUCTION, *_groups())


def _groups() -> Iterator[str]:
    schemas = Settings.model_json_schema()["properties"]
    meanings = docstrings(inspect.getsource(Settings))
    rows: list[tuple[str, ...]] = []
    for name, field in Settings.model_fields.items():
        if name in GROUPS:
            if rows:
                yield table(HEADER, rows)
            rows = []
            yield f"## {GROUPS[name]}"
        schema = schemas[name]
        must = f"{rule(schema)}{', kept secret' if is_secret(schema) else ''}"
        rows.append((f"`{variable(name)}`", must, default_of(field).replace(NONE, ""), meanings[name]))
    yield table(HEADER, rows)

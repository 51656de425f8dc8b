"""Writes the table of the settings into a document, between its markers: `settings_table.py README.md`.

With `--check` it writes nothing, and fails if the table is not that of `server/settings.py`.
"""

import ast
import inspect
import sys
from pathlib import Path

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from deploy.marked import replaced
from server.commands.config import GROUPS
from server.settings import Settings
from server.sources import variable

BEGIN, END = "<!-- settings: `make generate` writes this table -->", "<!-- /settings -->"
NONE = "\N{EN DASH}"


def table() -> str:
    """Return the table in Markdown: a row a setting, and one before each group."""
    meanings = docstrings(inspect.getsource(Settings))
    lines = ["| variable | default | meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        if name in GROUPS:
            lines.append(f"| **{GROUPS[name]}** | | |")
        lines.append(f"| `{variable(name)}` | {default_of(field)} | {meanings[name]} |")
    return "\n".join(lines) + "\n"


def renewed(document: str) -> str:
    """Return a document with the table of today between the markers."""
    return replaced(document, BEGIN, END, table())


def docstrings(source: str) -> dict[str, str]:
    """Return the texts below a class's attributes, in one line each."""
    (definition,) = ast.parse(source).body
    assert isinstance(definition, ast.ClassDef)  # noqa: S101 # for the types: it is the source of a class
    found = {}
    for attribute, below in zip(definition.body, definition.body[1:], strict=False):
        if not (isinstance(attribute, ast.AnnAssign) and isinstance(attribute.target, ast.Name)):
            continue
        if isinstance(below, ast.Expr):
            found[attribute.target.id] = " ".join(str(ast.literal_eval(below.value)).split())
    return found


def default_of(field: FieldInfo) -> str:
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


def main() -> None:
    """Renew the document, or judge it."""
    *options, name = sys.argv[1:]
    path = Path(name)
    document = path.read_text()
    new = renewed(document)
    if options != ["--check"]:
        path.write_text(new)
    elif new != document:
        raise SystemExit(f"{name}: the table of the settings is old: make generate")


if __name__ == "__main__":
    main()

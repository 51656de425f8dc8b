"""Markdown that GitHub and mkdocs read alike."""

import re
from collections.abc import Iterable, Sequence

NONE = "\N{EN DASH}"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(map(cell, line))} |\n" for line in lines)


def cell(text: str) -> str:
    """Return a text as one cell of a table; a dash if it is empty."""
    return " ".join(text.split()).replace("|", "\\|") or NONE


def anchor(heading: str) -> str:
    """Return the anchor that GitHub gives a heading; mkdocs.yml makes mkdocs do the same."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def page(title: str, *parts: str) -> str:
    """Return a whole page; `parts` are its paragraphs, tables and headings."""
    note = "<!-- `make generate` writes this page. -->"
    return "\n\n".join(part.strip("\n") for part in (note, f"# {title}", *parts) if part.strip()) + "\n"

"""The table that a long run ends with: on the terminal, and in a file."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest


def markdown(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of one column of text, then numbers."""
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def conclude(reporter: pytest.TerminalReporter, title: str, table: str, path: Path) -> None:
    """Print a table and keep it."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"{table}\n")
    reporter.section(title)
    reporter.write_line(table)

"""The table that `make faults` ends with."""

import os
from dataclasses import dataclass
from pathlib import Path

from tests.summary import markdown

ALL = os.environ.get("ROLLCALL_FAULTS") == "all"
"""Whether every fault is tried, or the quick half alone."""
PATH = Path(__file__).parents[2] / ".build" / "faults.md"
HEADS = (
    "fault",
    "calls",
    "right answers",
    "clean errors",
    "wrong answers",
    "lost writes",
    "longest answer",
    "recovery time",
)


@dataclass(frozen=True)
class Row:
    """What came of one fault; `note` stands in place of numbers where it could not be had."""

    fault: str
    calls: int = 0
    right: int = 0
    clean: int = 0
    wrong: int = 0
    lost: int | str = 0
    longest: float = 0.0
    recovery: float | None = None
    note: str = ""

    def cells(self) -> tuple[str, ...]:
        if self.note:
            return (self.fault, self.note, *[""] * (len(HEADS) - 2))
        recovery = "-" if self.recovery is None else f"{self.recovery:.1f} s"
        counts = (self.calls, self.right, self.clean, self.wrong, self.lost)
        return (self.fault, *map(str, counts), f"{self.longest:.2f} s", recovery)


rows: list[Row] = []
late: list[float] = []
"""By how much an answer came after its deadline at most, in each trial; less than 0: before it."""
blocked: list[float] = []
"""How long an event loop stood at most, in each server's life."""


def table() -> str:
    """Return the rows as Markdown."""
    rendered = markdown(HEADS, (row.cells() for row in rows))
    if late:
        rendered += f"\n\nNo answer came later than {max(0.0, *late) * 1000:.0f} ms after its deadline."
    if blocked:
        rendered += f"\n\nNo event loop stood longer than {max(blocked) * 1000:.0f} ms."
    return rendered

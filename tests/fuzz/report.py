"""What was tried: counted while it runs, and the table that `make fuzz` ends with."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import HealthCheck, Phase, settings

from tests.summary import markdown

ALL = os.environ.get("ROLLCALL_FUZZ") == "all"
"""Whether all inputs are tried, or the few that every test run has time for."""
PATH = Path(__file__).parents[2] / ".build" / "fuzz.md"
HEADS = ("target", "inputs", "deliberate errors", "unexpected 5xx", "unmasked texts", "seconds")
PROGRESS_SECONDS = 5.0
MIN_INPUTS = 50_000 if ALL else 2_000
"""How many inputs `make fuzz` promises, and `make test`."""


@dataclass
class Row:
    """What came of one target."""

    target: str
    inputs: int = 0
    refused: int = 0
    unexpected: int = 0
    unmasked: int = 0
    begun: float = field(default_factory=time.monotonic)
    seconds: float = 0.0
    told: float = field(default_factory=time.monotonic)

    def count(self, *, refused: bool) -> None:
        """Count one input, and say now and then how far it is."""
        self.inputs += 1
        self.refused += refused
        now = time.monotonic()
        if ALL and now - self.told > PROGRESS_SECONDS:
            self.told = now
            total = sum(row.inputs for row in rows)
            sys.stderr.write(f"fuzz: {self.target}: {self.inputs:,} inputs; {total:,} in all\n")

    def cells(self) -> tuple[str, ...]:
        counts = (self.inputs, self.refused, self.unexpected, self.unmasked)
        return (self.target, *(f"{count:,}" for count in counts), f"{self.seconds:.1f}")


rows: list[Row] = []


@contextmanager
def fuzzing(target: str) -> Iterator[Row]:
    """Count a target's inputs in the block; targets of one name share a row."""
    row = next((row for row in rows if row.target == target), None)
    if row is None:
        row = Row(target)
        rows.append(row)
    begun = time.monotonic()
    try:
        yield row
    finally:
        row.seconds += time.monotonic() - begun


def tries(few: int, many: int) -> settings:
    """Return how often hypothesis tries a property: always the same few times, or many that differ."""
    return settings(
        max_examples=many if ALL else few,
        deadline=None,
        derandomize=not ALL,
        database=None,
        print_blob=ALL,
        # To shrink a failure would outlast the run's time.
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )


def table() -> str:
    """Return the rows as Markdown, with their sum."""
    total = Row("all")
    for row in rows:
        total.inputs += row.inputs
        total.refused += row.refused
        total.unexpected += row.unexpected
        total.unmasked += row.unmasked
        total.seconds += row.seconds
    return markdown(HEADS, (row.cells() for row in (*rows, total)))

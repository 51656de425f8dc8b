"""Rows of a table: what something costs here and there, and how much more it may."""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison: milliseconds of CPU here and there, and how many times more there may be.

    Without a bound it is there to explain another one.
    """

    text: str
    here: float
    there: float
    bound: float | None

    def markdown(self) -> str:
        """Return it as a row of the table."""
        ratio = self.there / self.here
        wanted = "" if self.bound is None else f"≤ {self.bound} {'✓' if ratio <= self.bound else '✗'}"
        return f"| {self.text} | {self.here:.2f} | {self.there:.2f} | {ratio:.2f} | {wanted} |"


@dataclass(frozen=True, slots=True)
class Bound:
    """Milliseconds, and how many there may be."""

    text: str
    found: float
    bound: float

    def markdown(self) -> str:
        """Return it as a row of the table."""
        mark = "✓" if self.found <= self.bound else "✗"
        return f"| {self.text} | | {self.found:.0f} | | ≤ {self.bound} ms {mark} |"


def compared(text: str, bound: float | None, here: Callable[[], float], there: Callable[[], float]) -> Row:
    """Return a comparison of medians, measured in turns so that noise falls on both."""
    here(), there()
    found = [(here(), there()) for _ in range(ROUNDS)]
    return Row(text, median(pair[0] for pair in found), median(pair[1] for pair in found), bound)

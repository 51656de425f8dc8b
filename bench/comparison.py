"""Rows of a table: what something costs here and there, and how much more it may."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

ROUNDS = 5

HEAD = """\
| promise | CPU ms, here | there | there / here | p50 ms, here | there | there / here | wanted | met |
|---|--:|--:|--:|--:|--:|--:|--:|:-:|"""


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one request: milliseconds of CPU, and on the clock."""

    cpu: float
    wall: float


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison, and how many times more CPU there may be than here.

    Without a bound it is there to explain another one.
    """

    text: str
    here: Cost
    there: Cost
    bound: float | None

    def markdown(self) -> str:
        """Return it as a row of the table."""
        ratio = self.there.cpu / self.here.cpu
        wanted = " | " if self.bound is None else f"≤ {self.bound} | {'✓' if ratio <= self.bound else '✗'}"
        cpu = f"{self.here.cpu:.2f} | {self.there.cpu:.2f} | {ratio:.2f}"
        wall = f"{self.here.wall:.1f} | {self.there.wall:.1f} | {self.there.wall / self.here.wall:.2f}"
        return f"| {self.text} | {cpu} | {wall} | {wanted} |"


@dataclass(frozen=True, slots=True)
class Bound:
    """What one thing costs, and how many milliseconds of CPU, or on the clock, there may be."""

    text: str
    cpu: float | None
    wall: float | None
    bound: float

    def markdown(self) -> str:
        """Return it as a row of the table."""
        cpu, wall = (f"{each:.0f}" if each is not None else "" for each in (self.cpu, self.wall))
        bounded = self.cpu if self.cpu is not None else self.wall
        mark = "✓" if bounded is not None and bounded <= self.bound else "✗"
        return f"| {self.text} | | {cpu} | | | {wall} | | ≤ {self.bound} ms | {mark} |"


def compared(text: str, bound: float | None, here: Callable[[], Cost], there: Callable[[], Cost]) -> Row:
    """Return a comparison of medians, measured in turns so that noise falls on both."""
    here(), there()
    found = [(here(), there()) for _ in range(ROUNDS)]
    return Row(text, middle([pair[0] for pair in found]), middle([pair[1] for pair in found]), bound)


def middle(costs: Sequence[Cost]) -> Cost:
    """Return the medians of costs."""
    return Cost(median(each.cpu for each in costs), median(each.wall for each in costs))

"""How busy the service has been: calls, errors and durations of the last minutes, of all workers of a server.

Nothing is counted for it: it is the difference of what the metrics have already.  Workers leave theirs
in files of a folder of their supervisor's, so that each can tell of all.
"""

import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import orjson

from server.observability.metrics import BUCKETS, SERVER_ERRORS, CallMetrics

FOLDER_VARIABLE = "_ROLLCALL_ACTIVITY"
"""Not a setting: how a supervisor tells its workers."""
SLOT_SECONDS = 5
SLOTS = 180
"""A quarter of an hour."""
OURS = "/rollcall."

Counts = list[int]
"""Errors of the server, then calls by their durations: at most BUCKETS[0], …, longer than all."""

_ZERO: Counts = [0] * (len(BUCKETS) + 2)


@dataclass(frozen=True, slots=True)
class Point:
    """What was in SLOT_SECONDS, which began at `time`, in seconds since 1970."""

    time: int
    calls: int
    errors: int
    median_ms: float | None
    p95_ms: float | None


class Activity:
    """The part of this process, and the view of all."""

    def __init__(self, metrics: CallMetrics) -> None:
        self._metrics = metrics
        folder = os.environ.get(FOLDER_VARIABLE)
        self._folder = None if folder is None else Path(folder)
        self._slots: dict[int, Counts] = {}
        self._total = _total(metrics)
        self._slot = _now()

    def beat(self) -> None:
        """Close the slot if its time is over; to be called more often than slots are."""
        slot = _now()
        if slot == self._slot:
            return
        total = _total(self._metrics)
        self._slots[self._slot] = [now - then for now, then in zip(total, self._total, strict=True)]
        self._slot, self._total = slot, total
        self._slots = _recent(self._slots)
        if self._folder is not None:
            _write(self._folder / f"{os.getpid()}.json", self._slots)
            _sweep(self._folder)

    def body(self) -> bytes:
        """Return the slots that are over as JSON, oldest first; reads files."""
        parts = [self._slots] if self._folder is None else list(_read(self._folder))
        now = _now()
        points = [
            _point(slot, [part[slot] for part in parts if slot in part]) for slot in range(now - SLOTS, now)
        ]
        return orjson.dumps({"seconds": SLOT_SECONDS, "points": points})


@contextmanager
def shared() -> Iterator[None]:
    """Let the workers that are started inside the block tell of each other."""
    with tempfile.TemporaryDirectory(prefix="rollcall-activity-") as folder:
        os.environ[FOLDER_VARIABLE] = folder
        try:
            yield
        finally:
            del os.environ[FOLDER_VARIABLE]


def _now() -> int:
    return int(time.time()) // SLOT_SECONDS


def _total(metrics: CallMetrics) -> Counts:
    """Return what the metrics of this process have counted of our own methods since its start."""
    total = list(_ZERO)
    for labels, value in metrics.ended():
        if labels["method"].startswith(OURS) and labels["code"] in SERVER_ERRORS:
            total[0] += int(value)
    for labels, below in metrics.durations():
        if labels["method"].startswith(OURS):
            for number, (upper, lower) in enumerate(zip(below, (0.0, *below), strict=False), 1):
                total[number] += int(upper - lower)
    return total


def _recent(slots: dict[int, Counts]) -> dict[int, Counts]:
    oldest = _now() - SLOTS
    return {slot: counts for slot, counts in slots.items() if slot >= oldest}


def _write(path: Path, slots: dict[int, Counts]) -> None:
    whole = path.with_suffix(".new")
    whole.write_bytes(orjson.dumps(slots, option=orjson.OPT_NON_STR_KEYS))
    whole.replace(path)


def _read(folder: Path) -> Iterator[dict[int, Counts]]:
    for path in folder.glob("*.json"):
        with suppress(OSError):
            yield {int(slot): counts for slot, counts in orjson.loads(path.read_bytes()).items()}


def _sweep(folder: Path) -> None:
    """Drop what workers have left that ended long ago."""
    oldest = time.time() - SLOTS * SLOT_SECONDS
    for path in folder.iterdir():
        with suppress(OSError):
            if path.stat().st_mtime < oldest:
                path.unlink()


def _point(slot: int, parts: Iterable[Counts]) -> Point:
    errors, *durations = [sum(column) for column in zip(_ZERO, *parts, strict=True)]
    median, late = (_quantile(durations, part) for part in (0.5, 0.95))
    return Point(slot * SLOT_SECONDS, sum(durations), errors, median, late)


def _quantile(durations: Counts, part: float) -> float | None:
    """Return in ms what a part of the calls stayed under, as Prometheus reckons; None without calls."""
    sought = sum(durations) * part
    below, lower = 0, 0.0
    for number, upper in zip(durations, BUCKETS, strict=False):
        if number and below + number >= sought:
            return round(1000 * (lower + (upper - lower) * (sought - below) / number), 2)
        below, lower = below + number, upper
    return 1000 * BUCKETS[-1] if sum(durations) else None

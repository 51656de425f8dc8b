"""Chance that falls the same on every run."""

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TypeVar

from server.records import times
from server.records.xid import xid_of

T = TypeVar("T")

SECOND = 10**9
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_DAY = (datetime(2026, 3, 2, tzinfo=UTC) - _EPOCH) // timedelta(seconds=1) * SECOND
_LAST_DAY = 100
_GRAINS = (SECOND, 10**6, 1)


class Dice(Random):
    """A seeded source of ids, times and choices; a time is in nanoseconds since 1970."""

    def once_in(self, count: int) -> bool:
        """Return true one time in `count`."""
        return self.randrange(count) == 0

    def some(self, values: Sequence[T], least: int, most: int) -> list[T]:
        """Return from `least` to `most` of `values`, in their own order."""
        count = min(self.randint(least, most), len(values))
        return [values[index] for index in sorted(self.sample(range(len(values)), count))]

    def uuid(self) -> str:
        """Return a UUID of version 4."""
        return str(uuid.UUID(int=self.getrandbits(128), version=4))

    def xid(self, moment: int) -> str:
        """Return an xid made at `moment`."""
        return xid_of(moment // SECOND, self.getrandbits(64))

    def moment(self, first: int = 0, last: int = _LAST_DAY) -> int:
        """Return a daytime between two days, counted from March 2026."""
        start = _FIRST_DAY + self.randint(first, last) * DAY + 7 * HOUR
        return self._grained(start + self.randrange(14 * HOUR))

    def later(self, moment: int, least: int, most: int) -> int:
        """Return a time that is `least` to `most` after `moment`."""
        return self._grained(moment + self.randrange(least, most))

    def _grained(self, moment: int) -> int:
        grain = self.choice(_GRAINS)
        return moment // grain * grain


def printed(moment: int) -> str:
    """Return a time as the contracts print it."""
    seconds, nanos = divmod(moment, SECOND)
    whole = (_EPOCH + timedelta(seconds=seconds)).replace(tzinfo=None).isoformat()
    return str(times.canonical(f"{whole}.{nanos:09}Z"))

"""Files that operators change while the server runs."""

import os
import time
from pathlib import Path

LOOK_SECONDS = 1.0
"""How often, at most, a file is looked at."""

_Mark = tuple[int, int, int] | None


class WatchedFile:
    """Notices that a file has been written or replaced, or has another owner or mode."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._looked = time.monotonic()
        self._seen = self._mark()

    def changed(self) -> bool:
        """Return whether the file is another than before."""
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS:
            return False
        self._looked = now
        before, self._seen = self._seen, self._mark()
        return self._seen != before

    def _mark(self) -> _Mark:
        try:
            status = os.stat(self._path)  # noqa: PTH116 # half the cost of Path.stat, on the way of every call
        except OSError:
            return None
        # Not the time of its content: a copy may bring its own, and a new mode may let it be read at last.
        return status.st_ctime_ns, status.st_size, status.st_ino

"""Signals that ask `rollcall up` to stop."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupted(KeyboardInterrupt):
    """The operator wants it to stop; a KeyboardInterrupt, as asyncio swallows other BaseExceptions."""


class Signals:
    """SIGINT, SIGTERM and SIGHUP ask once to stop; what comes after changes nothing.

    They are looked at between steps and never interrupt one, so that no child is lost half-started.
    """

    def __init__(self) -> None:
        self._asked = False
        self._raises = False
        self._numbers = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup sets it
            self._numbers.append(signal.SIGHUP)
        for number in self._numbers:
            signal.signal(number, self._ask)

    def _ask(self, _: int, frame: FrameType | None) -> None:
        first, self._asked = not self._asked, True
        if first and self._raises and not _is_importing(frame):
            raise Interrupted

    def check(self) -> None:
        """Raise Interrupted if it is to stop."""
        if self._asked:
            raise Interrupted

    @contextmanager
    def interrupting(self) -> Iterator[None]:
        """Let a signal interrupt the work in this context, which must not start children.

        While that imports something, it is left to the next `check`: Python's own callbacks would swallow it.
        """
        self._raises = True
        try:
            self.check()
            yield
        finally:
            self._raises = False

    def ignore(self) -> None:
        """Ignore them until the process ends: Python's own end would restore their defaults."""
        for number in self._numbers:
            signal.signal(number, signal.SIG_IGN)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False

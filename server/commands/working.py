"""The work of a command: Ctrl-C ends it at any moment, once it has tidied up."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from server.settings import Settings
from server.store import driver

T = TypeVar("T")

AGAIN_SECONDS = 1.0
"""How long one step of tidying up may take, or work go on that has swallowed the cancel."""


class _InterruptedError(Exception):
    """The work has heeded Ctrl-C."""


class _Work:
    """What Ctrl-C cancels, step by step, until it has ended."""

    def __init__(self) -> None:
        self.asked = False
        self.blocks = False
        self.task: asyncio.Task[Any] | None = None

    def ask(self, *_: object) -> None:
        self.asked = True
        if self.blocks:
            raise KeyboardInterrupt
        if self.task is not None and not self.task.done():
            self.task.get_loop().call_soon_threadsafe(self._cancel, self.task)

    def _cancel(self, task: asyncio.Task[Any]) -> None:
        if self.task is task and not task.done():
            loop = task.get_loop()
            # What fails now, such as a find in one of the driver's threads, fails by the end of the work.
            loop.set_exception_handler(lambda *_: None)
            task.cancel()
            loop.call_later(AGAIN_SECONDS, self._cancel, task)

    async def heeding(self, work: Coroutine[Any, Any, T]) -> T:
        self.task = asyncio.current_task()
        if self.asked:
            self.ask()
        try:
            return await work
        except (asyncio.CancelledError, KeyboardInterrupt):
            raise _InterruptedError from None


_now = _Work()


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's work to its result; raise KeyboardInterrupt if Ctrl-C has ended it before.

    Where Ctrl-C was the system's to act on, it changes nothing from then on: what is left is to tell how it
    went.
    """
    global _now  # noqa: PLW0603 # a process has one Ctrl-C
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:
        return asyncio.run(work)
    _now = _Work()
    signal.signal(signal.SIGINT, _now.ask)
    try:
        return asyncio.run(_now.heeding(work))
    except _InterruptedError:
        raise KeyboardInterrupt from None
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN if before is signal.SIG_DFL else before)


def run_with_store(settings: Settings, work: Callable[[driver.Connection], Awaitable[T]]) -> T:
    """Run work that needs the store; once it is done, Ctrl-C no longer takes its result away."""

    async def connected() -> T:
        async with driver.connected(settings) as connection:
            result = await work(connection)
            _now.task = None
            return result

    return run(connected())


@contextmanager
def blocking() -> Iterator[None]:
    """Let Ctrl-C raise KeyboardInterrupt in a read or write that may block the event loop for ever."""
    _now.blocks = True
    try:
        if _now.asked:
            raise KeyboardInterrupt
        yield
    finally:
        _now.blocks = False

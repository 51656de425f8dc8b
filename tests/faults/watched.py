"""Runs `rollcall serve` with a watchdog: python watched.py STATUS_FILE [UNRESOLVED_FILE].

The watchdog is a thread. It sees how long the event loop takes to come round, less what the
machine took away from this process, and where it stands meanwhile; it writes that to
STATUS_FILE. While UNRESOLVED_FILE is there, the name `mongo.test` has no address.
"""

import asyncio
import contextlib
import json
import socket
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

import uvloop

NAME = "mongo.test"
TICK_SECONDS = 0.02
BLOCKED_SECONDS = 0.25
WRITE_SECONDS = 0.1
IDLE_SECONDS = 0.001


class Watchdog(threading.Thread):
    """Sends a beat through the loop every tick, and counts until it comes back."""

    def __init__(self, loop: asyncio.AbstractEventLoop, status: Path) -> None:
        super().__init__(daemon=True, name="watchdog")
        self._loop = loop
        self._thread = threading.get_ident()
        self._clock = time.pthread_getcpuclockid(self._thread)
        self._status = status
        self._came_back = threading.Event()
        self._worked = 0.0
        self._tasks = 0
        self._blocked = 0.0
        self._where = ""

    def run(self) -> None:
        written = 0.0
        while not self._loop.is_closed():
            self._came_back.clear()
            with contextlib.suppress(RuntimeError):  # It has been closed since.
                self._loop.call_soon_threadsafe(self._beat)
            self._wait()
            if time.monotonic() - written > WRITE_SECONDS:
                self._write()
                written = time.monotonic()
            time.sleep(TICK_SECONDS)
        self._write()

    def _beat(self) -> None:
        self._tasks = len(asyncio.all_tasks())
        self._came_back.set()

    def _wait(self) -> None:
        """Count the ticks that came in time: a machine that starves us starves the ticks too."""
        waited, where = 0.0, ""
        while not self._loop.is_closed():
            begun, worked = time.monotonic(), self._work()
            came_back = self._came_back.wait(TICK_SECONDS)
            seconds, work = time.monotonic() - begun, self._work() - worked
            # A call into C that keeps this thread from running is work of the loop's.
            tick = max(min(seconds, 2 * TICK_SECONDS), work)
            if came_back:
                waited += tick
                break
            frame = sys._current_frames().get(self._thread)  # noqa: SLF001 # there is no other way
            stack = traceback.extract_stack(frame)
            if stack and _waits(stack[-1].filename, work):
                self._keep(waited, where)
                waited, where = 0.0, ""  # It waits for the kernel, not for our code.
                continue
            waited += tick
            if waited > BLOCKED_SECONDS:
                where = " < ".join(f"{place.filename}:{place.lineno}" for place in reversed(stack[-8:]))
        self._keep(waited, where)

    def _keep(self, waited: float, where: str) -> None:
        """Keep the longest."""
        if waited > self._blocked:
            self._blocked, self._where = waited, where

    def _work(self) -> float:
        """Return the CPU time of the loop's thread, all of it once that has ended."""
        with contextlib.suppress(OSError):
            self._worked = time.clock_gettime(self._clock)
        return self._worked

    def _write(self) -> None:
        new = self._status.with_suffix(".new")
        new.write_text(json.dumps({"blocked": self._blocked, "where": self._where, "tasks": self._tasks}))
        new.replace(self._status)


def _waits(filename: str, work: float) -> bool:
    """Return whether a loop waits, by the file that its thread is in: uvloop has none of its own."""
    return filename.endswith("selectors.py") or (
        filename.endswith("asyncio/runners.py") and work < IDLE_SECONDS
    )


def fail_to_resolve(unresolved: Path) -> None:
    """Let `mongo.test` be this machine, but while the file is there."""
    by_socket, by_loop = socket.getaddrinfo, uvloop.Loop.getaddrinfo

    def resolved(host: Any) -> Any:
        if host != NAME:
            return host
        if unresolved.exists():
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return "127.0.0.1"

    def of_threads(host: Any, *arguments: Any, **options: Any) -> Any:
        return by_socket(resolved(host), *arguments, **options)

    async def of_coroutines(loop: Any, host: Any, *arguments: Any, **options: Any) -> Any:
        return await by_loop(loop, resolved(host), *arguments, **options)

    socket.getaddrinfo = of_threads
    uvloop.Loop.getaddrinfo = of_coroutines  # type: ignore[method-assign, assignment] # a hook


def main(status: str, unresolved: str = "") -> None:
    from server import app, cli  # noqa: PLC0415 # a folder named `server` is not beside this file

    if unresolved:
        fail_to_resolve(Path(unresolved))
    serve = app.serve

    async def watched(settings: Any) -> None:
        Watchdog(asyncio.get_running_loop(), Path(status)).start()
        await serve(settings)

    app.serve = watched
    sys.argv = ["rollcall", "serve"]
    cli.app()


if __name__ == "__main__":
    main(*sys.argv[1:])

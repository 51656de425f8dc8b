"""A child process that cannot outlive its parent.

Run as a script, `child.py PARENT_PID PROGRAM ARGUMENT…` turns into the program, set to die
with its parent: a parent that is killed cannot stop its children any more.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

GRACE_SECONDS = 12.0
"""How long a child may take to stop before it is killed; longer than it gives its own workers."""

LOG_LINES = 12
LOG_LINE_CHARS = 400

_PR_SET_PDEATHSIG = 1


class ServiceError(Exception):
    """A part of the service cannot start or has ended; the text says which part, and why."""


class Child:
    """A running program in a session of its own, so that Ctrl-C reaches only the parent.

    Leaving the context stops it and all that it has started.  Its output goes to `log`.
    """

    def __init__(self, name: str, command: Sequence[str], log: Path, env: Mapping[str, str]) -> None:
        self.name = name
        self._log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603 # the callers' own programs
                [sys.executable, "-I", "-S", __file__, str(os.getpid()), *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(env),
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self.stop()

    def check(self) -> None:
        """Raise ServiceError if it has ended."""
        if self._ended():
            raise ServiceError(f"{self.name} has ended{self._outcome()}. {self.log_tail()}")

    def log_tail(self) -> str:
        """Return where its log is and how it ends."""
        lines = self._log.read_text(errors="replace").splitlines()[-LOG_LINES:]
        shown = "".join(f"\n  {line[:LOG_LINE_CHARS]}" for line in lines)
        return f"The last lines of {self._log}:{shown or ' it is empty'}"

    def stop(self) -> None:
        """End it: SIGTERM, after the grace SIGKILL; then whatever is left of its session."""
        os.kill(self._process.pid, signal.SIGTERM)  # Popen.terminate() could reap it here
        deadline = time.monotonic() + GRACE_SECONDS
        while not self._ended() and time.monotonic() < deadline:
            time.sleep(0.02)
        # Not yet waited for, so nobody else can have its process group's number.
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _ended(self) -> bool:
        return self._waitable() is not None

    def _waitable(self) -> os.waitid_result | None:
        return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)

    def _outcome(self) -> str:
        result = self._waitable()
        if result is None:
            return ""
        if result.si_code == os.CLD_EXITED:
            return f" with exit status {result.si_status}"
        return f" by {signal.Signals(result.si_status).name}"


def _become(parent: int, command: list[str]) -> None:
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0):
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error))
    if os.getppid() != parent:
        sys.exit("the parent has ended")
    os.execvp(command[0], command)  # noqa: S606 # the parent's command, without a shell


if __name__ == "__main__":
    _become(int(sys.argv[1]), sys.argv[2:])

"""What workers say on stderr, passed on by their supervisor."""

import asyncio
import contextlib
import os
import queue
import threading
from typing import Self

REFUSAL = b"rollcall: "
LAST_SECONDS = 1.0
"""How long what was said last may take to be written."""
_STDERR = 2
_CHUNK = 1 << 16
_CHUNKS = 64
"""As many may wait for a reader that stalls; it loses what is more."""
_END = b""


class Output:
    """Stderr, written by a thread: whoever reads it, or reads it no more, holds up no supervisor."""

    def __init__(self) -> None:
        self._refusals = set[bytes]()
        self._waiting = queue.Queue[bytes](_CHUNKS)
        # A daemon, for the exit does not wait for a reader either.
        self._writer = threading.Thread(target=self._write, daemon=True)

    def __enter__(self) -> Self:
        self._writer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._put(_END)
        self._writer.join(LAST_SECONDS)

    async def pass_on(self, stderr: asyncio.StreamReader) -> None:
        """Pass on what a worker says until it has ended; what all of them refuse, once."""
        while said := await stderr.read(_CHUNK):
            if said in self._refusals:
                continue
            if said.startswith(REFUSAL):
                self._refusals.add(said)
            self._put(said)

    def _put(self, said: bytes) -> None:
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait(said)

    def _write(self) -> None:
        while said := self._waiting.get():
            # Nobody reads any more, so nobody can be told; `sys.stderr` would keep it and fail at the exit.
            with contextlib.suppress(OSError):
                while said:
                    said = said[os.write(_STDERR, said) :]

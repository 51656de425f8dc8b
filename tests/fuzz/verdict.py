"""What every answer must be: right, or an error that somebody meant and worded."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc

from tests.fuzz.report import Row
from tests.stack import Stack

Code = grpc.StatusCode

DELIBERATE = frozenset(
    (
        Code.INVALID_ARGUMENT,
        Code.NOT_FOUND,
        Code.ALREADY_EXISTS,
        Code.ABORTED,
        Code.PERMISSION_DENIED,
        Code.UNAUTHENTICATED,
    )
)
MAX_TEXT = 20_000
"""Bytes of an error's text, its repetition of the caller's own input included."""

_INSIDE = re.compile(
    # What follows is how the transcoder says that a body is not JSON.
    r"Traceback|File \"|<class|Unexpected (?!token|end of string)"
    r"|Exception|\w+Error\b(?<!violationError)|\bobject has no\b"
    r"|pymongo|motor\.|bson|site-packages|line \d+, in|NoneType|0x[0-9a-f]{8,}|positional argument|E11000"
)
_FAILED = re.compile(
    r"a call failed|a documented path failed|Traceback|Exception|never retrieved|\"level\": ?\"error\""
)


def unmasked(text: str) -> str | None:
    """Return what in an error's text comes from the inside, None if nothing does."""
    found = _INSIDE.search(text)
    return found and found[0]


def judge(row: Row, code: grpc.StatusCode, text: str) -> None:
    """Count one call's end; fail for one that nobody meant."""
    row.count(refused=code is not Code.OK)
    row.unmasked += unmasked(text) is not None
    assert unmasked(text) is None, text
    assert len(text) <= MAX_TEXT, f"{len(text)} characters: {text[:200]}"
    row.unexpected += code is not Code.OK and code not in DELIBERATE
    assert code is Code.OK or code in DELIBERATE, f"{code.name}: {text}"


@contextmanager
def quiet_log(stack: Stack) -> Iterator[None]:
    """Fail if the server writes of a failure in the block."""
    log = stack.folder / "server.log"
    size = log.stat().st_size
    yield
    said = [line for line in _since(log, size).splitlines() if _FAILED.search(line)]
    assert not said, f"{len(said)} failures in the log, such as {said[0][:4000]}"


def _since(log: Path, size: int) -> str:
    with log.open("rb") as stream:
        stream.seek(size)
        return stream.read().decode(errors="replace")

"""From the driver's errors to ours, and the time that a call may take."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import pymongo
from pymongo.errors import (
    ConnectionFailure,
    ExecutionTimeout,
    OperationFailure,
    PyMongoError,
    WaitQueueTimeoutError,
)

from server.errors import UnavailableError

_end: ContextVar[float | None] = ContextVar("end", default=None)


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Bound every operation inside, its retries included."""
    token = _end.set(time.monotonic() + seconds)
    try:
        with pymongo.timeout(seconds):
            yield
    finally:
        _end.reset(token)


def remaining() -> float | None:
    """Return the seconds until the deadline, None if there is none."""
    end = _end.get()
    return None if end is None else max(0.0, end - time.monotonic())


WRITE_CONFLICT = 112


@contextmanager
def translated() -> Iterator[None]:
    """Turn a driver's error about the store's health into ours; others go on."""
    try:
        yield
    except (ConnectionFailure, ExecutionTimeout, WaitQueueTimeoutError):
        raise UnavailableError from None
    except OperationFailure as error:
        if error.code == WRITE_CONFLICT:
            raise UnavailableError from None
        raise
    except PyMongoError as error:
        if error.timeout:
            raise UnavailableError from None
        raise

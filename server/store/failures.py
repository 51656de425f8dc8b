"""From the driver's errors to ours, and the time that a call may take."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType

import pymongo
from bson.errors import InvalidBSON
from pymongo.errors import (
    ConnectionFailure,
    ExecutionTimeout,
    OperationFailure,
    ProtocolError,
    PyMongoError,
    WaitQueueTimeoutError,
)

from server.errors import UnavailableError

_end: ContextVar[float | None] = ContextVar("end", default=None)


class deadline:  # noqa: N801 # a context manager, which a generator's would make slower
    """Bound every operation inside, its retries included."""

    __slots__ = ("_bound", "_seconds", "_token")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __enter__(self) -> None:
        self._token = _end.set(time.monotonic() + self._seconds)
        self._bound = pymongo.timeout(self._seconds)
        self._bound.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bound.__exit__(kind, error, trace)
        _end.reset(self._token)


def remaining() -> float | None:
    """Return the seconds until the deadline, None if there is none."""
    end = _end.get()
    return None if end is None else max(0.0, end - time.monotonic())


_OUTAGES = (ConnectionFailure, ExecutionTimeout, ProtocolError, WaitQueueTimeoutError)
_OUTAGE_LABELS = ("RetryableWriteError", "TransientTransactionError")
_OUTAGE_CODES = frozenset((8, 112, 239, 246, 14031))
"""UnknownError, as of a full disk; WriteConflict; SnapshotTooOld; SnapshotUnavailable, as after a start;
OutOfDiskSpace."""


@contextmanager
def translated() -> Iterator[None]:
    """Turn a driver's error about the store's health into ours; of others, MongoDB's message goes on."""
    try:
        yield
    except PyMongoError as error:
        refusal = _without_records(error)
        if _is_outage(error) or _is_outage(refusal):
            raise UnavailableError from None
        raise refusal from None
    except InvalidBSON:
        # A reply that was damaged on its way.
        raise UnavailableError from None


def _without_records(error: PyMongoError) -> PyMongoError:
    """Return an error without what its command was about: unexpected ones get into the log."""
    if not isinstance(error, OperationFailure) or error.details is None:
        return error
    details = error.details
    first, *_ = details.get("writeErrors") or details.get("writeConcernErrors") or [details]
    code = first.get("code", error.code)
    # What follows `dup key` are the key's values.
    message, _, _ = first.get("errmsg", type(error).__name__).partition(" dup key:")
    return OperationFailure(f"{message} (code {code})", code)


def _is_outage(error: PyMongoError) -> bool:
    if isinstance(error, _OUTAGES) or error.timeout:
        return True
    if any(error.has_error_label(label) for label in _OUTAGE_LABELS):
        return True
    return isinstance(error, OperationFailure) and error.code in _OUTAGE_CODES

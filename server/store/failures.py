"""From the driver's errors to ours, and the time that a call may take."""

from collections.abc import Iterator
from contextlib import contextmanager

import pymongo
from pymongo.errors import (
    ConnectionFailure,
    ExecutionTimeout,
    OperationFailure,
    PyMongoError,
    WaitQueueTimeoutError,
)

from server.errors import UnavailableError

deadline = pymongo.timeout
"""`with deadline(seconds):` bounds every operation inside, its retries included."""

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

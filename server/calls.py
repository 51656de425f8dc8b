"""What every RPC of ours has in common, whichever surface it is on."""

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, NoReturn, TypeAlias, cast

import grpc

from server.credentials import Metadata
from server.errors import DeadlineExceededError, RollcallError, UnavailableError
from server.store.failures import deadline

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


def metadata_of(context: Context) -> Metadata:
    """Return what the caller sent beside the message."""
    return cast("Metadata", context.invocation_metadata() or ())


DEADLINE_SLACK_SECONDS = 0.05


async def abort(context: Context, error: RollcallError) -> NoReturn:
    """End a call with an error as a google.rpc.Status, its details included."""
    details = ("grpc-status-details-bin", error.status().SerializeToString())
    await context.abort(error.code, error.message, (details, *error.headers().items()))
    raise AssertionError("an aborted call does not go on")


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds that a call may take, and that it may wait for the store at a time."""

    call: float
    store: float

    @asynccontextmanager
    async def around(self, context: Context) -> AsyncIterator[None]:
        """End what is inside when the call's time is over: its own deadline's, or ours.

        Raises DeadlineExceededError at the caller's deadline, UnavailableError at ours.
        """
        left = context.time_remaining()
        own = math.inf if left is None else max(0.0, left)
        seconds = min(own, self.call)
        started = time.monotonic()
        try:
            async with asyncio.timeout(seconds):
                with deadline(min(seconds, self.store)):
                    yield
        except (TimeoutError, UnavailableError) as error:
            # The store was asked to end a little before the caller does.
            if time.monotonic() - started > own - DEADLINE_SLACK_SECONDS:
                raise DeadlineExceededError from None
            raise error if isinstance(error, UnavailableError) else UnavailableError from None

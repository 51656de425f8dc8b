"""What every RPC of ours has in common, whichever surface it is on."""

import asyncio
import math
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NoReturn, TypeAlias, TypeVar, cast

import grpc

from server.admission import Gate
from server.errors import DeadlineExceededError, RollcallError, UnavailableError
from server.metadata import Metadata
from server.shielded import shielded
from server.store.failures import deadline

T = TypeVar("T")

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


def metadata_of(context: Context) -> Metadata:
    """Return what the caller sent beside the message."""
    return cast("Metadata", context.invocation_metadata() or ())


def outcome(error: BaseException | None, context: Context) -> str:
    """Return the name of the code with which a call ended, given what its handler raised."""
    if error is None:
        return "OK"
    if isinstance(error, grpc.aio.AbortError):
        code: Any = context.code()
        return str(getattr(code, "name", code))
    return "INTERNAL" if isinstance(error, Exception) else "CANCELLED"


DEADLINE_SLACK_SECONDS = 0.05


async def abort(context: Context, error: RollcallError) -> NoReturn:
    """End a call with an error as a google.rpc.Status, its details included."""
    await end(context, error.code, error.message, trailers(error))


def trailers(error: RollcallError) -> tuple[tuple[str, str | bytes], ...]:
    """Return what a typed call's error sends beside its code and text."""
    details = ("grpc-status-details-bin", error.status().SerializeToString())
    return (details, *error.headers().items())


@contextmanager
def cancelled_if_gone() -> Iterator[None]:
    """Cancel a call whose caller turns out to have gone when something is sent inside.

    gRPC takes any other end of it for a fault of the server, and logs it.
    """
    try:
        yield
    except grpc.aio.InternalError:
        raise asyncio.CancelledError from None


async def end(
    context: Context, code: grpc.StatusCode, text: str, trailing: tuple[tuple[str, str | bytes], ...]
) -> NoReturn:
    """End a call; one whose caller has gone is cancelled."""
    with cancelled_if_gone():
        await context.abort(code, text, trailing)
    raise AssertionError("an aborted call does not go on")


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds that a call may take, and that it may wait for the store at a time; and the gate before it.

    With `shielded`, work whose call is over goes on until the store's deadline ends it:
    a driver that must not be cancelled.  `Reads` see to that themselves.
    """

    call: float
    store: float
    gate: Gate
    shielded: bool = False

    def reading(self) -> "Limits":
        """Return the limits of calls that use the store by `Reads` alone."""
        return replace(self, shielded=False)

    async def run(self, context: Context, work: Coroutine[Any, Any, T], *, begun: bool = False) -> T:
        """Return the result of `work`, or end it when the call's time is over: its own deadline's, or ours.

        `begun` says that a part of the answer has been sent, so that the rest is not shed.
        Raises DeadlineExceededError at the caller's deadline, UnavailableError at ours; OverloadedError
        or StoppingError before anything is done.
        """
        left = context.time_remaining()
        own = math.inf if left is None else max(0.0, left)
        seconds = min(own, self.call)
        started = time.monotonic()
        try:
            async with asyncio.timeout(seconds):
                if not self.gate.passes():
                    await self._wait(work, begun=begun)
                with deadline(min(seconds, self.store)):
                    return await (shielded(self._work(work)) if self.shielded else self._work(work))
        except (TimeoutError, UnavailableError) as error:
            # The store was asked to end a little before the caller does.
            if time.monotonic() - started > own - DEADLINE_SLACK_SECONDS:
                raise DeadlineExceededError from None
            raise error if isinstance(error, UnavailableError) else UnavailableError from None

    async def _wait(self, work: Coroutine[Any, Any, T], *, begun: bool) -> None:
        try:
            await self.gate.enter(begun=begun)
        except BaseException:
            work.close()  # It would complain that nobody has awaited it.
            raise

    async def _work(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return await work
        finally:
            self.gate.leave()

"""The message of a call, which its caller may never send.

grpc.aio reads the message of a unary call itself: it waits for it without a bound, and never answers a call
that ends without one.  So to it every method here is one that takes a stream, of which one message is read.
That comes after the decision to shed the call, which should cost as little as can be.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, cast

import grpc
from google.protobuf.message import DecodeError

from server.admission import Gate
from server.calls import Context, abort, end, trailers
from server.errors import InvalidArgumentError, OverloadedError, RollcallError
from server.observability.metrics import MethodMetrics

if TYPE_CHECKING:
    Handler = grpc.RpcMethodHandler[Any, Any]

MESSAGE_SECONDS = 60.0
"""How long a message may take to arrive whole; as long as Envoy lets a stream be silent."""

LOOK_SECONDS = 1.0

_LATE = InvalidArgumentError("request", f"must arrive within {MESSAGE_SECONDS:.0f} s")
NO_MESSAGE = InvalidArgumentError("request", "must be a message of this method, its text UTF-8")


class FirstMessage:
    """Reads the message of each call; `sheddable` are the services whose calls the gate may shed before."""

    def __init__(
        self, gate: Gate, sheddable: Collection[str], counted: Callable[[str], MethodMetrics]
    ) -> None:
        self._gate = gate
        self._sheddable = sheddable
        self._counted = counted
        self._overloaded = OverloadedError(limit=gate.calls)
        self._overloaded_trailers = trailers(self._overloaded)
        self._waiting: dict[Context, float] = {}
        self._ending: set[asyncio.Task[None]] = set()

    def reading(self, method: str, handler: "Handler") -> "Handler":
        """Return the handler of a method as one that reads its message."""
        if handler.request_streaming:
            return handler
        shape = "unary_stream" if handler.response_streaming else "unary_unary"
        behavior = self._reading(method, getattr(handler, shape))
        changes = {shape: None, shape.replace("unary", "stream", 1): behavior, "request_streaming": True}
        return cast("Handler", cast("Any", handler)._replace(**changes))

    def _reading(self, method: str, behavior: Callable[..., Any]) -> Callable[..., Any]:
        metrics = self._counted(method)
        is_sheddable = method[1:].rpartition("/")[0] in self._sheddable

        async def read(context: Context) -> Any:
            if is_sheddable and self._gate.sheds():
                # Neither a line of the log nor an error made anew: who is flooded cannot afford them.
                metrics.count(self._overloaded.code.name)
                await end(context, self._overloaded.code, self._overloaded.message, self._overloaded_trailers)
            self._waiting[context] = time.monotonic()
            try:
                message = await context.read()
            except DecodeError:
                message = grpc.aio.EOF
            except grpc.aio.AbortError:
                metrics.count(_LATE.code.name)
                raise
            finally:
                del self._waiting[context]
            if message is grpc.aio.EOF:
                await refuse(context, NO_MESSAGE)
            return message

        async def refuse(context: Context, error: RollcallError) -> None:
            metrics.count(error.code.name)
            await abort(context, error)

        async def call(_: object, context: Context) -> Any:
            return await behavior(await read(context), context)

        return call

    async def follow(self) -> None:
        """End the calls whose messages have been waited for too long, for ever."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            bound = time.monotonic() - MESSAGE_SECONDS
            for context in [context for context, since in self._waiting.items() if since < bound]:
                self._waiting[context] = math.inf
                # On its own: who does not read its answers either holds up nobody else's end.
                task = asyncio.create_task(_end_late(context))
                self._ending.add(task)
                task.add_done_callback(self._ending.discard)


async def _end_late(context: Context) -> None:
    # Not by a cancel: grpc would go on writing into the buffer of what no longer reads. The call's own
    # task counts the end, and its caller may have gone.
    with contextlib.suppress(grpc.aio.AbortError, grpc.aio.InternalError, grpc.aio.UsageError):
        await context.abort(_LATE.code, _LATE.message, trailers(_LATE))

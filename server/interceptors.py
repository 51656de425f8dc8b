"""Interceptors, outermost first, around every RPC that the server offers."""

import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, cast

import grpc

from server.calls import Context, abort
from server.errors import RollcallError

_SHAPES = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")

log = logging.getLogger(__name__)

if TYPE_CHECKING:
    Handler = grpc.RpcMethodHandler[Any, Any]


class MaskUnexpected(grpc.aio.ServerInterceptor):
    """Keeps an exception's text from the caller, who gets INTERNAL; the log has the text.

    grpc.aio would send it.  A method's wrapped handler is made once.
    """

    def __init__(self) -> None:
        self._masked: dict[str, Handler] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable["Handler | None"]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "Handler | None":
        """Return the wrapped handler of a method, None if there is no such method."""
        method = handler_call_details.method
        if method in self._masked:
            return self._masked[method]
        handler = await continuation(handler_call_details)
        if handler is not None:  # Callers can invent any number of methods that are not there.
            self._masked[method] = handler = masked(handler)
        return handler


def masked(handler: Any) -> "Handler":
    """Return a handler whose unexpected exceptions become INTERNAL."""
    changes = {
        shape: _masked_generator(behavior)
        if inspect.isasyncgenfunction(behavior)
        else _masked_coroutine(behavior)
        for shape in _SHAPES
        if (behavior := getattr(handler, shape)) is not None
    }
    return cast("Handler", handler._replace(**changes))


def _masked_coroutine(behavior: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @wraps(behavior)
    async def call(request: Any, context: Context) -> Any:
        try:
            return await behavior(request, context)
        except grpc.aio.AbortError:
            raise
        except Exception:
            log.exception("a call failed")
            await abort(context, RollcallError())

    return call


def _masked_generator(behavior: Callable[..., AsyncIterator[Any]]) -> Callable[..., AsyncIterator[Any]]:
    @wraps(behavior)
    async def call(request: Any, context: Context) -> AsyncIterator[Any]:
        try:
            async for response in behavior(request, context):
                yield response
        except grpc.aio.AbortError:
            raise
        except Exception:
            log.exception("a call failed")
            await abort(context, RollcallError())

    return call

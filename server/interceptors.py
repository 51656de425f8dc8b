"""The interceptors around every RPC that the server offers, outermost first: mask, observe."""

import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import grpc
import structlog

from server.calls import Context, abort, metadata_of
from server.errors import RollcallError
from server.metadata import request_id
from server.observability.metrics import CallMetrics, MethodMetrics

if TYPE_CHECKING:
    Handler = grpc.RpcMethodHandler[Any, Any]

Behavior = Callable[..., Any]
Around = Callable[[str, Behavior], Behavior]
"""Returns what answers a method, given its name and what did."""

_SHAPES = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")

_USUAL = frozenset(("OK", "CANCELLED"))
"""How checks and watches of health end."""

log = structlog.get_logger("server.calls")


def chain(metrics: CallMetrics) -> tuple["Interceptor", ...]:
    """Return the server's interceptors."""

    def observe_coroutine(method: str, behavior: Behavior) -> Behavior:
        return _observed_coroutine(_Observer(method, metrics.of(method)), behavior)

    def observe_generator(method: str, behavior: Behavior) -> Behavior:
        return _observed_generator(_Observer(method, metrics.of(method)), behavior)

    return (
        Interceptor("mask", _masked_coroutine, _masked_generator),
        Interceptor("observe", observe_coroutine, observe_generator),
    )


class Interceptor(grpc.aio.ServerInterceptor):
    """Wraps what answers each RPC, once: coroutine functions and asynchronous generator functions."""

    def __init__(self, name: str, around_coroutine: Around, around_generator: Around) -> None:
        self.name = name
        self._around_coroutine = around_coroutine
        self._around_generator = around_generator
        self._wrapped: dict[str, Handler] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable["Handler | None"]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "Handler | None":
        """Return the wrapped handler of a method, None if there is no such method."""
        method = handler_call_details.method
        if method in self._wrapped:
            return self._wrapped[method]
        handler: Any = await continuation(handler_call_details)
        if handler is None:  # Callers can invent any number of methods that are not there.
            return None
        changes = {
            shape: self._wrap(method, behavior)
            for shape in _SHAPES
            if (behavior := getattr(handler, shape)) is not None
        }
        self._wrapped[method] = cast("Handler", handler._replace(**changes))
        return self._wrapped[method]

    def _wrap(self, method: str, behavior: Behavior) -> Behavior:
        if inspect.isasyncgenfunction(behavior):
            return self._around_generator(method, behavior)
        return self._around_coroutine(method, behavior)


def _masked_coroutine(_: str, behavior: Behavior) -> Behavior:
    """Keep an exception's text, which grpc.aio would send, from the caller, who gets INTERNAL."""

    async def call(request: Any, context: Context) -> Any:
        try:
            return await behavior(request, context)
        except grpc.aio.AbortError:
            raise
        except Exception:
            log.exception("a call failed")
            await abort(context, RollcallError())

    return call


def _masked_generator(_: str, behavior: Behavior) -> Behavior:
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


class _Observer:
    """Counts, times and logs the calls of one method; a call is one line, without personal data.

    Proxies ask for health every second: that is a line only if it goes wrong.
    """

    def __init__(self, method: str, metrics: MethodMetrics) -> None:
        self._method = method
        self._is_health = method.startswith("/grpc.health.")
        self._metrics = metrics

    @contextmanager
    def observing(self, context: Context) -> Iterator[None]:
        """Observe the call inside."""
        started = time.perf_counter()
        self._metrics.began()
        code = "INTERNAL"
        try:
            yield
            code = "OK"
        except grpc.aio.AbortError:
            code = _name(context.code())
            raise
        except BaseException as error:
            if not isinstance(error, Exception):
                code = "CANCELLED"
            raise
        finally:
            seconds = time.perf_counter() - started
            self._metrics.ended()
            self._metrics.count(code)
            self._metrics.observe(seconds)
            say = log.debug if self._is_health and code in _USUAL else log.info
            say(
                "call",
                method=self._method,
                code=code,
                ms=round(seconds * 1000, 3),
                request_id=request_id(metadata_of(context)),
            )


def _name(code: Any) -> str:
    return str(getattr(code, "name", code))


def _observed_coroutine(observer: _Observer, behavior: Behavior) -> Behavior:
    async def call(request: Any, context: Context) -> Any:
        with observer.observing(context):
            return await behavior(request, context)

    return call


def _observed_generator(observer: _Observer, behavior: Behavior) -> Behavior:
    async def call(request: Any, context: Context) -> AsyncIterator[Any]:
        with observer.observing(context):
            async for response in behavior(request, context):
                yield response

    return call

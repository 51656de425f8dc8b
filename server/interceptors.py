"""The interceptors around every RPC of the server, outermost first: mask, message, trace, observe."""

import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

import grpc
import structlog

from server.calls import Context, abort, metadata_of, outcome
from server.errors import RollcallError
from server.first_message import FirstMessage
from server.metadata import request_id
from server.observability.metrics import CallMetrics, MethodMetrics

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

    Handler = grpc.RpcMethodHandler[Any, Any]
    Change = Callable[[str, Handler], Handler]

Behavior = Callable[..., Any]
Around = Callable[[str, Behavior], Behavior]
"""Returns what answers a method, given its name and what did."""

Within = Callable[[Context], AbstractContextManager[None]]
"""Makes the block in which a call runs."""

_SHAPES = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")

_USUAL = frozenset(("OK", "CANCELLED"))
"""How checks and watches of health end."""
TYPED = "rpc"
"""What stands for the contract of a method that has none: the typed services, health, reflection."""

log = structlog.get_logger("server.calls")


def counting(
    metrics: CallMetrics, contracts: Mapping[str, str] = MappingProxyType({})
) -> Callable[[str], MethodMetrics]:
    """Return what gives the metrics of a method; `contracts` are those of methods, by their full names."""
    return lambda method: metrics.of(method, contracts.get(method, TYPED))


def chain(
    counted: Callable[[str], MethodMetrics], first_message: FirstMessage, tracer: "Tracer | None" = None
) -> tuple["Interceptor", ...]:
    """Return the server's interceptors; there is none for traces without a tracer."""

    def observing(method: str) -> Within:
        return partial(_Observed, method, counted(method), is_health=method.startswith("/grpc.health."))

    return (
        Interceptor("mask", _wrapped(_masked_coroutine, _masked_generator)),
        Interceptor("message", first_message.reading),
        *(() if tracer is None else (Interceptor("trace", _around(_spanning(tracer))),)),
        Interceptor("observe", _around(observing)),
    )


def _around(within: Callable[[str], Within | None]) -> "Change":
    """Return what runs the calls of a method in a block; None: as they are."""

    def coroutine(method: str, behavior: Behavior) -> Behavior:
        block = within(method)
        return behavior if block is None else _coroutine_within(block, behavior)

    def generator(method: str, behavior: Behavior) -> Behavior:
        block = within(method)
        return behavior if block is None else _generator_within(block, behavior)

    return _wrapped(coroutine, generator)


def _wrapped(around_coroutine: Around, around_generator: Around) -> "Change":
    """Return what wraps the function that answers a method: a coroutine's or an asynchronous generator's."""

    def change(method: str, handler: "Handler") -> "Handler":
        def wrap(behavior: Behavior) -> Behavior:
            is_generator = inspect.isasyncgenfunction(behavior)
            return (around_generator if is_generator else around_coroutine)(method, behavior)

        changes = {
            shape: wrap(behavior) for shape in _SHAPES if (behavior := getattr(handler, shape)) is not None
        }
        return cast("Handler", cast("Any", handler)._replace(**changes))

    return change


def _spanning(tracer: "Tracer") -> Callable[[str], Within | None]:
    from server.observability import call_spans  # noqa: PLC0415 # the extra `otel`

    def spanning(method: str) -> Within | None:
        return partial(call_spans.Spanned, tracer, method) if method.startswith(call_spans.PREFIX) else None

    return spanning


class Interceptor(grpc.aio.ServerInterceptor):
    """Makes the handler of each method into another, once."""

    def __init__(self, name: str, change: "Change") -> None:
        self.name = name
        self._change = change
        self._changed: dict[str, Handler] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable["Handler | None"]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "Handler | None":
        """Return the changed handler of a method, None if there is no such method."""
        method = handler_call_details.method
        if method in self._changed:
            return self._changed[method]
        handler = await continuation(handler_call_details)
        if handler is None:  # Callers can invent any number of methods that are not there.
            return None
        self._changed[method] = self._change(method, handler)
        return self._changed[method]


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


class _Observed:
    """A block that counts, times and logs a call; a call is one line, without personal data.

    Proxies ask for health every second: that is a line only if it goes wrong.
    """

    __slots__ = ("_context", "_is_health", "_method", "_metrics", "_started")

    def __init__(self, method: str, metrics: MethodMetrics, context: Context, *, is_health: bool) -> None:
        self._method = method
        self._is_health = is_health
        self._metrics = metrics
        self._context = context
        self._started = time.perf_counter()

    def __enter__(self) -> None:
        self._metrics.began()

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        code = outcome(error, self._context)
        seconds = time.perf_counter() - self._started
        self._metrics.ended()
        self._metrics.count(code)
        self._metrics.observe(seconds)
        say = log.debug if self._is_health and code in _USUAL else log.info
        say(
            "call",
            method=self._method,
            code=code,
            ms=round(seconds * 1000, 3),
            request_id=request_id(metadata_of(self._context)),
        )


def _coroutine_within(block: Within, behavior: Behavior) -> Behavior:
    async def call(request: Any, context: Context) -> Any:
        with block(context):
            return await behavior(request, context)

    return call


def _generator_within(block: Within, behavior: Behavior) -> Behavior:
    async def call(request: Any, context: Context) -> AsyncIterator[Any]:
        with block(context):
            async for response in behavior(request, context):
                yield response

    return call

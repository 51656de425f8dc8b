"""The spans of calls, by OpenTelemetry's conventions for gRPC servers; without what a caller sent."""

from opentelemetry.context import Context as TraceContext
from opentelemetry.context import attach
from opentelemetry.trace import SpanKind, Status, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from server.calls import Context, metadata_of, outcome
from server.observability.metrics import SERVER_ERRORS

PREFIX = "/rollcall."
"""Our own methods; health checks would fill a collector for nothing."""

_W3C = TraceContextTextMapPropagator()


class Spanned:
    """A block that spans a call; the span's parent is that of the metadata `traceparent`."""

    def __init__(self, tracer: Tracer, method: str, context: Context) -> None:
        name = method.removeprefix("/")
        carrier = {key: value for key, value in metadata_of(context) if key in _W3C.fields}
        parent = _W3C.extract(carrier, TraceContext())
        attributes = {"rpc.system.name": "grpc", "rpc.method": name}
        self._context = context
        self._span = tracer.start_span(name, parent, SpanKind.SERVER, attributes)
        # For good: each call is a task with a context of its own.
        attach(set_span_in_context(self._span, parent))

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        code = outcome(error, self._context)
        self._span.set_attribute("rpc.response.status_code", code)
        if code in SERVER_ERRORS:
            self._span.set_attribute("error.type", code)
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()

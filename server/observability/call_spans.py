"""The spans of calls, by OpenTelemetry's conventions for gRPC servers; without what a caller sent."""

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.context import Context as TraceContext
from opentelemetry.context import attach
from opentelemetry.trace import SpanKind, Status, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from server.calls import Context, metadata_of, outcome
from server.observability.metrics import SERVER_ERRORS

PREFIX = "/rollcall."
"""Our own methods; health checks would fill a collector for nothing."""

_W3C = TraceContextTextMapPropagator()


class CallSpans:
    """The spans of one method."""

    def __init__(self, tracer: Tracer, method: str) -> None:
        self._tracer = tracer
        self._name = method.removeprefix("/")
        self._attributes = {"rpc.system.name": "grpc", "rpc.method": self._name}

    @contextmanager
    def spanning(self, context: Context) -> Iterator[None]:
        """Span the call inside; its parent is that of the metadata `traceparent`."""
        carrier = {name: value for name, value in metadata_of(context) if name in _W3C.fields}
        parent = _W3C.extract(carrier, TraceContext())
        span = self._tracer.start_span(self._name, parent, SpanKind.SERVER, self._attributes)
        # For good: each call is a task with a context of its own.
        attach(set_span_in_context(span, parent))
        raised: BaseException | None = None
        try:
            yield
        except BaseException as error:
            raised = error
            raise
        finally:
            code = outcome(raised, context)
            span.set_attribute("rpc.response.status_code", code)
            if code in SERVER_ERRORS:
                span.set_attribute("error.type", code)
                span.set_status(Status(StatusCode.ERROR))
            span.end()

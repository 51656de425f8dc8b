"""Traces: spans of calls and of what they ask MongoDB, sent to an OpenTelemetry collector.

The libraries are the extra `otel`.  Import this module only if `otlp_endpoint` is set.
"""

import logging
import time
from collections.abc import MutableMapping, Sequence
from typing import Any

from server.settings import Settings, SettingsError

try:
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
    from opentelemetry.trace import Tracer, format_trace_id, get_current_span
except ModuleNotFoundError:
    raise SettingsError("ROLLCALL_OTLP_ENDPOINT needs the extra otel: pip install 'rollcall[otel]'") from None

SERVICE = "rollcall"
"""The default of `service.name`; OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say otherwise."""
EXPORT_SECONDS = 1.0
FLUSH_SECONDS = 0.5
"""How long after the stop an export may still begin: the last one, too, ends within a worker's grace."""

log = logging.getLogger(__name__)


class Traces:
    """The spans of this process, on their way to the collector.

    A thread sends them in batches.  A collector that does not answer costs spans, never a call.
    """

    def __init__(self, settings: Settings) -> None:
        # The libraries would log each failure; _Exporter says it once.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        self._exporter = _Exporter(settings.otlp_endpoint or "")
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(settings.trace_ratio)),
            resource=Resource({"service.name": SERVICE}).merge(OTELResourceDetector().detect()),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self.tracer: Tracer = self._provider.get_tracer(SERVICE)

    def stop(self) -> None:
        """Send what is left, within FLUSH_SECONDS and EXPORT_SECONDS; blocks."""
        self._exporter.close_at(time.monotonic() + FLUSH_SECONDS)
        self._provider.shutdown()


class _Exporter(SpanExporter):
    """Sends spans; logs when that begins to fail and when it works again."""

    def __init__(self, endpoint: str) -> None:
        self._otlp = OTLPSpanExporter(
            endpoint=endpoint,
            insecure=True,
            timeout=EXPORT_SECONDS,
            channel_options=(("grpc.enable_http_proxy", 0),),  # type: ignore[arg-type] # gRPC takes numbers too
        )
        self._end = float("inf")
        self._fails = False

    def close_at(self, end: float) -> None:
        """Give up what is left at a time of time.monotonic()."""
        self._end = end

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if time.monotonic() > self._end:
            return SpanExportResult.FAILURE
        result = self._otlp.export(spans)
        fails = result is not SpanExportResult.SUCCESS
        if fails is not self._fails:
            self._fails = fails
            if fails:
                log.warning("the collector does not take traces: they are dropped")
            else:
                log.info("the collector takes traces")
        return result

    def shutdown(self) -> None:
        self._otlp.shutdown()

    def force_flush(self, timeout_millis: int = 0) -> bool:
        return self._otlp.force_flush(timeout_millis)


def add_trace_id(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add the `trace_id` of the call under way to a log event, if it has one: a structlog processor."""
    context = get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = format_trace_id(context.trace_id)
    return event

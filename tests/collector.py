"""A real OTLP collector, which keeps what it is sent."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.stack import free_port

SECONDS = 20


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Listens on a port of its own; may stop and start again."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.received: list[trace_service_pb2.ExportTraceServiceRequest] = []
        self.start()

    def start(self) -> None:
        self._server = grpc.server(ThreadPoolExecutor(2))
        add = trace_service_pb2_grpc.add_TraceServiceServicer_to_server
        add(self, self._server)  # type: ignore[no-untyped-call] # generated so
        self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        self._server.start()

    def stop(self) -> None:
        self._server.stop(None).wait()

    def Export(self, request: Any, _: Any) -> trace_service_pb2.ExportTraceServiceResponse:  # noqa: N802 # its RPC
        self.received.append(request)
        return trace_service_pb2.ExportTraceServiceResponse()

    def spans(self) -> list[tuple[str, Span]]:
        """What has come so far, each with the name of its service."""
        return [
            (_text(of.resource.attributes)["service.name"], span)
            for request in list(self.received)
            for of in request.resource_spans
            for scope in of.scope_spans
            for span in scope.spans
        ]

    def trace(self, trace_id: str, services: set[str]) -> dict[str, Span]:
        """The spans of a trace by their services and kinds, once they have all come."""

        def found() -> dict[str, Span]:
            return {
                f"{service} {Span.SpanKind.Name(span.kind).removeprefix('SPAN_KIND_').lower()}": span
                for service, span in self.spans()
                if span.trace_id.hex() == trace_id
            }

        wait_until(lambda: services <= found().keys())
        return found()


def attributes(span: Span) -> dict[str, str]:
    return _text(span.attributes)


def _text(pairs: Any) -> dict[str, str]:
    return {pair.key: pair.value.string_value or str(pair.value.int_value) for pair in pairs}


def wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)

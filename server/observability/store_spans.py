"""The spans of what a call asks MongoDB: command and collection, never a value."""

from typing import Any

from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, get_current_span
from pymongo import monitoring

_COLLECTION_OF = {"getMore": "collection"}
"""Where a command has its collection, if not under its own name."""


class StoreSpans(monitoring.CommandListener):
    """Makes the spans, for either driver: both answer a command in the context that sent it."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._open: dict[tuple[int, Any], Span] = {}

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if not get_current_span().is_recording():
            return
        command = event.command_name
        collection = event.command.get(_COLLECTION_OF.get(command, command))
        attributes: dict[str, str | int] = {
            "db.system.name": "mongodb",
            "db.namespace": event.database_name,
            "db.operation.name": command,
        }
        if isinstance(collection, str):
            attributes["db.collection.name"] = collection
        host, port = event.connection_id
        attributes["server.address"] = host
        if port is not None:
            attributes["server.port"] = port
        name = f"{command} {attributes.get('db.collection.name', event.database_name)}"
        span = self._tracer.start_span(name, kind=SpanKind.CLIENT, attributes=attributes)
        self._open[event.request_id, event.connection_id] = span

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        span = self._open.pop((event.request_id, event.connection_id), None)
        if span is not None:
            span.end()

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        span = self._open.pop((event.request_id, event.connection_id), None)
        if span is not None:
            # Not the message, which may have a key's value in it.
            failure = event.failure
            span.set_attribute(
                "error.type", str(failure.get("codeName") or failure.get("errtype") or "_OTHER")
            )
            if "code" in failure:
                span.set_attribute("db.response.status_code", str(failure["code"]))
            span.set_status(Status(StatusCode.ERROR))
            span.end()

"""Traces in Envoy's configuration: the first span of each call, without what the caller sent."""

from typing import Any
from urllib.parse import urlsplit

from server.settings import Settings

JSON = dict[str, Any]

CLUSTER = "collector"
SERVICE = "rollcall-envoy"

CENSORED = ("http.url", "peer.address", "user_agent", "grpc.message")
"""What Envoy would put in by itself: path and query, the caller's address and program, an error's text."""

_TYPE = "type.googleapis.com/envoy."


def tracing(settings: Settings) -> JSON:
    """Return the connection manager's tracing; a caller's `traceparent` is the parent, and decides."""
    collector = {"envoy_grpc": {"cluster_name": CLUSTER}, "timeout": "1s"}
    provider = {
        "@type": f"{_TYPE}config.trace.v3.OpenTelemetryConfig",
        "grpc_service": collector,
        "service_name": SERVICE,
    }
    percent = {"value": settings.trace_ratio * 100}
    return {
        "random_sampling": percent,
        "provider": {"name": "envoy.tracers.opentelemetry", "typed_config": provider},
        "operation": "rollcall %METADATA(ROUTE:envoy.filters.http.lua:contract)%",
        "custom_tags": [{"tag": tag, "literal": {"value": "-"}} for tag in CENSORED],
    }


def runtime_layer() -> JSON:
    """Return when spans are sent: Envoy's own 5 s are long for who looks for a call just made."""
    return {"name": "traces", "static_layer": {"tracing.opentelemetry.flush_interval_ms": 1000}}


def collector(settings: Settings) -> JSON:
    """Return the cluster of the collector."""
    address = urlsplit(settings.otlp_endpoint or "")
    socket_address = {"address": address.hostname, "port_value": address.port}
    endpoint = {"endpoint": {"address": {"socket_address": socket_address}}}
    return {
        "name": CLUSTER,
        "type": "STRICT_DNS",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": CLUSTER, "endpoints": [{"lb_endpoints": [endpoint]}]},
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": f"{_TYPE}extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {}},
            }
        },
    }

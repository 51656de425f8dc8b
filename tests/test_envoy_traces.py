"""Envoy's configuration with a collector of traces."""

import yaml

from server.embedded.envoy import portable_config
from server.settings import Settings


def test_traces_leave_the_guard_against_rapid_resets_in_place() -> None:
    config = yaml.safe_load(portable_config(Settings(otlp_endpoint="http://127.0.0.1:4317")))
    static, traces = (layer["static_layer"] for layer in config["layered_runtime"]["layers"])
    assert static["overload.premature_reset_total_stream_count"] == 500
    assert "tracing.opentelemetry.flush_interval_ms" in traces

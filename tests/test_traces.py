"""Traces: one from Envoy through the server to MongoDB, without personal data, and at nobody's expense."""

import json
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pymongo.errors import OperationFailure
from rollcall.v1 import session_pb2, session_pb2_grpc

from server.observability.store_spans import StoreSpans
from server.observability.traces import Traces
from server.settings import SettingsError, load
from server.store import driver
from tests.collector import SECONDS, Collector, attributes, wait_until
from tests.parts import line, session
from tests.stack import ROLLCALL, Stack, running_stack
from tests.test_envoy import logged, running_proxy
from tests.test_observability import interceptors

SAMPLED, NOT_SAMPLED = "01", "00"
ALL = {"rollcall-envoy server", "rollcall server", "rollcall client"}


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    running = Collector()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory, collector: Collector) -> Iterator[Stack]:
    environment = {
        "ROLLCALL_OTLP_ENDPOINT": collector.url,
        "ROLLCALL_WORKERS": "2",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    with running_stack(tmp_path_factory.mktemp("traced") / "data", environment=environment) as stack:
        yield stack


def traceparent(flags: str) -> tuple[str, str, str]:
    """A trace of the caller's: its id, the caller's span, and the header."""
    trace, span = secrets.token_hex(16), secrets.token_hex(8)
    return trace, span, f"00-{trace}-{span}-{flags}"


def test_a_call_is_one_trace_from_the_caller_through_envoy_and_server_to_mongodb(
    traced: Stack, collector: Collector
) -> None:
    trace, parent, header = traceparent(SAMPLED)

    assert traced.get("/sessions", traced.token("ada"), headers={"traceparent": header}).status_code == 200

    spans = collector.trace(trace, ALL)
    envoy, server, store = (
        spans[name] for name in ("rollcall-envoy server", "rollcall server", "rollcall client")
    )
    assert envoy.parent_span_id.hex() == parent
    assert server.parent_span_id == envoy.span_id
    assert store.parent_span_id == server.span_id
    assert (envoy.name, server.name, store.name) == (
        "rollcall session",
        "rollcall.v1.RestService/ListSessions",
        "find sessions",
    )
    assert attributes(server)["rpc.response.status_code"] == "OK"
    assert attributes(store)["db.collection.name"] == "sessions"


def test_native_calls_have_their_trace_and_its_outcome(traced: Stack, collector: Collector) -> None:
    trace, parent, header = traceparent(SAMPLED)
    with grpc.insecure_channel(traced.grpc) as channel, pytest.raises(grpc.RpcError):
        session_pb2_grpc.SessionServiceStub(channel).ListSessions(
            session_pb2.ListSessionsRequest(), metadata=(("traceparent", header),)
        )

    server = collector.trace(trace, {"rollcall server"})["rollcall server"]
    assert server.parent_span_id.hex() == parent
    assert attributes(server)["rpc.response.status_code"] == "UNAUTHENTICATED"


def test_a_caller_that_does_not_trace_is_not_traced(traced: Stack, collector: Collector) -> None:
    unseen, _, header = traceparent(NOT_SAMPLED)
    seen, _, later = traceparent(SAMPLED)
    for each in (header, later):
        traced.get("/sessions", traced.token("ada"), headers={"traceparent": each})

    collector.trace(seen, ALL)
    assert unseen not in {span.trace_id.hex() for _, span in collector.spans()}


def test_the_servers_log_has_the_trace_id(traced: Stack, collector: Collector) -> None:
    name = traced.get("/sessions", traced.token("ada")).headers["x-request-id"]

    def lines() -> list[dict[str, Any]]:
        text = (traced.folder / "server.log").read_text()
        return [json.loads(line) for line in text.splitlines() if name in line]

    wait_until(lambda: bool(lines()))
    [line] = lines()
    spans = collector.trace(line["trace_id"], ALL)
    assert attributes(spans["rollcall-envoy server"])["guid:x-request-id"] == name


def test_envoys_access_log_has_the_trace_id(
    traced: Stack, collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROLLCALL_OTLP_ENDPOINT", collector.url)
    trace, _, header = traceparent(SAMPLED)
    with running_proxy(tmp_path, traced.settings.grpc_port) as proxy:
        assert logged(proxy, proxy.get("/sessions", traceparent=header))["trace_id"] == trace


def test_no_span_has_personal_data(traced: Stack, collector: Collector) -> None:
    traced.load(line("session", session(situation="private-text"), developer_id="private-tenant"))
    token = traced.token(
        "private-user", "private-tenant", client_id="private-client", permissions=["USE_ROBOTS"]
    )
    trace, _, header = traceparent(SAMPLED)
    headers = {
        "traceparent": header,
        "cookie": "a=private-cookie",
        "user-agent": "private-agent",
        "x-client-trace-id": "private-trace",
    }
    for path in (
        "/sessions?metadata_filter.a=private-query",
        "/robots/sessions/private-id",
        "/v1/sessions/private-key",
        "/private-path/of-nobody",
    ):
        traced.get(path, token, headers=headers)
    with grpc.insecure_channel(traced.envoy_grpc) as channel, pytest.raises(grpc.RpcError):
        session_pb2_grpc.SessionServiceStub(channel).GetSession(
            session_pb2.GetSessionRequest(id="private-native"),
            metadata=(("traceparent", header), ("authorization", f"Bearer {token}")),
        )

    def of_envoy() -> int:
        ours = [name for name, span in collector.spans() if span.trace_id.hex() == trace]
        return ours.count("rollcall-envoy")

    wait_until(lambda: of_envoy() == 5)
    text = "\n".join(str(each) for each in collector.received)
    assert "private" not in text
    assert token not in text
    for span in (span for name, span in collector.spans() if name == "rollcall-envoy"):
        assert attributes(span)["peer.address"] == "-"


def test_health_checks_are_not_traced(traced: Stack, collector: Collector) -> None:
    # Envoy has made several before this.
    trace, _, header = traceparent(SAMPLED)
    traced.get("/sessions", traced.token("ada"), headers={"traceparent": header})
    collector.trace(trace, ALL)
    assert not [span.name for _, span in collector.spans() if "health" in span.name.lower()]


def test_a_collector_that_is_away_disturbs_no_call_and_is_logged_once(
    traced: Stack, collector: Collector
) -> None:
    log = traced.folder / "server.log"
    token = traced.token("ada")

    def calls_and_finds(said: str) -> bool:
        assert traced.get("/sessions", token).status_code == 200
        return said in log.read_text()

    collector.stop()
    try:
        wait_until(lambda: calls_and_finds("the collector does not take traces"))
        assert [traced.get("/sessions", token).status_code for _ in range(20)] == [200] * 20
    finally:
        collector.start()
    wait_until(lambda: calls_and_finds("the collector takes traces"))
    # Envoy's connection leads to one of the workers.
    assert log.read_text().count("the collector does not take traces") == 1
    assert "opentelemetry" not in log.read_text()


def test_the_last_spans_are_sent_at_the_stop(collector: Collector) -> None:
    traces = Traces(load(otlp_endpoint=collector.url))
    with traces.tracer.start_as_current_span("the last one"):
        pass
    traces.stop()
    assert "the last one" in [span.name for _, span in collector.spans()]


def test_the_stop_does_not_wait_for_a_collector_that_is_silent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        traces = Traces(load(otlp_endpoint=f"http://127.0.0.1:{silent.getsockname()[1]}"))
        for _ in range(2000):
            traces.tracer.start_span("one of four batches").end()
        traces.stop()  # or the test's time is over


@pytest.mark.parametrize("name", ["motor", "pymongo"])
async def test_each_driver_reports_command_and_collection_but_no_value(stack: Stack, name: str) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    settings = stack.settings.model_copy(update={"mongodb_driver": name})
    connection = driver.connect(settings, [StoreSpans(tracer)])
    try:
        await connection.database["traced"].find_one({"secret": 1})
        with tracer.start_as_current_span("call") as call:
            await connection.database["traced"].find({"secret": "of-theirs"}).to_list(1)
            with pytest.raises(OperationFailure):
                await connection.database["traced"].find({"$secret": "of-theirs"}).to_list(1)
    finally:
        await connection.close()

    *finds, _ = exporter.get_finished_spans()
    assert [span.name for span in finds] == ["find traced"] * 2
    assert {span.parent.span_id for span in finds if span.parent} == {call.get_span_context().span_id}
    assert [(span.attributes or {}).get("error.type") for span in finds] == [None, "BadValue"]
    assert "secret" not in "".join(span.to_json() for span in finds)
    assert "of-theirs" not in "".join(span.to_json() for span in finds)


def test_without_the_setting_no_call_passes_a_tracer_and_the_libraries_are_not_loaded() -> None:
    assert interceptors() == ["mask", "message", "observe"]
    loaded = (
        "import sys, server.app, server.cli; print([m for m in sys.modules if m.startswith('opentelemetry')])"
    )
    shown = subprocess.run([sys.executable, "-c", loaded], capture_output=True, check=True, timeout=SECONDS)
    assert shown.stdout == b"[]\n"


def test_without_the_extra_the_setting_stops_the_start_with_what_to_do(stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "opentelemetry.py").touch()
    environment = stack.environment | {
        "PYTHONPATH": str(tmp_path),
        "ROLLCALL_OTLP_ENDPOINT": "http://127.0.0.1:4317",
    }
    done = subprocess.run(
        [ROLLCALL, "serve"], env=environment, capture_output=True, check=False, timeout=SECONDS
    )
    assert done.returncode == 2
    assert b"ROLLCALL_OTLP_ENDPOINT needs the extra otel: pip install 'rollcall[otel]'" in done.stderr


@pytest.mark.parametrize(
    "value", ["https://c.example:4317", "c.example:4317", "http://c.example", "http://u:p@c:1"]
)
def test_an_endpoint_that_is_not_one_is_refused(value: str) -> None:
    with pytest.raises(SettingsError, match="ROLLCALL_OTLP_ENDPOINT"):
        load(otlp_endpoint=value)

"""Logs and metrics: what operators see of a call, and what they must not."""

import asyncio
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import trustme
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from rollcall.v1 import session_pb2, session_pb2_grpc

from server.admission import Capacity, Gate
from server.first_message import FirstMessage
from server.interceptors import chain, counting
from server.observability.activity import FOLDER_VARIABLE
from server.observability.metrics import Workers, call_metrics
from server.observability.store_pool import StorePool
from server.observability.supervised import Supervised
from server.records.caller import READ
from server.settings import Settings
from server.store import driver
from tests.parts import wait_until
from tests.stack import Stack, free_port, running_stack

WORKERS = 2
LIMIT = 30
LOOKUPS = "rollcall_credential_lookups_total"


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, str]]:
    """A service whose metrics are served, and their URL."""
    port = free_port()
    environment = {
        "ROLLCALL_METRICS_PORT": str(port),
        "ROLLCALL_WORKERS": str(WORKERS),
        "ROLLCALL_RATE_LIMIT": f"{LIMIT}/hour",
    }
    with running_stack(tmp_path_factory.mktemp("watched") / "data", environment=environment) as stack:
        yield stack, f"http://127.0.0.1:{port}/metrics"


def calls(metrics: str, method: str, code: str) -> float:
    text = httpx.get(metrics).text
    return sample(
        text, "rollcall_calls_total", code=code, contract="session", method=f"/rollcall.v1.{method}"
    )


def sample(text: str, name: str, **labels: str) -> float:
    """The value of a metric; 0 if it is not there."""
    for family in text_string_to_metric_families(text):
        for each in family.samples:
            if each.name == name and each.labels == labels:
                return float(each.value)
    return 0


def log_lines(stack: Stack) -> list[dict[str, Any]]:
    log = next(stack.folder.glob("server.log"), None) or next(stack.folder.glob("serve*.log"))
    return [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]


def interceptors() -> list[str]:
    """The names of the server's interceptors without traces."""
    metrics = call_metrics()
    gate = Gate(Capacity(1, 1, 1.0, 1), metrics)
    return [each.name for each in chain(counting(metrics), FirstMessage(gate, (), counting(metrics)))]


def test_interceptors_stand_in_their_order() -> None:
    assert interceptors() == ["mask", "message", "observe"]


def test_calls_of_all_workers_are_counted_by_method_and_code(watched: tuple[Stack, str]) -> None:
    stack, metrics = watched
    token = stack.token("ada")
    before = [calls(metrics, "RestService/ListSessions", code) for code in ("OK", "INVALID_ARGUMENT")]
    for _ in range(20):
        assert stack.get("/sessions", token).status_code == 200
    for _ in range(5):
        assert stack.get("/sessions?limit=x", token).status_code == 422
    after = [calls(metrics, "RestService/ListSessions", code) for code in ("OK", "INVALID_ARGUMENT")]
    assert [now - then for now, then in zip(after, before, strict=True)] == [20, 5]


def test_durations_open_calls_lag_and_readiness_are_there(watched: tuple[Stack, str]) -> None:
    stack, metrics = watched
    stack.get("/session", stack.token("ada"))
    text = httpx.get(metrics).text
    for name in ("call_seconds_bucket", "open_calls", "loop_lag_seconds"):
        assert f"rollcall_{name}" in text
    assert sample(text, "rollcall_store_ready") == 1


def await_sample(metrics: str, least: float, name: str, **labels: str) -> None:
    end = time.monotonic() + 20
    while sample(httpx.get(metrics).text, name, **labels) < least:
        assert time.monotonic() < end, httpx.get(metrics).text
        time.sleep(0.1)


def test_credentials_are_counted_by_whether_they_were_known(watched: tuple[Stack, str]) -> None:
    stack, metrics = watched
    token = stack.token("metered")
    labels = {"cache": "jwt"}
    known = sample(httpx.get(metrics).text, LOOKUPS, **labels, result="hit")
    for _ in range(12):
        stack.get("/session", token)
    # Each worker meets the token once.
    await_sample(metrics, known + 10, LOOKUPS, **labels, result="hit")
    await_sample(metrics, 1, LOOKUPS, **labels, result="miss")


def test_connections_to_mongodb_are_counted(watched: tuple[Stack, str]) -> None:
    _, metrics = watched
    taken = sample(httpx.get(metrics).text, "rollcall_store_checkouts_total", result="ok")
    # Readiness asks MongoDB each second.
    await_sample(metrics, taken + 2, "rollcall_store_checkouts_total", result="ok")
    await_sample(metrics, 1, "rollcall_store_connections", state="idle")


def test_pages_have_connections_beside_the_drivers(watched: tuple[Stack, str]) -> None:
    stack, metrics = watched
    for _ in range(10):
        assert stack.get("/sessions", stack.token("bob")).status_code == 200
    await_sample(metrics, 1, "rollcall_store_connections", state="direct")


def test_calls_that_a_rate_limit_refuses_are_counted(watched: tuple[Stack, str]) -> None:
    stack, metrics = watched
    token = stack.token("greedy")
    # Each worker counts for itself.
    assert 429 in [stack.get("/session", token).status_code for _ in range(WORKERS * LIMIT + 1)]
    await_sample(metrics, 1, "rollcall_limited_calls_total", whose="caller")


def test_each_worker_tells_the_activity_of_all(watched: tuple[Stack, str]) -> None:
    stack, _ = watched
    reader = stack.token("reader", scopes=[READ])
    credentials = (("authorization", f"Bearer {stack.token('native', scopes=[READ])}"),)

    def counted() -> int:
        answer: dict[str, Any] = stack.get("/activity", reader).json()
        return sum(point["calls"] for point in answer["points"])

    before = counted()
    for _ in range(20):  # connections, which the workers share
        with grpc.insecure_channel(stack.grpc, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            stub = session_pb2_grpc.SessionServiceStub(channel)
            stub.ListSessions(session_pb2.ListSessionsRequest(), metadata=credentials)
    end = time.monotonic() + 20
    while counted() < before + 20:
        assert time.monotonic() < end
        time.sleep(1)


def test_a_folder_that_cannot_be_written_costs_no_other_measure(watched: tuple[Stack, str]) -> None:
    stack, metrics = watched
    folder = Path(stack.part("serve").children()[0].environ()[FOLDER_VARIABLE])
    aside = folder.rename(folder.with_name(f"{folder.name}-aside"))
    try:
        # Each worker says so, at the end of the same five seconds.
        wait_until(
            lambda: [line["event"] for line in log_lines(stack)].count("a measure failed") >= WORKERS, 20
        )
        taken = sample(httpx.get(metrics).text, "rollcall_store_checkouts_total", result="ok")
        await_sample(metrics, taken + 2 * WORKERS, "rollcall_store_checkouts_total", result="ok")
    finally:
        aside.rename(folder)


def test_a_worker_that_dies_is_counted(watched: tuple[Stack, str]) -> None:
    stack, metrics = watched
    await_sample(metrics, WORKERS, "rollcall_workers")
    restarts = sample(httpx.get(metrics).text, "rollcall_worker_restarts_total")
    stack.part("serve").children()[0].kill()
    await_sample(metrics, restarts + 1, "rollcall_worker_restarts_total")
    await_sample(metrics, WORKERS, "rollcall_workers")


@pytest.mark.parametrize("name", ["motor", "pymongo"])
async def test_each_driver_reports_its_connections(stack: Stack, name: str) -> None:
    pool = StorePool()
    settings = stack.settings.model_copy(update={"mongodb_driver": name})
    connection = driver.connect(settings, [pool])
    try:
        finds = [connection.database["pooled"].find_one({"a": number}) for number in range(4)]
        await asyncio.gather(*finds)
        assert pool.taken == 4
        assert 1 <= pool.open <= 4
        assert (pool.in_use, pool.waiting, pool.failed) == (0, 0, 0)
        assert pool.waited_seconds > 0
    finally:
        await connection.close()
    assert pool.open == 0


def test_metrics_say_when_certificates_expire(tmp_path: Path) -> None:
    cert = tmp_path / "cert.pem"
    made = trustme.CA().issue_cert("localhost", not_after=datetime(2027, 1, 2, tzinfo=UTC))
    cert.write_bytes(made.cert_chain_pems[0].bytes())
    settings = Settings(rest_tls_cert=cert, rest_tls_key=cert)
    registry = CollectorRegistry()
    registry.register(Supervised(Workers(alive=1), settings))
    text = generate_latest(registry).decode()
    expiry = datetime(2027, 1, 2, tzinfo=UTC).timestamp()
    assert (
        sample(text, "rollcall_certificate_expiry_timestamp_seconds", certificate="rest_tls_cert") == expiry
    )
    cert.write_text("half a certificate")
    assert b"rest_tls_cert" not in generate_latest(registry)


def test_a_call_is_one_line_without_personal_data(watched: tuple[Stack, str]) -> None:
    stack, _ = watched
    token = stack.token("a-person", "a-tenant")
    answer = stack.get("/sessions?limit=1&metadata_filter.secret=of-theirs", token)
    lines = [line for line in log_lines(stack) if line.get("request_id") == answer.headers["x-request-id"]]
    assert [(line["event"], line["method"], line["code"]) for line in lines] == [
        ("call", "/rollcall.v1.RestService/ListSessions", "OK")
    ]
    log = "\n".join(json.dumps(line) for line in log_lines(stack))
    for private in (token, "a-person", "a-tenant", "of-theirs"):
        assert private not in log


def test_a_metrics_port_in_use_stops_the_start(watched: tuple[Stack, str], tmp_path: Path) -> None:
    _, metrics = watched
    port = httpx.URL(metrics).port
    with (
        pytest.raises(AssertionError, match="ROLLCALL_METRICS_PORT: cannot listen on"),
        running_stack(tmp_path / "data", environment={"ROLLCALL_METRICS_PORT": str(port)}),
    ):
        pass

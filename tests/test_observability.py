"""Logs and metrics: what operators see of a call, and what they must not."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from server.interceptors import chain
from server.observability.metrics import call_metrics
from tests.stack import Stack, free_port, running_stack

WORKERS = 2


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, str]]:
    """A service whose metrics are served, and their URL."""
    port = free_port()
    environment = {"ROLLCALL_METRICS_PORT": str(port), "ROLLCALL_WORKERS": str(WORKERS)}
    with running_stack(tmp_path_factory.mktemp("watched") / "data", environment=environment) as stack:
        yield stack, f"http://127.0.0.1:{port}/metrics"


def calls(metrics: str, method: str, code: str) -> float:
    text = httpx.get(metrics).text
    labels = re.escape(f'{{code="{code}",method="/rollcall.v1.{method}"}}')
    found = re.search(rf"^rollcall_calls_total{labels} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0


def log_lines(stack: Stack) -> list[dict[str, Any]]:
    log = next(stack.folder.glob("server.log"), None) or next(stack.folder.glob("serve*.log"))
    return [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]


def test_interceptors_stand_in_their_order() -> None:
    assert [interceptor.name for interceptor in chain(call_metrics())] == ["mask", "observe"]


def test_calls_of_all_workers_are_counted_by_method_and_code(watched: tuple[Stack, str]) -> None:
    stack, metrics = watched
    token = stack.token("ada")
    before = [calls(metrics, "RestService/ListSessions", code) for code in ("OK", "INVALID_ARGUMENT")]
    for _ in range(40):
        assert stack.get("/sessions", token).status_code == 200
    for _ in range(10):
        assert stack.get("/sessions?limit=x", token).status_code == 422
    after = [calls(metrics, "RestService/ListSessions", code) for code in ("OK", "INVALID_ARGUMENT")]
    assert [now - then for now, then in zip(after, before, strict=True)] == [40, 10]


def test_durations_open_calls_lag_and_readiness_are_there(watched: tuple[Stack, str]) -> None:
    stack, metrics = watched
    stack.get("/session", stack.token("ada"))
    text = httpx.get(metrics).text
    for name in ("call_seconds_bucket", "open_calls", "loop_lag_seconds", "store_ready"):
        assert f"rollcall_{name}" in text
    assert "\nrollcall_store_ready 1.0\n" in text


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

"""The dashboard and the alerts ask for what a running server and its Envoy expose."""

import asyncio
import json
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import yaml
from rollcall.v1 import session_pb2, session_pb2_grpc

from server.app import running
from server.observability import metrics, pulse
from tests.edge.proxies import running_edge
from tests.promql import Exposed, exposed, unknown
from tests.stack import PLAIN, Stack, free_port

FOLDER = Path(__file__).parent.parent / "deploy" / "observability"
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
GUIDE = (FOLDER.parent / "README.md").read_text()
ALERTS = FOLDER / "alerts.yaml"
RULES: list[dict[str, Any]] = yaml.safe_load(ALERTS.read_text())["groups"][0]["rules"]
VARIABLES = {"$__rate_interval": "5m", "$job": ".*"}
QUERIES = {
    **{panel["title"]: [target["expr"] for target in panel["targets"]] for panel in PANELS},
    **{rule["alert"]: [rule["expr"]] for rule in RULES},
}
PROMTOOL = shutil.which("promtool")


@pytest.fixture(scope="module")
def of_envoy(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exposed]:
    """What Envoy exposes after a call."""
    with running_edge(stack, tmp_path_factory.mktemp("envoy")) as edge:
        assert edge.answers()
        yield exposed(httpx.get(edge.metrics, verify=PLAIN).text)


@pytest.fixture(scope="module")
async def known(stack: Stack, of_envoy: Exposed) -> AsyncIterator[Exposed]:
    """What a server exposes after a call, and what Envoy does."""
    changes = {"grpc_port": free_port(), "metrics_port": free_port(), "drain_seconds": 0}
    settings = stack.settings.model_copy(update=changes)
    credentials = (("authorization", f"Bearer {stack.token('ada')}"),)
    with metrics.served(settings, for_workers=False):
        async with running(settings), grpc.aio.insecure_channel(f"127.0.0.1:{settings.grpc_port}") as channel:
            await session_pb2_grpc.SessionServiceStub(channel).ListSessions(
                session_pb2.ListSessionsRequest(), metadata=credentials, wait_for_ready=True
            )
            await asyncio.sleep(2 * pulse.INTERVAL_SECONDS)
            async with httpx.AsyncClient() as client:
                answer = await client.get(f"http://127.0.0.1:{settings.metrics_port}/metrics")
            yield exposed(answer.text) | of_envoy


@pytest.mark.parametrize("title", QUERIES)
def test_a_query_asks_for_what_there_is(title: str, known: Exposed) -> None:
    for query in QUERIES[title]:
        for variable, value in VARIABLES.items():
            query = query.replace(variable, value)  # noqa: PLW2901 # step by step
        assert unknown(query, known) == []


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("sum(rate(rollcall_call_total[5m]))", "rollcall_call_total"),
        ('rollcall_calls_total{status="OK"}', "rollcall_calls_total: status"),
        ('rollcall_calls_total{code="GOOD"}', "rollcall_calls_total: code=GOOD"),
        ("sum by (path) (rollcall_workers)", "by path"),
    ],
)
def test_a_query_for_what_is_not_there_is_found(query: str, problem: str, known: Exposed) -> None:
    assert unknown(query, known) == [problem]


def test_the_guide_has_every_metric_and_its_labels(known: Exposed) -> None:
    told = {}
    for row in re.findall(r"^\| `(rollcall_\w+)` \| (.*?) \|", GUIDE, re.MULTILINE):
        told[row[0]] = set(re.findall(r"`(\w+)`", row[1]))
    ours: dict[str, set[str]] = {}
    for name, labels in known.items():
        if name.startswith("rollcall_"):
            base = re.sub(r"_seconds_(bucket|sum|count)$", "_seconds", name)
            ours[base] = ours.get(base, set()) | (set(labels) - {"le"})
    assert told == ours
    asked = "\n".join(query for queries in QUERIES.values() for query in queries)
    assert [name for name in told if name not in asked] == []


def test_the_guide_has_every_metric_of_envoy_that_is_asked_for(known: Exposed) -> None:
    rows = re.findall(r"^\| `(envoy_\w+)` \|(.*?)\|", GUIDE, re.MULTILINE)
    told = {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows}
    asked = "\n".join(query for queries in QUERIES.values() for query in queries)
    assert told == {name: set(known[name]) for name in re.findall(r"\b(envoy_\w+)\{", asked)}


def test_panels_are_whole_and_beside_each_other() -> None:
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken, panel["title"]
        assert all(x < 24 for x, _ in cells)
        taken |= cells
    variables = {each["name"] for each in DASHBOARD["templating"]["list"]}
    for panel in PANELS:
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["fieldConfig"]["defaults"]["unit"]
    assert variables == {"datasource", "job"}


def test_alerts_say_what_is_wrong_and_how_bad() -> None:
    assert len({rule["alert"] for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert rule["annotations"].keys() == {"summary", "description"}


@pytest.mark.skipif(PROMTOOL is None, reason="THE ALERTS ARE NOT LOADED: apt-get install prometheus")
def test_prometheus_loads_the_alerts() -> None:
    checked = subprocess.run(
        [PROMTOOL or "", "check", "rules", ALERTS], capture_output=True, text=True, check=False, timeout=60
    )
    assert checked.returncode == 0, checked.stderr
    assert f"{len(RULES)} rules found" in checked.stdout

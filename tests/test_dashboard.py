"""The dashboard and the alerts ask for what a running server exposes."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.promql import Exposed, exposed, unknown
from tests.stack import Stack, free_port, running_stack

FOLDER = Path(__file__).parent.parent / "deploy" / "observability"
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
ALERTS = FOLDER / "alerts.yaml"
RULES: list[dict[str, Any]] = yaml.safe_load(ALERTS.read_text())["groups"][0]["rules"]
VARIABLES = {"$__rate_interval": "5m", "$job": ".*"}
QUERIES = {
    **{panel["title"]: [target["expr"] for target in panel["targets"]] for panel in PANELS},
    **{rule["alert"]: [rule["expr"]] for rule in RULES},
}
PROMTOOL = shutil.which("promtool")


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exposed]:
    """What a server exposes after a good call and a bad one."""
    port = free_port()
    environment = {"ROLLCALL_METRICS_PORT": str(port)}
    with running_stack(tmp_path_factory.mktemp("dashboard") / "data", environment=environment) as stack:
        yield scraped(stack, port)


def scraped(stack: Stack, port: int) -> Exposed:
    assert stack.get("/session", stack.token("ada")).status_code == 200
    return exposed(httpx.get(f"http://127.0.0.1:{port}/metrics").text)


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


def test_every_metric_of_ours_is_on_the_dashboard_or_in_an_alert(known: Exposed) -> None:
    asked = "\n".join(query for queries in QUERIES.values() for query in queries)
    ours = {name for name in known if name.startswith("rollcall_") and not name.endswith("_created")}
    plain = {name.removesuffix("_sum").removesuffix("_count") for name in ours if "call_seconds" not in name}
    assert {name for name in plain if name not in asked} == set()


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

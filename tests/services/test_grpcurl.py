"""The real grpcurl, which knows the services by reflection alone: no proto file is given to it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from server.app import SERVICES
from tests.services import kit
from tests.services.kit import Caller
from tests.stack import Stack

GRPCURL = str(Path(sys.executable).with_name("grpcurl"))
HEALTH = "grpc.health.v1.Health"
TYPED = [name for name in SERVICES if not name.endswith("RestService")]

pytestmark = pytest.mark.parametrize("through", ["server", "proxy"])


class Grpcurl:
    """Runs grpcurl against one of the front doors, as one caller."""

    def __init__(self, stack: Stack, through: str, token: str | None) -> None:
        self._address = stack.grpc if through == "server" else stack.envoy_grpc
        self._options = [] if token is None else ["-H", f"authorization: Bearer {token}"]

    def run(self, *arguments: str, data: Any = None, options: tuple[str, ...] = ()) -> Any:
        command = [
            GRPCURL,
            "-plaintext",
            "-connect-timeout",
            "10",
            "-max-time",
            "20",
            *self._options,
            *options,
        ]
        if data is not None:
            command += ["-d", json.dumps(data)]
        return subprocess.run(
            [*command, self._address, *arguments], capture_output=True, text=True, check=False, timeout=60
        )

    def lines(self, *arguments: str) -> list[str]:
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr
        return str(done.stdout).split("\n")

    def call(self, method: str, data: Any = None) -> Any:
        done = self.run(method, data={} if data is None else data)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def who(stack: Stack) -> Caller:
    return kit.writer(stack)


@pytest.fixture
def grpcurl(stack: Stack, through: str, who: Caller) -> Grpcurl:
    return Grpcurl(stack, through, who.token)


def test_services_are_listed_and_described_without_credentials(stack: Stack, through: str) -> None:
    nobody = Grpcurl(stack, through, None)
    assert {*SERVICES, HEALTH} <= set(nobody.lines("list"))
    for service in TYPED:
        methods = nobody.lines("list", service)
        described = "\n".join(nobody.lines("describe", service))
        assert all(method.rpartition(".")[2] in described for method in methods)
    message = "\n".join(nobody.lines("describe", "rollcall.v1.Session"))
    assert "metadata" in message


def test_each_services_list_is_answered(grpcurl: Grpcurl) -> None:
    for method in (
        "UserSessionService/ListUserSessions",
        "SessionService/ListSessions",
        "RobotService/ListRobots",
        "RobotService/ListRobotSessions",
        "AgentSessionService/ListAgentSessions",
        "AgentSessionService/ListAgents",
    ):
        assert isinstance(grpcurl.call(f"rollcall.v1.{method}", {"page_size": 1}), dict)


def test_a_record_is_created_read_changed_and_deleted(grpcurl: Grpcurl, who: Caller) -> None:
    service = "rollcall.v1.SessionService"
    session = {"situation": "s", "metadata": {"plan": "pro"}, "token_budget": 7}
    made = grpcurl.call(f"{service}/CreateSession", {"session": session})
    assert {name: made[name] for name in session} == session
    key = {"id": made["id"]}
    assert grpcurl.call(f"{service}/GetSession", key) == made
    listed = grpcurl.call(f"{service}/ListSessions", {"metadataFilter": {"plan": "pro"}})
    assert listed["sessions"] == [made]
    change = {
        "session": key | {"situation": "t", "etag": made["etag"]},
        "update_mask": {"paths": ["situation"]},
    }
    changed = grpcurl.call(f"{service}/UpdateSession", change)
    assert (changed["situation"], changed["token_budget"]) == ("t", 7)
    assert grpcurl.call(f"{service}/DeleteSession", key) == changed
    batch = {"requests": [{"session": {}}, {"session": {"situation": "x"}}]}
    assert len(grpcurl.call(f"{service}/BatchCreateSessions", batch)["sessions"]) == 2
    assert len(kit.SESSION.walk(who)) == 2


def test_an_error_is_shown_with_its_code_and_details(stack: Stack, grpcurl: Grpcurl, through: str) -> None:
    for method, data, code, words in (
        ("SessionService/GetSession", {"id": kit.uid()}, "NotFound", ["RECORD_NOT_FOUND", "ResourceInfo"]),
        ("SessionService/ListSessions", {"pageSize": -1}, "InvalidArgument", ["BadRequest", "page_size"]),
        ("SessionService/ListSessions", {"pageToken": "x"}, "InvalidArgument", ["PAGE_TOKEN_INVALID"]),
        ("SessionService/CreateSession", {"session": {"id": "x"}}, "InvalidArgument", ["session.id"]),
    ):
        done = grpcurl.run(f"rollcall.v1.{method}", data=data)
        assert done.returncode
        assert f"Code: {code}" in done.stderr
        assert [word for word in words if word not in done.stderr] == []
    done = Grpcurl(stack, through, None).run("rollcall.v1.SessionService/ListSessions", data={})
    assert "Code: Unauthenticated" in done.stderr


def test_health_is_told_per_service_without_credentials(stack: Stack, through: str) -> None:
    nobody = Grpcurl(stack, through, None)
    for service in ("", *SERVICES):
        assert nobody.call(f"{HEALTH}/Check", {"service": service}) == {"status": "SERVING"}
    done = nobody.run(f"{HEALTH}/Check", data={"service": "rollcall.v1.Nothing"})
    assert "Code: NotFound" in done.stderr


def test_health_is_watched(stack: Stack, through: str) -> None:
    nobody = Grpcurl(stack, through, None)
    for service, status in (
        ("rollcall.v1.SessionService", "SERVING"),
        ("rollcall.v1.Nothing", "SERVICE_UNKNOWN"),
    ):
        done = nobody.run(f"{HEALTH}/Watch", data={"service": service}, options=("-max-time", "1"))
        assert json.loads(done.stdout) == {"status": status}
        assert "Code: DeadlineExceeded" in done.stderr

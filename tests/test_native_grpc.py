"""Native gRPC through Envoy's port is the same as on the server's own."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.api.httpbody_pb2 import HttpBody
from google.protobuf import json_format
from grpc_health.v1 import health_pb2, health_pb2_grpc
from rollcall.v1 import rest_pb2, rest_pb2_grpc

from tests.parts import (
    ROBOTS,
    SCOPE,
    agent_line,
    agent_session,
    line,
    moment,
    robot_session,
    session,
    uid,
    user_session,
    xid,
)
from tests.stack import Stack

GRPCURL = str(Path(sys.executable).with_name("grpcurl"))
SECONDS = 15
PORTS = ("server", "envoy")
USER = "native"
SESSIONS = [session(id=uid(900 + number), created_at=moment(number)) for number in range(5)]
ROBOT_SESSION = robot_session(id=xid(900))

CALLS: dict[str, Any] = {
    "ListUserSessions": rest_pb2.ListUserSessionsRestRequest(),
    "ListSessions": rest_pb2.ListSessionsRestRequest(limit=["2"], direction=["asc"]),
    "ListRobotSessions": rest_pb2.ListRobotSessionsRestRequest(page=["1"]),
    "GetRobotSession": rest_pb2.GetRobotSessionRestRequest(id=xid(900)),
    "ListRobots": rest_pb2.ListRobotsRestRequest(page=["7"]),
    "ListAllAgentSessions": rest_pb2.ListAllAgentSessionsRestRequest(preview=["true"], page_size=["9"]),
}
REFUSED: dict[str, tuple[Any, grpc.StatusCode, int]] = {
    "ListSessions": (rest_pb2.ListSessionsRestRequest(limit=["abc"]), grpc.StatusCode.INVALID_ARGUMENT, 422),
    "ListRobotSessions": (
        rest_pb2.ListRobotSessionsRestRequest(account_id=["x"]),
        grpc.StatusCode.INVALID_ARGUMENT,
        400,
    ),
    "GetRobot": (rest_pb2.GetRobotRestRequest(id="\u00e9"), grpc.StatusCode.NOT_FOUND, 404),
    "ListAllAgentSessions": (
        rest_pb2.ListAllAgentSessionsRestRequest(),
        grpc.StatusCode.INVALID_ARGUMENT,
        400,
    ),
}


@pytest.fixture(scope="module")
def loaded(stack: Stack) -> Stack:
    stack.load(
        line("user_session", user_session(uuid="n"), user_id=USER),
        *(line("session", body, developer_id=USER) for body in SESSIONS),
        line("robot_session", ROBOT_SESSION),
        agent_line("native", f"user:{USER}"),
        line("agent_session", agent_session("native", "native"), user_id=USER, client_id="c"),
    )
    return stack


@pytest.fixture(scope="module", params=PORTS)
def target(request: pytest.FixtureRequest, loaded: Stack) -> str:
    return loaded.grpc if request.param == "server" else loaded.envoy_grpc


@pytest.fixture(scope="module")
def channels(loaded: Stack) -> Iterator[tuple[grpc.Channel, grpc.Channel]]:
    """The server's own port, and Envoy's."""
    options = [("grpc.enable_http_proxy", 0), ("grpc.max_receive_message_length", -1)]
    with (
        grpc.insecure_channel(loaded.grpc, options) as direct,
        grpc.insecure_channel(loaded.envoy_grpc, options) as proxied,
    ):
        yield direct, proxied


def credentials(stack: Stack) -> list[tuple[str, str]]:
    token = stack.token(USER, scopes=[SCOPE], permissions=[ROBOTS], client_id="c")
    return [("authorization", f"Bearer {token}")]


def call(channel: grpc.Channel, name: str, request: Any, metadata: list[tuple[str, str]]) -> list[HttpBody]:
    """Return the messages of a call of RestService, streamed or not."""
    method = getattr(rest_pb2_grpc.RestServiceStub(channel), name)
    answer = method(request, metadata=metadata, timeout=SECONDS)
    return [answer] if isinstance(answer, HttpBody) else list(answer)


def error_of(channel: grpc.Channel, name: str, request: Any, metadata: list[tuple[str, str]]) -> Any:
    """Return the code, the text and the contract's own error of a call that fails."""
    with pytest.raises(grpc.RpcError) as caught:
        call(channel, name, request, metadata)
    error: Any = caught.value
    trailers = {key: value for key, value in error.trailing_metadata() if key.startswith("x-")}
    body = json.loads(trailers.pop("x-error-body", "{}"))
    for volatile in ("trace_id", "errorInstanceId"):
        body.pop(volatile, None)
    return error.code(), error.details(), trailers, body


@pytest.mark.parametrize("name", CALLS)
def test_a_call_through_envoy_returns_what_the_server_returns(
    loaded: Stack, channels: tuple[grpc.Channel, grpc.Channel], name: str
) -> None:
    direct, proxied = (call(channel, name, CALLS[name], credentials(loaded)) for channel in channels)
    assert direct == proxied
    assert {message.content_type for message in direct} == {"application/json"}
    assert json.loads(b"".join(message.data for message in direct))


def test_a_stub_reads_the_parameters_that_rest_reads(
    loaded: Stack, channels: tuple[grpc.Channel, grpc.Channel]
) -> None:
    for channel in channels:
        messages = call(channel, "ListSessions", CALLS["ListSessions"], credentials(loaded))
        assert json.loads(b"".join(message.data for message in messages)) == {"items": SESSIONS[:2]}


@pytest.mark.parametrize("name", REFUSED)
def test_an_error_through_envoy_is_the_server_s(
    loaded: Stack, channels: tuple[grpc.Channel, grpc.Channel], name: str
) -> None:
    request, code, status = REFUSED[name]
    direct, proxied = (error_of(channel, name, request, credentials(loaded)) for channel in channels)
    assert direct == proxied
    assert direct[0] == code
    assert direct[2]["x-http-status"] == str(status)
    assert direct[3]


@pytest.mark.parametrize("name", CALLS)
def test_a_call_without_credentials_is_unauthenticated(
    channels: tuple[grpc.Channel, grpc.Channel], name: str
) -> None:
    direct, proxied = (error_of(channel, name, CALLS[name], []) for channel in channels)
    assert direct == proxied
    assert direct[0] == grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize("path", ["/rollcall.v1.RestService/Nope", "/no.Such/Method", "/x"])
def test_a_method_that_is_not_there_is_unimplemented(
    channels: tuple[grpc.Channel, grpc.Channel], path: str
) -> None:
    for channel in channels:
        unknown: Any = channel.unary_unary(path)
        with pytest.raises(grpc.RpcError) as caught:
            unknown(b"", timeout=SECONDS)
        error: Any = caught.value
        assert error.code() == grpc.StatusCode.UNIMPLEMENTED


def test_a_deadline_is_kept_on_both_ports(loaded: Stack, channels: tuple[grpc.Channel, grpc.Channel]) -> None:
    for channel in channels:
        stub: Any = rest_pb2_grpc.RestServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.ListRobots(rest_pb2.ListRobotsRestRequest(), metadata=credentials(loaded), timeout=0.000_001)
        error: Any = caught.value
        assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED


@pytest.mark.parametrize("service", ["", "rollcall.v1.RestService"])
def test_health_is_serving_on_both_ports(channels: tuple[grpc.Channel, grpc.Channel], service: str) -> None:
    request = health_pb2.HealthCheckRequest(service=service)
    for channel in channels:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        assert stub.Check(request, timeout=SECONDS).status == health_pb2.HealthCheckResponse.SERVING
        watching = stub.Watch(request, timeout=SECONDS)
        assert next(watching).status == health_pb2.HealthCheckResponse.SERVING
        watching.cancel()


def grpcurl(target: str, *arguments: str, flags: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = [GRPCURL, "-plaintext", "-max-time", str(SECONDS), *flags, target, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_grpcurl_finds_the_services_by_reflection(target: str) -> None:
    listed = grpcurl(target, "list")
    assert listed.returncode == 0, listed.stderr
    services = {
        "rollcall.v1.RestService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }
    assert services <= set(listed.stdout.split())
    for service in listed.stdout.split():
        described = grpcurl(target, "describe", service)
        assert described.returncode == 0, described.stderr
        assert f"{service} is a service" in described.stdout


def test_grpcurl_checks_health(target: str) -> None:
    checked = grpcurl(target, "grpc.health.v1.Health/Check")
    assert checked.returncode == 0, checked.stderr
    assert json.loads(checked.stdout) == {"status": "SERVING"}


def test_grpcurl_lists_sessions(target: str, loaded: Stack) -> None:
    ((name, value),) = credentials(loaded)
    flags = ("-H", f"{name}: {value}", "-d", '{"limit": ["3"], "direction": ["asc"]}')
    listed = grpcurl(target, "rollcall.v1.RestService/ListSessions", flags=flags)
    assert listed.returncode == 0, listed.stderr
    message = json_format.Parse(listed.stdout, HttpBody())
    assert message.content_type == "application/json"
    assert json.loads(message.data) == {"items": SESSIONS[:3]}


def test_grpcurl_shows_a_refusal_without_anything_of_the_inside(target: str) -> None:
    refused = grpcurl(target, "rollcall.v1.RestService/ListSessions")
    assert refused.returncode != 0
    assert "Code: Unauthenticated" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert 'File "' not in refused.stderr

"""What Envoy does on its own, with a server behind it that misbehaves as told."""

import gzip
import http.client
import itertools
import json
import os
import re
import socket
import sys
import time
import uuid
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import yaml
from google.rpc import error_details_pb2
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status
from rollcall.v1 import rest_pb2, rest_pb2_grpc, session_pb2, session_pb2_grpc

from server.embedded.child import Child
from server.embedded.envoy import portable_config, write_config
from server.settings import SettingsError, load
from tests import upstream
from tests.promql import samples
from tests.stack import PLAIN, free_port

ENVOY = str(Path(sys.executable).with_name("envoy"))
SHIPPED = Path(__file__).parent.parent / "envoy.yaml"
ORIGIN = "http://localhost:3000"

JSON = "application/json"
PROBLEM = "application/problem+json"

ID = "<the id of the request>"


class Proxy:
    """A running Envoy; its first-byte and unary limits are one second, where 9.5 are shipped."""

    def __init__(self, rest_port: int, grpc_port: int, metrics_port: int, log: Path) -> None:
        self.rest_port = rest_port
        self.grpc_port = grpc_port
        self.metrics_port = metrics_port
        self.log = log
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{rest_port}", timeout=20, trust_env=False)

    def get(self, path: str, act: str = "ok", **headers: str) -> httpx.Response:
        return self.client.get(path, headers={"x-act": act, **_dashed(headers)})

    def raw(self, request: str | bytes) -> bytes:
        """Send bytes; return what comes back, until the proxy closes or a JSON body ends."""
        with socket.create_connection(("127.0.0.1", self.rest_port), timeout=5) as sock:
            sock.sendall(request if isinstance(request, bytes) else request.encode("latin1"))
            answer = b""
            while not answer.endswith(b"}") and (data := sock.recv(65536)):
                answer += data
            return answer


def _dashed(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


@contextmanager
def running_proxy(folder: Path, grpc_port: int, capacity: int = 96, limit: str = "1s") -> Iterator[Proxy]:
    settings = load(
        rest_port=free_port(),
        grpc_port=grpc_port,
        envoy_metrics_port=free_port(),
        cors_origins=(ORIGIN, "https://b.example"),
    )
    config, log = folder / "envoy.yaml", folder / "envoy.log"
    write_config(settings, config)
    config.write_text(config.read_text().replace("9.5s", limit).replace("'96'", f"'{capacity}'"))
    flags = ["--use-dynamic-base-id", "--concurrency", "2", "--file-flush-interval-msec", "50"]
    with Child("envoy", [ENVOY, "-c", str(config), *flags], log, os.environ):
        _await_port(settings.rest_port)
        proxy = Proxy(settings.rest_port, grpc_port, settings.envoy_metrics_port, log)
        yield proxy
        proxy.client.close()


@contextmanager
def running_upstream(folder: Path, port: int) -> Iterator[None]:
    environment = {**os.environ, "PYTHONPATH": str(SHIPPED.parent)}
    with Child(
        "upstream", [sys.executable, upstream.__file__, str(port)], folder / "upstream.log", environment
    ):
        _await_port(port)
        yield


def _await_port(port: int) -> None:
    end = time.monotonic() + 15
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            assert time.monotonic() < end
            time.sleep(0.02)
        else:
            return


@pytest.fixture(scope="module")
def served_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    port = free_port()
    with running_upstream(tmp_path_factory.mktemp("upstream"), port):
        yield port


@pytest.fixture(scope="module")
def proxy(served_port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    with running_proxy(tmp_path_factory.mktemp("envoy"), served_port) as running:
        yield running


@pytest.fixture(scope="module")
def patient(served_port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """A proxy that waits for a long answer, however busy the machine is."""
    with running_proxy(tmp_path_factory.mktemp("patient"), served_port, limit="60s") as running:
        yield running


@pytest.fixture(scope="module")
def orphan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """A proxy without a server."""
    with running_proxy(tmp_path_factory.mktemp("orphan"), free_port()) as running:
        yield running


# The error bodies of the four contracts, and of /v1.


def tutor(message: str, kind: str, status: int) -> Any:
    return {"error": {"message": message, "type": kind, "status": status}}


def julep(message: str, status: int) -> Any:
    return {"error": {"message": message, "code": f"http_{status}", "type": "http_error"}}


def problem(kind: str, title: str) -> Any:
    return {"type": f"urn:storyden:problem:{kind}", "title": title, "detail": title, "trace_id": ID}


def foundry(code: str, name: str) -> Any:
    return {"errorCode": code, "errorName": name, "errorInstanceId": ID, "parameters": {}}


def rpc(code: int, message: str) -> Any:
    return {"code": code, "message": message, "details": []}


NO_ROUTE = tutor("Route not found", "NOT_FOUND", 404)
NO_ROBOT_ROUTE = problem("not-found", "Not found.")
NO_AGENT_ROUTE = foundry("NOT_FOUND", "Default:NotFound")
NO_RPC_ROUTE = rpc(5, "Not found")
NOT_FOUND = {"detail": "Not Found"}
NOT_ALLOWED = {"detail": "Method Not Allowed"}

SERVED = {
    "tutor": "/session",
    "julep": "/sessions",
    "julep-api": "/api/sessions?limit=1",
    "robots": "/robots/sessions?page=1",
    "robots-api": "/api/robots/x",
    "foundry": "/api/v2/aipAgents/agents/allSessions?preview=true",
    "rpc": "/v1/sessions/x",
}


def check(response: httpx.Response, status: int, body: Any) -> None:
    """The answer is this and nothing else: its type fits, nothing of grpc or of the inside is in it."""
    assert (response.status_code, response.json()) == (status, with_id(body, response))
    is_problem = isinstance(body, dict) and "trace_id" in body
    assert response.headers["content-type"] == (PROBLEM if is_problem else JSON)
    assert response.content.isascii()
    hidden = ("grpc-", "x-error-", "x-http-", "x-envoy-", "x-method", "server")
    assert not [name for name in response.headers if name.startswith(hidden)]


def with_id(body: Any, response: httpx.Response) -> Any:
    if not isinstance(body, dict):
        return body
    identity = str(uuid.UUID(response.headers["x-request-id"]))
    return {key: identity if value == ID else value for key, value in body.items()}


def both(paths: dict[str, Any]) -> list[Any]:
    return [pytest.param(path, expected, id=path) for path, expected in paths.items()]


UNKNOWN = {
    "/nope": NO_ROUTE,
    "/session/x": NO_ROUTE,
    "/SESSIONS": NO_ROUTE,
    "/sessionsx": NO_ROUTE,
    "/robotsx": NO_ROUTE,
    "/v1": NO_ROUTE,
    "/v1x/y": NO_ROUTE,
    "/api/x": NO_ROUTE,
    "/api/v2": NO_ROUTE,
    "/rollcall.v1.RestService/ListSessions": NO_ROUTE,
    "/sessions/x": NOT_FOUND,
    "/api/sessions/x?y=1": NOT_FOUND,
    "/robots/a/b/c": NO_ROBOT_ROUTE,
    "/api/robots/sessions/a/b": NO_ROBOT_ROUTE,
    "/api/v2/": NO_AGENT_ROUTE,
    "/api/v2/aipAgents/agents/allsessions": NO_AGENT_ROUTE,
    "/v1/nope": NO_RPC_ROUTE,
}


@pytest.mark.parametrize(("path", "body"), both(UNKNOWN))
def test_unknown_path(proxy: Proxy, path: str, body: Any) -> None:
    check(proxy.get(path), 404, body)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
@pytest.mark.parametrize(
    ("name", "status", "body"),
    [
        ("tutor", 404, NO_ROUTE),
        ("julep", 405, NOT_ALLOWED),
        ("julep-api", 405, NOT_ALLOWED),
        ("robots", 404, NO_ROBOT_ROUTE),
        ("robots-api", 404, NO_ROBOT_ROUTE),
        ("foundry", 404, NO_AGENT_ROUTE),
    ],
)
def test_unserved_method(proxy: Proxy, method: str, name: str, status: int, body: Any) -> None:
    check(proxy.client.request(method, SERVED[name]), status, body)


@pytest.mark.parametrize(
    ("path", "status"), [("/session", 404), ("/sessions", 405), ("/robots", 404), ("/v1/sessions", 404)]
)
def test_head_has_no_body(proxy: Proxy, path: str, status: int) -> None:
    # A body would be taken for the start of the next answer on the connection.
    answer = proxy.raw(f"HEAD {path} HTTP/1.1\r\nHost: a\r\n\r\nGET /nope HTTP/1.1\r\nHost: a\r\n\r\n")
    first, second, body = answer.split(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 %d " % status)
    assert second.startswith(b"HTTP/1.1 404 ")
    assert json.loads(body) == NO_ROUTE


DOWN = {
    "tutor": tutor("Internal server error", "SERVER_ERROR", 503),
    "julep": julep("Service unavailable", 503),
    "julep-api": julep("Service unavailable", 503),
    "robots": problem("service-unavailable", "Service unavailable."),
    "robots-api": problem("service-unavailable", "Service unavailable."),
    "foundry": foundry("INTERNAL", "Default:Unavailable"),
    "rpc": rpc(14, "Service unavailable"),
}
LATE = {
    "tutor": tutor("Internal server error", "SERVER_ERROR", 504),
    "julep": julep("Gateway timeout", 504),
    "julep-api": julep("Gateway timeout", 504),
    "robots": problem("gateway-timeout", "Gateway timeout."),
    "robots-api": problem("gateway-timeout", "Gateway timeout."),
    "foundry": foundry("INTERNAL", "Default:Unavailable"),
    "rpc": rpc(4, "Gateway timeout"),
}
FOUNDRY_STATUS = {504: 503}
"""Section 4 has one status for a service that does not answer."""
BROKEN = {
    "tutor": tutor("Internal server error", "SERVER_ERROR", 500),
    "julep": julep("Internal server error", 500),
    "robots": problem("internal", "Internal server error."),
    "foundry": foundry("INTERNAL", "Default:Internal"),
}
TOO_LARGE = {
    "tutor": tutor("Request header fields too large", "BAD_REQUEST", 431),
    "julep": julep("Request header fields too large", 431),
    "robots": problem("request-header-fields-too-large", "Request header fields too large."),
    "foundry": foundry("INVALID_ARGUMENT", "Default:InvalidArgument"),
    "rpc": rpc(3, "Request header fields too large"),
}


@pytest.mark.parametrize(("name", "body"), both(DOWN))
def test_server_down(orphan: Proxy, name: str, body: Any) -> None:
    start = time.monotonic()
    check(orphan.get(SERVED[name]), 503, body)
    assert time.monotonic() - start < 10


@pytest.mark.parametrize(("name", "body"), both(LATE))
def test_server_hangs(proxy: Proxy, name: str, body: Any) -> None:
    start = time.monotonic()
    check(proxy.get(SERVED[name], "hang"), FOUNDRY_STATUS[504] if name == "foundry" else 504, body)
    assert time.monotonic() - start < 10


def test_answers_come_within_ten_seconds() -> None:
    manager = yaml.safe_load(SHIPPED.read_text())["static_resources"]["listeners"][0]
    filters = manager["filter_chains"][0]["filters"][0]["typed_config"]
    routes = filters["route_config"]["virtual_hosts"][0]["routes"]
    watches, native, *rest = (route["route"] for route in routes if "route" in route)
    assert watches["timeout"] == native["timeout"] == "0s"
    for route in rest:
        tries = route.get("retry_policy", {})
        streamed = (route["timeout"], tries.get("per_try_timeout")) == ("0s", "9.5s")
        assert streamed or route["timeout"] == "9.5s"
        # A try that has timed out would count as a reset, and be repeated.
        assert not streamed or "reset" not in tries["retry_on"].split(",")
        # With it, Envoy ignores the timeout.
        assert "max_stream_duration" not in route


CORE = {
    "UNAVAILABLE": (503, DOWN),
    "DEADLINE_EXCEEDED": (504, LATE),
    "RESOURCE_EXHAUSTED": (431, TOO_LARGE),
    "INTERNAL": (500, BROKEN),
    "UNKNOWN": (500, BROKEN),
    "CANCELLED": (500, BROKEN),
    "UNIMPLEMENTED": (500, BROKEN),
    "UNAUTHENTICATED": (500, BROKEN),
}


@pytest.mark.parametrize("name", ["tutor", "julep", "robots", "foundry"])
@pytest.mark.parametrize("code", CORE)
def test_error_of_the_grpc_core(proxy: Proxy, code: str, name: str) -> None:
    status, bodies = CORE[code]
    if name == "foundry":
        status = FOUNDRY_STATUS.get(status, status)
    check(proxy.get(SERVED[name], "bare", x_code=code), status, bodies[name])


def test_metadata_over_the_servers_limit_at_v1(proxy: Proxy) -> None:
    check(proxy.get(SERVED["rpc"], "bare", x_code="RESOURCE_EXHAUSTED"), 431, TOO_LARGE["rpc"])


@pytest.mark.parametrize("name", ["robots", "foundry", "rpc"])
def test_answer_over_the_proxys_limit(patient: Proxy, name: str) -> None:
    # Refused past all filters, so without the id in a header.
    response = patient.get(SERVED[name], "too-big")
    expected = (BROKEN | {"rpc": rpc(13, "Internal server error")})[name]
    body = response.json()
    assert response.status_code == 500
    assert {key: value for key, value in body.items() if expected[key] != ID} == {
        key: value for key, value in expected.items() if value != ID
    }
    assert all(uuid.UUID(body[key]) for key, value in expected.items() if value == ID)


@pytest.mark.parametrize("name", ["tutor", "julep", "robots", "foundry"])
def test_error_of_the_server(proxy: Proxy, name: str) -> None:
    response = proxy.get(SERVED[name], "error")
    assert response.status_code == 429
    assert response.headers["content-type"] == PROBLEM
    assert response.json() == {"error": {"message": "caf\u00e9 \u2019", "status": 418}}
    assert response.headers["retry-after"] == "7"
    assert response.headers["x-ratelimit-limit"] == "10"
    assert response.headers["x-ratelimit-remaining"] == "0"
    assert response.headers["x-ratelimit-reset"] == "2026-01-01T00:00:00Z"
    assert not [name for name in response.headers if name.startswith(("grpc-", "x-error-", "x-http-"))]


def test_typed_error_at_v1(proxy: Proxy) -> None:
    info = {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": "RECORD_NOT_FOUND",
        "domain": "rollcall",
        "metadata": {},
    }
    check(
        proxy.get(SERVED["rpc"], "typed"), 404, {"code": 5, "message": "no such session", "details": [info]}
    )


@pytest.mark.parametrize(
    ("path", "content", "reason"),
    [
        ("/v1/sessions:batchCreate", '{"a', "Closing quote expected in string."),
        ("/v1/sessions:batchCreate", '{"requests": "\u00e9\\"\\n"}', 'requests: invalid value "??"'),
    ],
)
def test_bad_body_at_v1(proxy: Proxy, path: str, content: str, reason: str) -> None:
    response = proxy.client.post(path, content=content)
    body = response.json()
    assert (response.status_code, body["code"], body["details"]) == (400, 3, [])
    assert body["message"] == reason
    assert response.content.isascii()


def test_bad_query_at_v1(proxy: Proxy) -> None:
    response = proxy.get('/v1/sessions?page_size=%22\\%0a%C3%A9"')
    assert response.status_code == 400
    assert response.json()["message"].startswith("page_size: invalid value")


def test_v1_prints_zeros(proxy: Proxy) -> None:
    body = proxy.get("/v1/sessions/a%2Fb%3Ac?unknown=1").json()
    assert body["id"] == "a/b:c"
    assert body["renderTemplates"] is False


def test_batch_of_16_megabytes(proxy: Proxy) -> None:
    content = json.dumps({"requests": [{"session": {"summary": "x" * 1024}}] * 15500})
    assert 16_000_000 < len(content) < 17 << 20
    response = proxy.client.post("/v1/sessions:batchCreate", content=content)
    assert response.status_code == 200
    assert int(response.json()["sessions"][0]["situation"]) > 15_000_000


@pytest.mark.parametrize(
    ("path", "size", "body"),
    [
        ("/v1/sessions:batchCreate", 18 << 20, rpc(3, "Payload too large")),
        ("/robots/sessions", 1 << 20, problem("payload-too-large", "Payload too large.")),
        ("/session", 1 << 20, tutor("Payload too large", "BAD_REQUEST", 413)),
    ],
)
def test_body_over_the_limit(proxy: Proxy, path: str, size: int, body: Any) -> None:
    method = "POST" if path.startswith("/v1/") else "GET"
    check(proxy.client.request(method, path, content=b'{"requests": "' + b"x" * size), 413, body)


def test_body_over_the_servers_limit(proxy: Proxy) -> None:
    message = "CLIENT: Received message larger than max (5 vs. 4)"
    check(
        proxy.get(SERVED["rpc"], "bare", x_code="RESOURCE_EXHAUSTED", x_message=message),
        413,
        rpc(3, "Payload too large"),
    )


# What the HTTP parser refuses: the path is not known, or not to be trusted.

PARSED = {
    "no request line": ("GARBAGE\r\n\r\n", 400),
    "no host": ("GET /sessions HTTP/1.1\r\n\r\n", 400),
    "header name": ("GET /sessions HTTP/1.1\r\nHost: a\r\na b: c\r\n\r\n", 400),
    "NUL": ("GET /robots HTTP/1.1\r\nHost: a\r\na: b\0c\r\n\r\n", 400),
    "fragment": ("GET /robots#x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "path of bytes": ("GET /robots\xff HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "two lengths": ("POST /v1/x HTTP/1.1\r\nHost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", 400),
    "length and chunks": (
        "POST /robots HTTP/1.1\r\nHost: a\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n",
        400,
    ),
    "TLS": ("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "long header": ("GET /sessions HTTP/1.1\r\nHost: a\r\nx: " + "a" * 100_000 + "\r\n\r\n", 431),
    "long query": ("GET /robots?q=" + "a" * 100_000 + " HTTP/1.1\r\nHost: a\r\n\r\n", 431),
    "many headers": (
        "GET /robots HTTP/1.1\r\nHost: a\r\n" + "".join(f"x{n}: 1\r\n" for n in range(120)) + "\r\n",
        431,
    ),
}
PARSER_MESSAGES = {400: "Bad request", 431: "Request header fields too large"}


@pytest.mark.parametrize(
    ("request_", "status"), [pytest.param(*case, id=name) for name, case in PARSED.items()]
)
def test_refused_by_the_parser(proxy: Proxy, request_: str, status: int) -> None:
    head, _, body = proxy.raw(request_).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"content-type: application/json\r\n" in head
    assert json.loads(body) == tutor(PARSER_MESSAGES[status], "BAD_REQUEST", status)


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("//sessions", 200, None),
        ("/./sessions", 200, None),
        ("/x/../sessions", 200, None),
        ("/../../sessions", 200, None),
        ("/%73essions", 200, None),
        ("/sessions%2f", 404, NO_ROUTE),
        ("/sessions;x", 404, NO_ROUTE),
        ("/robots%2fsessions", 404, NO_ROUTE),
        ("/sessions%zz", 404, NO_ROUTE),
        ("/sessions/../nope", 404, NO_ROUTE),
        ("//sessions//x", 404, NOT_FOUND),
        ("/session/../sessions/x", 404, NOT_FOUND),
        ("http://other.example/sessions/x", 404, NOT_FOUND),
    ],
)
def test_spelling_of_a_path(proxy: Proxy, path: str, status: int, body: Any) -> None:
    head, _, content = proxy.raw(f"GET {path} HTTP/1.1\r\nHost: a\r\nconnection: close\r\n\r\n").partition(
        b"\r\n\r\n"
    )
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert body is None or json.loads(content) == body


def test_query_of_64_kilobytes(proxy: Proxy) -> None:
    path = "/robots?a=" + "b" * 65536
    answer = proxy.raw(f"GET {path} HTTP/1.1\r\nHost: a\r\nx-act: echo\r\nconnection: close\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert json.loads(body)["x-envoy-original-path"] == path


# What a caller must not decide.

FORGED = {
    "x-envoy-original-path": "/evil",
    "x-envoy-retry-on": "5xx",
    "x-envoy-max-retries": "99",
    "x-envoy-upstream-rq-timeout-ms": "1",
    "x-envoy-upstream-rq-per-try-timeout-ms": "1",
    "x-envoy-expected-rq-timeout-ms": "1",
    "x-envoy-force-trace": "1",
    "x-envoy-evil": "evil",
    "x-envoy-external-address": "6.6.6.6",
    "X-Error-Body": "evil",
    "x-error-type": "text/evil",
    "x-http-status": "999",
    "x-request-id": "evil",
}


def test_forged_headers_do_not_reach_the_server(proxy: Proxy) -> None:
    seen = proxy.client.get("/robots?x=1", headers={"x-act": "echo", **FORGED}).json()
    assert seen.pop("x-envoy-original-path") == "/robots?x=1"
    assert seen.pop("x-envoy-external-address") == "127.0.0.1"
    assert uuid.UUID(seen.pop("x-request-id"))
    assert not FORGED.keys() & seen.keys()
    assert "x-error-body" not in seen


def test_forged_headers_do_not_reach_the_server_by_grpc(proxy: Proxy) -> None:
    metadata = (("x-act", "echo"), *((name.lower(), value) for name, value in FORGED.items()))
    with grpc.insecure_channel(f"127.0.0.1:{proxy.rest_port}") as channel:
        body = rest_pb2_grpc.RestServiceStub(channel).ListRobots(
            rest_pb2.ListRobotsRestRequest(), metadata=metadata
        )
    seen = json.loads(body.data)
    assert seen.pop("x-envoy-external-address") == "127.0.0.1"
    assert uuid.UUID(seen.pop("x-request-id"))
    assert not {name.lower() for name in FORGED} & seen.keys()


def test_forged_headers_do_not_change_the_answer(proxy: Proxy) -> None:
    for path, status, body in (("/sessions", 405, NOT_ALLOWED), ("/robots", 404, NO_ROBOT_ROUTE)):
        check(proxy.client.post(path, headers=FORGED), status, body)
    response = proxy.client.get("/api/v2/x", headers=FORGED)
    check(response, 404, NO_AGENT_ROUTE)
    assert proxy.client.get("/robots", headers=FORGED | {"x-act": "ok"}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "application/grpc"},
        {"content-type": "application/grpc+json", "te": "trailers"},
        {"grpc-timeout": "1n"},
        {"grpc-accept-encoding": "gzip", "grpc-encoding": "gzip"},
    ],
    ids="+".join,
)
def test_grpc_headers_on_a_rest_call(proxy: Proxy, headers: dict[str, str]) -> None:
    assert proxy.client.get("/robots", headers=headers).json() == {"items": []}
    check(proxy.client.get("/robots/a/b/c", headers=headers), 404, NO_ROBOT_ROUTE)


# Native gRPC on the same port.


@pytest.mark.parametrize("act", ["error", "typed", "unauthorized", "bare"])
def test_grpc_error_is_untouched(proxy: Proxy, act: str) -> None:
    def outcome(port: int) -> tuple[Any, ...]:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = session_pb2_grpc.SessionServiceStub(channel)
            metadata = (("x-act", act), ("x-code", "NOT_FOUND"), ("under_score", "1"))
            with pytest.raises(grpc.RpcError) as caught:
                stub.GetSession(session_pb2.GetSessionRequest(id="x"), metadata=metadata)
        call: Any = caught.value
        trailers = {key: value for key, value in call.trailing_metadata() if key != "date"}
        return call.code(), call.details(), trailers, rpc_status.from_call(call)

    through, direct = outcome(proxy.rest_port), outcome(proxy.grpc_port)
    assert through == direct
    if act == "typed":
        info = error_details_pb2.ErrorInfo()
        assert through[3].details[0].Unpack(info)
        assert info.reason == "RECORD_NOT_FOUND"


def test_grpc_method_that_is_not_there(proxy: Proxy) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{proxy.rest_port}") as channel:
        call: Any = channel.unary_unary("/nope.Nope/Nope")
        with pytest.raises(grpc.RpcError) as caught:
            call(b"")
    error: Any = caught.value
    assert (error.code(), error.details()) == (grpc.StatusCode.UNIMPLEMENTED, "Method not found!")


def test_grpc_server_down(orphan: Proxy) -> None:
    with (
        grpc.insecure_channel(f"127.0.0.1:{orphan.rest_port}") as channel,
        pytest.raises(grpc.RpcError) as caught,
    ):
        session_pb2_grpc.SessionServiceStub(channel).GetSession(session_pb2.GetSessionRequest(id="x"))
    error: Any = caught.value
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert "{" not in error.details()


def test_grpc_reflection(proxy: Proxy) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{proxy.rest_port}") as channel:
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
        answers = stub.ServerReflectionInfo(iter([request]))
        services = [service.name for service in next(answers).list_services_response.service]
    assert "rollcall.v1.RestService" in services


def test_grpc_call_outlasts_the_rest_limit(proxy: Proxy) -> None:
    with (
        grpc.insecure_channel(f"127.0.0.1:{proxy.rest_port}") as channel,
        pytest.raises(grpc.RpcError) as caught,
    ):
        session_pb2_grpc.SessionServiceStub(channel).GetSession(
            session_pb2.GetSessionRequest(id="x"), metadata=(("x-act", "hang"),), timeout=2
        )
    error: Any = caught.value
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED


# Large, slow and broken answers.


def test_unary_answer_of_20_megabytes(proxy: Proxy) -> None:
    assert len(proxy.get("/robots", "big", accept_encoding="identity").json()) == upstream.UNARY_MEGABYTES


def test_stream_to_a_slow_client(proxy: Proxy) -> None:
    start, received = time.monotonic(), []
    headers = {"x-act": "stream", "accept-encoding": "identity"}
    with proxy.client.stream("GET", "/sessions", headers=headers) as response:
        for chunk in response.iter_raw(1 << 20):
            received.append(chunk)
            time.sleep(0.05)
    # Longer than any limit of a unary call.
    assert time.monotonic() - start > 1.5
    assert len(json.loads(b"".join(received))) == upstream.STREAM_MEGABYTES


def test_stream_longer_than_the_unary_limit(proxy: Proxy) -> None:
    response = proxy.get("/sessions", "stream", x_megabytes="80", accept_encoding="gzip")
    assert len(response.json()) == 80


@pytest.mark.parametrize(
    ("path", "encoding"),
    [
        ("/session", "identity"),
        ("/session/", "gzip"),
        ("/sessions", "gzip"),
        ("/sessions/", "identity"),
        ("/api/sessions", "gzip"),
    ],
)
def test_stream_flows(proxy: Proxy, path: str, encoding: str) -> None:
    arrived = []
    start = time.monotonic()
    with proxy.client.stream("GET", path, headers={"x-act": "drip", "accept-encoding": encoding}) as response:
        body = b""
        for chunk in response.iter_bytes():
            body += chunk
            arrived.append(time.monotonic() - start)
    assert json.loads(body) == [1] * (1 + upstream.DRIPS)
    # From the first on, and for longer than the limit of a unary call.
    assert arrived[0] < upstream.DRIP_SECONDS
    assert len(arrived) >= upstream.DRIPS
    assert arrived[-1] > 1.2


@pytest.mark.parametrize("path", ["/session", "/sessions"])
def test_stream_that_fails_half_way_does_not_parse(proxy: Proxy, path: str) -> None:
    response = proxy.get(path, "half")
    assert response.content == b"[1,2,3"
    with pytest.raises(json.JSONDecodeError):
        response.json()


# Compression.


def raw_body(proxy: Proxy, path: str, act: str, encoding: str) -> tuple[httpx.Response, bytes]:
    headers = {"x-act": act, "accept-encoding": encoding}
    with proxy.client.stream("GET", path, headers=headers) as response:
        return response, b"".join(response.iter_raw())


@pytest.mark.parametrize(
    ("accepted", "used"),
    [("gzip", "gzip"), ("br", "br"), ("gzip, br", "br"), ("gzip;q=1, br;q=0.1", "gzip"), ("identity", None)],
)
def test_compression(proxy: Proxy, accepted: str, used: str | None) -> None:
    response, body = raw_body(proxy, "/robots", "big", accepted)
    assert response.headers.get("content-encoding") == used
    assert "accept-encoding" in response.headers["vary"].lower()
    assert (len(body) < 100_000) is (used is not None)


def test_compressed_problem(proxy: Proxy) -> None:
    response, body = raw_body(proxy, "/robots", "long-error", "gzip")
    assert (response.status_code, response.headers["content-type"]) == (400, PROBLEM)
    assert response.headers["content-encoding"] == "gzip"
    assert json.loads(gzip.decompress(body)) == {"title": "x" * 4096}


def test_compressed_stream_that_fails_half_way_does_not_parse(proxy: Proxy) -> None:
    _, body = raw_body(proxy, "/sessions", "half", "gzip")
    assert zlib.decompressobj(31).decompress(body) == b"[1,2,3"


# CORS.

ALLOWED = {"access-control-allow-origin": ORIGIN, "access-control-allow-credentials": "true"}


def cors(response: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in response.headers.items() if name.startswith("access-control-")}


@pytest.mark.parametrize("path", SERVED.values())
def test_preflight(proxy: Proxy, path: str) -> None:
    headers = {"origin": ORIGIN, "access-control-request-method": "GET"}
    response = proxy.client.options(path, headers=headers)
    assert response.status_code == 200
    assert cors(response) == ALLOWED | {
        "access-control-allow-methods": "GET, OPTIONS",
        "access-control-allow-headers": "content-type, authorization",
        "access-control-max-age": "600",
    }


@pytest.mark.parametrize(
    ("path", "act", "status"),
    [
        ("/session", "ok", 200),
        ("/session", "unauthorized", 401),
        ("/session", "hang", 504),
        ("/session", "half", 200),
        ("/nope", "ok", 404),
        ("/v1/nope", "ok", 404),
    ],
)
def test_cors_on_every_answer(proxy: Proxy, path: str, act: str, status: int) -> None:
    response = proxy.get(path, act, origin=ORIGIN)
    assert (response.status_code, cors(response)) == (status, ALLOWED)


def test_cors_when_the_server_is_down(orphan: Proxy) -> None:
    response = orphan.get("/session", origin=ORIGIN)
    assert (response.status_code, cors(response)) == (503, ALLOWED)


@pytest.mark.parametrize(
    "origin", ["http://localhost:3001", "http://localhost:3000.evil", "null", "http://a"]
)
def test_other_origins(proxy: Proxy, origin: str) -> None:
    assert cors(proxy.get("/session", origin=origin)) == {}
    preflight = {"origin": origin, "access-control-request-method": "GET"}
    assert cors(proxy.client.options("/session", headers=preflight)) == {}


def test_second_origin_of_the_setting(proxy: Proxy) -> None:
    response = proxy.get("/session", origin="https://b.example")
    assert response.headers["access-control-allow-origin"] == "https://b.example"


# Running it.


def test_access_log(proxy: Proxy) -> None:
    secret = {
        "authorization": "Bearer SECRET-token",
        "cookie": "a=SECRET-cookie",
        "user_agent": "SECRET-agent",
    }
    known = logged(proxy, proxy.get("/robots/SECRET-id?pageToken=SECRET-query", **secret))
    unknown = logged(proxy, proxy.get("/robots/a/SECRET-path", **secret))

    assert (known["method"], known["contract"], known["status"]) == ("GET", "robot", 200)
    assert known["rpc"] == "/rollcall.v1.RestService/GetRobot"
    assert known["upstream"] == f"127.0.0.1:{proxy.grpc_port}"
    assert {"start_time", "bytes_sent", "duration_ms", "flags", "trace_id"} <= known.keys()
    assert (unknown["contract"], unknown["status"]) == ("robot", 404)
    assert "rpc" not in unknown
    assert "SECRET" not in proxy.log.read_text()


def test_access_log_has_the_grpc_status_of_native_calls_alone(proxy: Proxy) -> None:
    for path in ("/robots", "/robots/missing", "/nowhere"):
        assert "grpc_status" not in logged(proxy, proxy.get(path))

    with grpc.insecure_channel(f"127.0.0.1:{proxy.rest_port}") as channel:
        body = rest_pb2_grpc.RestServiceStub(channel).ListRobots(
            rest_pb2.ListRobotsRestRequest(), metadata=(("x-act", "echo"),)
        )
    assert line_of(proxy, json.loads(body.data)["x-request-id"])["grpc_status"] == "OK"


def logged(proxy: Proxy, answer: httpx.Response) -> dict[str, Any]:
    """The line of an answer in the access log."""
    return line_of(proxy, answer.headers["x-request-id"])


def line_of(proxy: Proxy, name: str) -> dict[str, Any]:
    """The line of a request in the access log, which is not written at once."""
    end = time.monotonic() + 5
    while name not in (text := proxy.log.read_text()):
        assert time.monotonic() < end
        time.sleep(0.02)
    [line] = [line for line in text.splitlines() if name in line]
    found: dict[str, Any] = json.loads(line)
    return found


def figures(proxy: Proxy) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """What Envoy tells Prometheus: by name, the values of all labels."""
    answer = httpx.get(f"http://127.0.0.1:{proxy.metrics_port}/stats/prometheus", verify=PLAIN)
    assert answer.headers["content-type"].startswith("text/plain")
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for sample in samples(answer.text):
        found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


OF_CALLS = (("envoy_cluster_name", "rollcall"),)
OF_CALLERS = (("envoy_http_conn_manager_prefix", "rest"),)


def test_prometheus_gets_envoys_own_figures(proxy: Proxy) -> None:
    before = figures(proxy)
    assert proxy.get("/robots").status_code == 200
    after = figures(proxy)

    for name, labels in (
        ("envoy_cluster_upstream_rq_total", OF_CALLS),
        ("envoy_http_downstream_rq_total", OF_CALLERS),
    ):
        assert after[name][labels] > before[name][labels]
    assert after["envoy_cluster_membership_healthy"][OF_CALLS] == 1
    assert after["envoy_server_live"][()] == 1


def test_figures_are_of_the_proxy_and_of_no_caller(proxy: Proxy) -> None:
    proxy.get("/robots/SECRET-id?q=SECRET-query", authorization="SECRET", x_anything="SECRET")
    proxy.raw("SECRET /SECRET HTTP/1.1\r\nhost: SECRET\r\nconnection: close\r\n\r\n")
    values: dict[str, set[str]] = {}
    for held in figures(proxy).values():
        for label, value in itertools.chain.from_iterable(held):
            values.setdefault(label, set()).add(value)

    assert values.pop("envoy_cluster_name") == {"rollcall", "watches"}
    assert values.pop("envoy_http_conn_manager_prefix") == {"rest"}
    assert values.pop("envoy_listener_address") == {"rest"}
    numbers = {"envoy_response_code", "envoy_response_code_class", "envoy_worker_id", "le"}
    assert values.keys() <= numbers
    assert all(re.fullmatch(r"[\d.e+]+|\+Inf", value) for each in values.values() for value in each)


def test_calls_refused_by_the_circuit_breaker_are_in_the_figures(tmp_path: Path, served_port: int) -> None:
    with running_proxy(tmp_path, served_port, capacity=0) as full:
        assert full.get("/robots").status_code == 429
        assert figures(full)["envoy_cluster_upstream_rq_active_overflow"][OF_CALLS] == 1


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *((method, "/stats/prometheus") for method in ("HEAD", "POST", "PUT", "DELETE", "OPTIONS")),
        ("GET", "/stats/prometheus?usedonly"),
        ("GET", "/stats/prometheus/"),
        ("GET", "//stats/prometheus"),
        ("GET", "/stats/prometheus/../../config_dump"),
        ("GET", "/stats/prometheus%3Ffilter=x"),
        ("GET", "/stats"),
        ("GET", "/config_dump"),
        ("GET", "/"),
        ("POST", "/quitquitquit"),
    ],
)
def test_nothing_else_of_the_admin_interface_is_served(proxy: Proxy, method: str, path: str) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", proxy.metrics_port, timeout=5)) as connection:
        connection.request(method, path)
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (404, b"")


def test_callers_do_not_get_the_figures(proxy: Proxy) -> None:
    for path in ("/stats/prometheus", "/stats", "/ready", "/metrics"):
        answer = proxy.get(path)
        assert (answer.status_code, answer.json()) == (404, tutor("Route not found", "NOT_FOUND", 404))


def test_script_never_failed(proxy: Proxy, orphan: Proxy) -> None:
    for running in (proxy, orphan):
        assert "script log" not in running.log.read_text()


def test_server_that_comes_back_is_used(tmp_path: Path, orphan: Proxy) -> None:
    with running_upstream(tmp_path, orphan.grpc_port):
        start = time.monotonic()
        while orphan.get("/robots").status_code != 200:
            assert time.monotonic() - start < 2
            time.sleep(0.02)


# The configuration.


def test_shipped_file_is_valid(tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = f"cd {SHIPPED.parent} && exec {ENVOY} --mode validate -c envoy.yaml"
    with Child("envoy", ["/bin/sh", "-c", command], log, os.environ):
        end = time.monotonic() + 20
        while "configuration 'envoy.yaml' OK" not in (text := log.read_text()):
            assert time.monotonic() < end, text
            time.sleep(0.05)
    assert "eprecated" not in text


def test_settings_are_put_in(tmp_path: Path) -> None:
    settings = load(
        rest_host="0.0.0.0",  # noqa: S104 # as in a container
        rest_port=81,
        grpc_host="server",
        grpc_port=82,
        envoy_metrics_host="::",
        envoy_metrics_port=83,
        cors_origins=("https://a.example",),
    )
    path = tmp_path / "envoy.yaml"
    write_config(settings, path)
    shipped, written = yaml.safe_load(SHIPPED.read_text()), yaml.safe_load(path.read_text())
    changed = {keys: value for keys, value in flat(written) if dict(flat(shipped)).get(keys) != value}
    admin = changed.pop(next(keys for keys in changed if keys[0] == "admin"))
    assert admin > 0
    assert [(keys[-1], value) for keys, value in changed.items()] == [
        ("address", "0.0.0.0"),  # noqa: S104 # as above
        ("port_value", 81),
        ("exact", "https://a.example"),
        ("proto_descriptor", str(SHIPPED.parent / "generated/rollcall/v1/descriptors.binpb")),
        ("address", "::"),
        ("port_value", 83),
        # Of the calls' cluster, and of the watches'.
        *(("address", "server"), ("port_value", 82)) * 2,
        # The metrics come from the admin interface.
        ("port_value", admin),
    ]


def test_without_a_port_for_metrics_nothing_reaches_the_admin_interface(tmp_path: Path) -> None:
    path = tmp_path / "envoy.yaml"
    write_config(load(), path)
    for text in (path.read_text(), portable_config(load())):
        config = yaml.safe_load(text)
        ports = [value for keys, value in flat(config["static_resources"]) if keys[-1] == "port_value"]
        assert sorted(set(ports)) == [8080, 50051]
        assert config["admin"]["address"]["socket_address"]["address"] == "127.0.0.1"


def flat(value: Any, keys: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    if not isinstance(value, dict | list):
        yield keys, value
        return
    items = value.items() if isinstance(value, dict) else enumerate(value)
    yield from itertools.chain.from_iterable(flat(item, (*keys, key)) for key, item in items)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "there is no such file"),
        ("a: [", "line 1"),
        ("", "must have address, port_value"),
        ("static_resources: {listeners: []}", "must have address, port_value"),
    ],
)
def test_unknown_envoy_yaml(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, message: str
) -> None:
    place = tmp_path / "envoy.yaml"
    if text is not None:
        place.write_text(text)
    monkeypatch.setattr("server.embedded.envoy._PLACES", (place,))
    with pytest.raises(SettingsError, match=message):
        write_config(load(), tmp_path / "out.yaml")
    assert not (tmp_path / "out.yaml").exists()

"""Lines, pseudo-headers and trusted names in what callers send or have stored: no header comes of them."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import grpc
import pytest
from rollcall.v1 import rest_pb2, rest_pb2_grpc

from tests.edge.documented import PATHS, ask
from tests.edge.proxies import Edge
from tests.edge.wire import Answer
from tests.parts import (
    FOUNDRY,
    agent_line,
    agent_session,
    line,
    message,
    robot,
    robot_session,
    session,
    user_session,
    xid,
)

EVIL = "\r\nX-Evil: 1\r\n\r\nHTTP/1.1 200 OK\r\nX-Evil: 2\r\n\r\n\u2028\u0085<script>"
OWNER = "evil\r\nX-Evil: 3"
ROBOT, SESSION = xid(8_001), xid(8_002)

STORED = {
    "/session": lambda body: body[0]["name"],
    "/sessions": lambda body: body["items"][0]["metadata"][EVIL],
    f"/robots/{ROBOT}": lambda body: body["name"],
    f"/robots/sessions/{SESSION}": lambda body: body["message_list"]["messages"][0]["parts"][0]["text"],
    FOUNDRY: lambda body: body["data"][0]["metadata"]["title"],
}


def is_clean(answer: Answer) -> bool:
    """No header has what was sent; the body has it as JSON does, without a line of its own."""
    lines = [*answer.headers, *answer.headers.values()]
    return not any("evil" in line.lower() for line in lines) and b"\n" not in answer.body.rstrip(b"\n")


def ask_as_evil(edge: Edge, path: str, *headers: str) -> Answer:
    _, credentials = edge.authorization(OWNER)
    return ask(edge, path, f"authorization: {credentials}", *headers, anonymous=True)


@pytest.fixture(scope="module")
def evil(edge: Edge) -> Iterator[Edge]:
    agent = agent_session("evil", "evil")
    agent["metadata"]["title"] = EVIL
    edge.stack.load(
        line("user_session", user_session(name=EVIL), user_id=OWNER),
        line("session", session(metadata={EVIL: EVIL}), developer_id=OWNER),
        line("robot", robot(id=ROBOT, name=EVIL)),
        line(
            "robot_session",
            robot_session(id=SESSION, name=EVIL)
            | {"messages": [message(id=xid(8_003), parts=[{"text": EVIL}])]},
        ),
        agent_line("evil", "*"),
        line("agent_session", agent, user_id=OWNER, client_id="c"),
    )
    yield edge
    edge.stack.clear()


@pytest.mark.parametrize("path", STORED)
def test_stored_lines_come_back_as_text(evil: Edge, path: str) -> None:
    answer = ask_as_evil(evil, path)
    assert answer.status == 200
    assert STORED[path](answer.json()) == EVIL
    assert is_clean(answer)


SENT = {
    "/sessions?limit={}": 422,
    "/sessions?sort_by={}": 422,
    "/sessions?metadata_filter.{}={}": 200,
    "/robots/sessions?account_id={}": 400,
    "/robots/{}": 404,
    f"/robots/sessions/{SESSION}?before={{}}": 400,
    f"{FOUNDRY}&pageToken={{}}": 400,
    f"{FOUNDRY}&pageSize={{}}": 400,
    "/v1/sessions?orderBy={}": 400,
    "/v1/sessions?pageToken={}": 400,
    "/v1/sessions/{}": 404,
    "/nope/{}": 404,
}


@pytest.mark.parametrize("path", SENT)
def test_what_is_sent_is_echoed_as_text_or_not_at_all(evil: Edge, path: str) -> None:
    answer = ask_as_evil(evil, path.replace("{}", quote(EVIL, safe="")))
    assert answer.status == SENT[path]
    assert is_clean(answer)
    assert json.loads(answer.body) is not None


@pytest.mark.parametrize(
    "header",
    [
        "x-request-id: evil",
        "x-client-trace-id: evil",
        "x-envoy-original-path: /robots?evil",
        "x-envoy-original-dst-host: 127.0.0.1:1",
        "x-envoy-decorator-operation: evil",
        "x-forwarded-for: evil",
        "x-forwarded-host: evil",
        "x-forwarded-proto: evil",
        "x-error-body: evil",
        "x-http-status: 299",
        "x-error-type: text/evil",
        "x-method: evil",
        "grpc-status: 16",
        "grpc-message: evil",
        "grpc-status-details-bin: ZXZpbA",
        "connection: x-request-id, x-envoy-original-path, te",
        "keep-alive: timeout=evil",
        "te: evil",
        "trailer: x-evil",
        "proxy-authorization: evil",
        "via: 1.1 evil",
    ],
)
def test_a_header_of_the_caller_changes_no_answer(served: Edge, header: str) -> None:
    for path in PATHS.values():
        plain, forged = ask(served, path), ask(served, path, header)
        assert (forged.status, forged.body) == (200, plain.body)
        assert forged.headers.keys() == plain.headers.keys()
        assert is_clean(forged)


def test_a_direct_callers_original_path_is_only_the_text_of_its_own_query(evil: Edge) -> None:
    with grpc.insecure_channel(evil.stack.grpc) as channel:
        stub: Any = rest_pb2_grpc.RestServiceStub(channel)
        forged = ("x-envoy-original-path", "/session?limit=0&page=7")
        with pytest.raises(grpc.RpcError) as caught:
            list(stub.ListSessions(rest_pb2.ListSessionsRestRequest(), metadata=(forged,)))
        error: Any = caught.value
        assert error.code() is grpc.StatusCode.UNAUTHENTICATED
        pairs = (evil.authorization(OWNER), forged)
        [body] = stub.ListSessions(rest_pb2.ListSessionsRestRequest(), metadata=pairs)
        assert json.loads(body.data) == {"items": []}
        page = stub.ListRobots(rest_pb2.ListRobotsRestRequest(), metadata=pairs)
        assert json.loads(page.data)["current_page"] == 7


def test_a_grpc_message_has_no_line_of_its_own(evil: Edge) -> None:
    with grpc.insecure_channel(evil.stack.envoy_grpc) as channel:
        call: Any = channel.unary_unary("/rollcall.v1.SessionService/ListSessions")
        # Its field `order_by`.
        request = b"\x2a" + bytes([len(EVIL.encode())]) + EVIL.encode()
        with pytest.raises(grpc.RpcError) as caught:
            call(request, metadata=(evil.authorization(OWNER),))
    error: Any = caught.value
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "x-evil" not in {name for name, _ in error.trailing_metadata()}

"""The documented paths, with records behind each, and whose words an unknown path gets."""

import re
from typing import Any

from tests.edge import wire
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
from tests.stack import Stack

OWNER = "edge"
ROBOT, ROBOT_SESSION = xid(7_001), xid(7_002)

PATHS = {
    "user sessions": "/session",
    "sessions": "/sessions",
    "sessions under /api": "/api/sessions",
    "robots": "/robots",
    "robot": f"/robots/{ROBOT}",
    "robot under /api": f"/api/robots/{ROBOT}",
    "robot sessions": "/robots/sessions",
    "robot session": f"/robots/sessions/{ROBOT_SESSION}",
    "agent sessions": FOUNDRY,
}

_CONTRACTS = {
    "agent sessions": re.compile("/api/v2/"),
    "robots": re.compile("(/api)?/robots(/|$)"),
    "sessions": re.compile("(/api)?/sessions(/|$)"),
    "typed": re.compile("/v1/"),
}

NO_ROUTE = {"error": {"message": "Route not found", "type": "NOT_FOUND", "status": 404}}


def load(stack: Stack) -> None:
    """Put a record behind every documented path, for one caller."""
    stack.load(
        line("user_session", user_session(name="of edge"), user_id=OWNER),
        line("session", session(situation="of edge"), developer_id=OWNER),
        line("robot", robot(id=ROBOT, name="of edge")),
        line(
            "robot_session",
            robot_session(id=ROBOT_SESSION, name="of edge") | {"messages": [message(id=xid(7_003))]},
        ),
        agent_line("edge", "*"),
        line("agent_session", agent_session("edge", "edge"), user_id=OWNER, client_id="c"),
    )


def ask(edge: Edge, path: str, *headers: str, method: str = "GET", anonymous: bool = False) -> Answer:
    """Make a call as the owner of the records."""
    name, value = edge.authorization(OWNER)
    credentials = [] if anonymous else [f"{name}: {value}"]
    return wire.ask(edge.port, wire.get(path, *credentials, *headers, method=method), method)


def contract_of(path: str) -> str:
    """Return whose error body a path gets, as the contracts say it."""
    bare = path.partition("?")[0]
    return next((name for name, pattern in _CONTRACTS.items() if pattern.match(bare)), "user sessions")


def not_found(path: str, answer: Answer) -> bool:
    """Return whether an answer is 404 in the words of the path's contract."""
    body: Any = answer.json()
    contract = contract_of(path)
    if answer.status != 404:
        return False
    if contract == "robots":
        right = answer.headers["content-type"] == "application/problem+json"
        return bool(right and body["type"] == "urn:storyden:problem:not-found" and set(body) == _PROBLEM)
    if contract == "agent sessions":
        return bool(body["errorName"] == "Default:NotFound" and set(body) == _FOUNDRY)
    if contract == "sessions":
        return bool(body == {"detail": "Not Found"})
    return bool(body == NO_ROUTE)


_PROBLEM = {"type", "title", "detail", "trace_id"}
_FOUNDRY = {"errorCode", "errorName", "errorInstanceId", "parameters"}

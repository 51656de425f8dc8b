"""Every documented path answers by its strict schema, whatever is stored, and with what was stored."""

from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from server.records.xid import new_xid
from tests import strategies
from tests.rest import schemas
from tests.rest.schemas import (
    Schema,
    agent_session_error,
    robot_error,
    session_error,
    user_session_error,
    validated,
)
from tests.stack import PLAIN, Stack, lines_of
from tests.strategies import batches, comparable, expected, fresh_uuid, instant

EXAMPLES = 25
SCOPE = "api:aip-agents-write"
AGENT_SESSIONS = "/api/v2/aipAgents/agents/allSessions"

few = settings(
    max_examples=EXAMPLES,
    deadline=None,
    # A counterexample is not shrunk through the whole service: tests/records shrinks what a record does.
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def robot_token(stack: Stack) -> str:
    return stack.token("schemas", permissions=["USE_ROBOTS"])


def assert_same_items(kind: str, listed: Iterable[Any], written: Iterable[Any]) -> None:
    """Compare what was listed with what was written, whatever the order."""
    key = strategies.KEY_OF[kind]
    assert {item[key]: comparable(kind, item) for item in listed} == {
        item[key]: expected(kind, item) for item in written
    }


@few
@given(written=batches("user_session"))
def test_user_sessions_are_listed_as_they_were_written(stack: Stack, written: list[Any]) -> None:
    user = fresh_uuid()
    stack.load(*lines_of("user_session", {"user_id": user}, *written))
    listed = validated(stack.get("/session", stack.token(user)), schemas.USER_SESSIONS)
    assert_same_items("user_session", listed, written)
    latest_first = sorted(written, key=lambda item: (-instant(item["updatedAt"]), item["uuid"]))
    assert [item["uuid"] for item in listed] == [item["uuid"] for item in latest_first]


@few
@given(written=batches("session"))
def test_sessions_are_listed_as_they_were_written(stack: Stack, written: list[Any]) -> None:
    tenant = fresh_uuid()
    stack.load(*lines_of("session", {"developer_id": tenant}, *written))
    token = stack.token("somebody", tenant)
    bodies = {stack.get(path, token).content for path in ("/sessions", "/api/sessions")}
    assert len(bodies) == 1
    listed = validated(stack.get("/sessions", token), schemas.SESSIONS)["items"]
    assert_same_items("session", listed, written)
    created = [instant(item["created_at"]) for item in listed]
    assert created == sorted(created, reverse=True)


@few
@given(
    written=batches("robot_session"),
    messages=st.lists(batches("robot_message", max_size=4), min_size=6, max_size=6),
)
def test_robot_sessions_and_their_messages_are_answered_as_they_were_written(
    stack: Stack, written: list[Any], messages: list[list[Any]]
) -> None:
    account = new_xid()
    written = [
        {**session, "id": new_xid(), "created_by": {**session["created_by"], "id": account}}
        for session in written
    ]
    bodies = [{**session, "messages": said} for session, said in zip(written, messages, strict=False)]
    stack.load(*lines_of("robot_session", {}, *bodies))
    token = robot_token(stack)
    page = validated(stack.get(f"/robots/sessions?account_id={account}", token), schemas.ROBOT_SESSIONS)
    assert_same_items("robot_session", page["sessions"], written)
    created = [instant(item["createdAt"]) for item in page["sessions"]]
    assert created == sorted(created, reverse=True)
    assert (page["results"], page["total_pages"]) == (len(written), min(len(written), 1))
    with httpx.Client(base_url=stack.rest, headers={"authorization": f"Bearer {token}"}) as client:
        for session, said in zip(written, messages, strict=False):
            answer = validated(client.get(f"/robots/sessions/{session['id']}"), schemas.ROBOT_SESSION)
            talk = answer.pop("message_list")
            assert comparable("robot_session", answer) == expected("robot_session", session)
            assert_same_items("robot_message", talk["messages"], said)
            oldest_first = sorted(said, key=lambda item: (instant(item["created_at"]), item["id"]))
            assert [each["id"] for each in talk["messages"]] == [each["id"] for each in oldest_first]
            assert (talk["page_size"], talk["results"], "next_before" in talk) == (50, len(said), False)


@few
@given(written=batches("robot"))
def test_robots_are_answered_as_they_were_written(stack: Stack, written: list[Any]) -> None:
    written = [{**robot, "id": new_xid()} for robot in written]
    stack.load(*lines_of("robot", {}, *written))
    headers = {"authorization": f"Bearer {robot_token(stack)}"}
    with httpx.Client(base_url=stack.rest, headers=headers) as client:
        for robot in written:
            answer = validated(client.get(f"/robots/{robot['id']}"), schemas.ROBOT)
            assert comparable("robot", answer) == expected("robot", robot)
        listed = {robot["id"]: robot for robot in walked(client)}
    for robot in written:
        assert comparable("robot", listed[robot["id"]]) == expected("robot", robot)


def walked(client: httpx.Client) -> list[Any]:
    """Return the robots of all pages, each page judged; no robot is on two."""
    robots: list[Any] = []
    page: int | None = 1
    while page is not None:
        answer = validated(client.get(f"/robots?page={page}"), schemas.ROBOTS)
        assert answer["current_page"] == page
        assert answer["results"] == len(answer["robots"])
        robots += answer["robots"]
        page = answer.get("next_page")
    assert len({robot["id"] for robot in robots}) == len(robots)
    created = [instant(robot["createdAt"]) for robot in robots]
    assert created == sorted(created, reverse=True)
    return robots


LATER = "2098-01-01T00:00:00Z"


@few
@given(written=batches("agent_session", strategies.agent_sessions(LATER)))
def test_agent_sessions_are_listed_as_they_were_written(stack: Stack, written: list[Any]) -> None:
    user, client = fresh_uuid(), fresh_uuid()
    agents = {item["agentRid"] for item in written}
    stack.load(
        *lines_of("agent", {"viewers": ["*"]}, *({"rid": rid} for rid in agents)),
        *lines_of("agent_session", {"user_id": user, "client_id": client}, *written),
    )
    token = stack.token(user, client_id=client, scopes=[SCOPE])
    page = validated(stack.get(f"{AGENT_SESSIONS}?preview=true", token), schemas.AGENT_SESSIONS)
    assert "nextPageToken" not in page
    assert_same_items("agent_session", page["data"], written)
    latest_first = sorted(written, key=lambda item: (-instant(item["metadata"]["updatedTime"]), item["rid"]))
    assert [item["rid"] for item in page["data"]] == [item["rid"] for item in latest_first]


# --- errors -----------------------------------------------------------------------------------------

NOT_LOGGED_IN = (
    "The request did not contain any authentication information, please check to make sure you are logged in."
)
NO_ACCESS = "You don\u2019t have access to this right now."
UNKNOWN_XID = "0" * 20

Error = tuple[str, str, str | None, int, Schema]
ERRORS: list[Error] = [
    ("GET", "/session", None, 401, user_session_error(401, "UNAUTHORIZED", "Unauthorized")),
    ("GET", "/session", "bad", 401, user_session_error(401, "UNAUTHORIZED", "Unauthorized")),
    ("GET", "/nowhere", None, 404, user_session_error(404, "NOT_FOUND", "Route not found")),
    ("POST", "/session", "any", 404, user_session_error(404, "NOT_FOUND")),
    ("GET", "/sessions", None, 403, session_error(403, "Could not validate API KEY")),
    ("GET", "/api/sessions", "bad", 403, session_error(403, "Could not validate API KEY")),
    ("GET", "/sessions?limit=x", None, 403, session_error(403, "Could not validate API KEY")),
    ("GET", "/sessions?limit=x", "any", 422, schemas.SESSION_VALIDATION_ERROR),
    (
        "GET",
        "/sessions?limit=x&offset=&sort_by=id&direction=up",
        "any",
        422,
        schemas.SESSION_VALIDATION_ERROR,
    ),
    (
        "GET",
        "/sessions?limit=-1",
        "any",
        400,
        session_error(400, "Invalid session data provided during list"),
    ),
    ("GET", "/sessions/nowhere", "any", 404, schemas.SESSION_UNKNOWN_ROUTE),
    ("POST", "/sessions", "any", 405, schemas.SESSION_UNKNOWN_METHOD),
    ("DELETE", "/api/sessions", "any", 405, schemas.SESSION_UNKNOWN_METHOD),
    *(
        row
        for path in (
            *("/robots/sessions", f"/robots/sessions/{UNKNOWN_XID}", "/robots", f"/robots/{UNKNOWN_XID}"),
            *("/api/robots/sessions", f"/api/robots/sessions/{UNKNOWN_XID}", "/api/robots"),
            f"/api/robots/{UNKNOWN_XID}",
        )
        for row in (
            ("GET", path, None, 401, robot_error("unauthenticated", NOT_LOGGED_IN)),
            ("GET", path, "bad", 401, robot_error("unauthenticated", NOT_LOGGED_IN)),
            ("GET", path, "any", 403, robot_error("permission-denied", NO_ACCESS)),
            ("POST", path, "robots", 404, robot_error("not-found")),
        )
    ),
    ("GET", "/robots/sessions?account_id=x", "robots", 400, robot_error("invalid-argument")),
    ("GET", f"/robots/sessions/{UNKNOWN_XID}", "robots", 404, robot_error("not-found")),
    ("GET", f"/robots/{UNKNOWN_XID}", "robots", 404, robot_error("not-found")),
    ("GET", "/robots/a/b/c", "robots", 404, robot_error("not-found")),
    ("GET", AGENT_SESSIONS, None, 401, agent_session_error("UNAUTHORIZED", "Conjure:MissingCredentials")),
    (
        *("GET", AGENT_SESSIONS, "bad", 401),
        agent_session_error("UNAUTHORIZED", "Default:Unauthorized", {"error": "INVALID"}),
    ),
    (
        *("GET", f"{AGENT_SESSIONS}?preview=maybe", "expired", 401),
        agent_session_error("UNAUTHORIZED", "Default:Unauthorized", {"error": "EXPIRED"}),
    ),
    (
        *("GET", AGENT_SESSIONS, "any", 403),
        agent_session_error("PERMISSION_DENIED", "GetAllSessionsAgentsPermissionDenied"),
    ),
    *(
        (
            *("GET", f"{AGENT_SESSIONS}{query}", "agents", 400),
            agent_session_error("INVALID_ARGUMENT", name, parameters),
        )
        for query, name, parameters in (
            ("", "ApiFeaturePreviewUsageOnly", {}),
            ("?preview=false&pageSize=0", "ApiFeaturePreviewUsageOnly", {}),
            ("?preview=yes", "Conjure:InvalidArgument", {}),
            ("?preview=true&pageSize=0&pageToken=", "InvalidPageSize", {"pageSize": 0}),
            ("?preview=true&pageSize=-5", "InvalidPageSize", {"pageSize": -5}),
            ("?preview=true&pageSize=x", "Conjure:InvalidArgument", {}),
            ("?preview=true&pageToken=", "InvalidPageToken", {"pageToken": ""}),
            ("?preview=true&pageToken=v1.AAAA", "InvalidPageToken", {"pageToken": "v1.AAAA"}),
        )
    ),
    ("GET", "/api/v2/nowhere", "agents", 404, agent_session_error("NOT_FOUND", "Default:NotFound")),
    ("POST", AGENT_SESSIONS, "agents", 404, agent_session_error("NOT_FOUND", "Default:NotFound")),
]


@pytest.mark.parametrize("row", ERRORS, ids=lambda row: " ".join(map(str, row[:4])))
def test_error_is_in_the_words_of_its_path(stack: Stack, row: Error) -> None:
    method, path, caller, status, schema = row
    tokens = {
        "bad": "not.a.token",
        "any": stack.token("somebody"),
        "robots": robot_token(stack),
        "agents": stack.token("somebody", client_id="c", scopes=[SCOPE]),
        "expired": stack.token("somebody", expires_in=-timedelta(hours=1)),
    }
    headers = {} if caller is None else {"authorization": f"Bearer {tokens[caller]}"}
    response = httpx.request(method, stack.rest + path, headers=headers, timeout=30, verify=PLAIN)
    validated(response, schema, status)


# --- the schemas themselves -------------------------------------------------------------------------


def example_bodies() -> list[tuple[Schema, Any]]:
    """Return each path's schema with a body of every key."""
    sessions = {**strategies.example("robot_session"), "message_list": {"page_size": 50, "results": 1}}
    message_list = {"next_before": "0" * 20, "messages": [strategies.example("robot_message")]}
    sessions["message_list"] |= message_list
    page = {"results": 1, "total_pages": 2, "current_page": 1, "next_page": 2}
    return [
        (schemas.USER_SESSIONS, [strategies.example("user_session")]),
        (schemas.SESSIONS, {"items": [strategies.example("session")]}),
        (
            schemas.ROBOT_SESSIONS,
            {"page_size": 20, **page, "sessions": [strategies.example("robot_session")]},
        ),
        (schemas.ROBOT_SESSION, sessions),
        (schemas.ROBOTS, {"page_size": 50, **page, "robots": [strategies.example("robot")]}),
        (schemas.ROBOT, strategies.example("robot")),
        (schemas.AGENT_SESSIONS, {"data": [strategies.example("agent_session")], "nextPageToken": "v1.AAAA"}),
    ]


def objects_of(value: Any) -> Iterator[dict[str, Any]]:
    """Yield the objects of a body that have keys of the contract."""
    if isinstance(value, dict):
        yield value
        for key, item in value.items():
            # What is inside of any JSON is any JSON; the agent session's metadata has keys.
            if key not in ANY_JSON or "estimatedExpiresTime" in str(item):
                yield from objects_of(item)
    elif isinstance(value, list):
        for item in value:
            yield from objects_of(item)


ANY_JSON = {"workspace", "metadata", "metadata_filter", "misc", "meta", "parts"}
NULLABLE = {
    *("name", "dialogue", "quickReplies", "workspace", "clients", "language", "easyMode", "llmContext"),
    *("tutorialId", "audios", "userAudio", "screenshot", "clicks", "userInfo"),
    *(
        "situation",
        "system_template",
        "summary",
        "token_budget",
        "context_overflow",
        "recall_options",
        "kind",
    ),
}


@pytest.mark.parametrize(("schema", "body"), example_bodies())
def test_schema_takes_its_contract_and_nothing_else(schema: Schema, body: Any) -> None:
    assert schemas.errors_of(schema, body) == []
    nullable = set()
    for holder in objects_of(body):
        holder["unknown"] = 1
        assert schemas.errors_of(schema, body)
        del holder["unknown"]
        for key, value in list(holder.items()):
            for wrong in (b"", *([""] if isinstance(value, (int, float)) else [1] if key != "id" else [])):
                holder[key] = wrong
                assert schemas.errors_of(schema, body), key
            holder[key] = None
            if not schemas.errors_of(schema, body):
                nullable.add(key)
            holder[key] = value
    assert nullable <= NULLABLE
    if schema in (schemas.ROBOT, schemas.ROBOTS, schemas.ROBOT_SESSION, schemas.ROBOT_SESSIONS):
        assert not nullable
    assert schemas.errors_of(schema, body) == []

"""The OpenAPI document says what the service does, and all of it."""

import json
import re
import tomllib
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

import grpc
import httpx
import pytest
from google.api import annotations_pb2
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from openapi_spec_validator import validate

from server.app import REST_SERVICE, TYPED_SERVICES, routes
from server.errors import DeadlineExceededError, RollcallError, UnavailableError
from server.rest.call import RestCall
from tests.parts import (
    ROBOTS,
    SCOPE,
    Body,
    account,
    agent_line,
    agent_session,
    line,
    message,
    moment,
    robot,
    robot_session,
    session,
    uid,
    user_session,
    xid,
)
from tests.rest import schemas
from tests.rest.schemas import Schema, errors_of, parsed
from tests.stack import Stack

ROOT = Path(__file__).parents[2]
DOCUMENT: Body = json.loads((files("rollcall.v1") / "openapi.json").read_text())
PATHS: dict[str, Body] = DOCUMENT["paths"]
SITE = {"GetOpenApi", "GetDocs", "GetDocsFile", "GetConsole", "GetConsoleFile", "GetActivity"}
"""What is for people, and not in the document."""

DOCUMENTED = {
    path: method
    for method in REST_SERVICE.methods
    if method.name not in SITE
    for rule in [method.GetOptions().Extensions[annotations_pb2.http]]
    for path in (rule.get, *(binding.get for binding in rule.additional_bindings))
}
VERBS = ("get", "post", "patch", "delete")
IN_PATH = re.compile(r"\{(?:\w+\.)*(\w+)\}")
FOUNDRY = "/api/v2/aipAgents/agents/allSessions"

USER = "openapi"
SESSION, ROBOT, ROBOT_SESSION = uid(777_001), xid(777_001), xid(777_001)


def resolved(part: Body) -> Body:
    """What a reference leads to."""
    if "$ref" not in part:
        return part
    found: Any = DOCUMENT
    for step in part["$ref"].removeprefix("#/").split("/"):
        found = found[step.replace("~1", "/").replace("~0", "~")]
    return cast("Body", found)


def parameters(operation: Body) -> dict[str, Body]:
    return {made["name"]: made for made in map(resolved, operation.get("parameters", []))}


def media(operation: Body, status: int | str) -> dict[str, Body]:
    content: dict[str, Body] = resolved(operation["responses"][str(status)])["content"]
    return content


def breaches(schema: Schema, body: Any) -> list[str]:
    """What of a body breaks a schema of the document."""
    return errors_of({"components": DOCUMENT["components"], **schema}, body)


def check(operation: Body, response: httpx.Response) -> None:
    """An answer is one that the document knows."""
    documented = operation["responses"]
    status = response.status_code if str(response.status_code) in documented else "default"
    kind = response.headers["content-type"].partition(";")[0]
    assert breaches(media(operation, status)[kind]["schema"], parsed(response.content)) == []


def test_document_is_valid_openapi() -> None:
    validate(cast("Any", DOCUMENT))
    assert DOCUMENT["openapi"].startswith("3.1.")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert DOCUMENT["info"]["version"] == project["version"]


# --- the documented paths: parameters ---------------------------------------------------------------


def test_documented_paths_are_those_that_are_served() -> None:
    documented = {path for path in PATHS if not path.startswith("/v1/")}
    assert documented == set(DOCUMENTED)
    assert all(set(PATHS[path]) == {"get"} for path in documented)


@pytest.mark.parametrize("path", DOCUMENTED)
def test_parameters_are_those_that_the_server_reads(path: str) -> None:
    known = {field.json_name for field in DOCUMENTED[path].input_type.fields}
    documented = parameters(PATHS[path]["get"])
    assert set(documented) == known
    in_path = {name for name, made in documented.items() if made["in"] == "path"}
    assert in_path == set(IN_PATH.findall(path))


@pytest.fixture(scope="module")
def loaded(stack: Stack) -> Stack:
    """The service with two of each record, so that every parameter makes a difference."""
    stack.load(
        line("user_session", user_session(), user_id=USER),
        *(
            line("session", body, developer_id=USER)
            for body in (
                session(id=SESSION, created_at=moment(1), updated_at=moment(9), metadata={"plan": "pro"}),
                session(created_at=moment(2), updated_at=moment(8), recall_options={}),
            )
        ),
        line("robot", robot(id=ROBOT, misc={}, meta={})),
        line(
            "robot_session",
            robot_session(
                id=ROBOT_SESSION,
                created_by=account(777_001),
                messages=[
                    message(id=xid(777_000 + number), created_at=moment(number), author=account(777_001))
                    for number in (1, 2)
                ],
            ),
        ),
        line("robot_session", robot_session(id=xid(777_002))),
        agent_line("openapi", "*"),
        *(
            line("agent_session", agent_session(f"openapi-{number}", "openapi"), user_id=USER, client_id="c")
            for number in (1, 2)
        ),
    )
    return stack


def token(stack: Stack) -> str:
    return stack.token(USER, scopes=[SCOPE], permissions=[ROBOTS], client_id="c")


def filled(path: str) -> str:
    """A path with ids that are there."""
    return path.replace("sessions/{id}", f"sessions/{ROBOT_SESSION}").replace("{id}", ROBOT)


def needed(path: str) -> dict[str, str]:
    return {"preview": "true"} if path == FOUNDRY else {}


def answer(stack: Stack, path: str, **query: str) -> Any:
    made = httpx.get(
        stack.rest + filled(path),
        params=needed(path) | query,
        headers={"authorization": f"Bearer {token(stack)}"},
        timeout=30,
    )
    check(PATHS[path]["get"], made)
    return made.json() if made.is_success else made.status_code


VALUES = {
    "account_id": xid(777_001),
    "before": xid(777_002),
    "direction": "asc",
    "limit": "1",
    "metadata_filter": '{"plan":"pro"}',
    "offset": "1",
    "page": "2",
    "pageSize": "1",
    "preview": "false",
    "sort_by": "updated_at",
}
"""Values that change the answer."""

QUERIES = [
    (path, name)
    for path in DOCUMENTED
    for name, made in parameters(PATHS[path]["get"]).items()
    if made["in"] == "query"
]


@pytest.mark.parametrize(("path", "name"), QUERIES)
def test_every_documented_parameter_counts(loaded: Stack, path: str, name: str) -> None:
    if name == "pageToken":
        page = answer(loaded, path, pageSize="1")
        assert answer(loaded, path, pageToken=page["nextPageToken"])["data"] != page["data"]
    else:
        assert answer(loaded, path, **{name: VALUES[name]}) != answer(loaded, path)


@pytest.mark.parametrize(("path", "name"), QUERIES)
def test_a_default_is_what_an_absent_parameter_means(loaded: Stack, path: str, name: str) -> None:
    made = parameters(PATHS[path]["get"])[name]
    schema = made.get("schema") or made["content"]["application/json"]["schema"]
    if "default" in schema and name != "preview":
        value = schema["default"] if isinstance(schema["default"], str) else json.dumps(schema["default"])
        assert answer(loaded, path, **{name: value}) == answer(loaded, path)


@pytest.mark.parametrize("path", DOCUMENTED)
def test_what_is_not_documented_does_not_count(loaded: Stack, path: str) -> None:
    others = {name: value for name, value in VALUES.items() if name not in parameters(PATHS[path]["get"])}
    assert answer(loaded, path, unknown="1", **others) == answer(loaded, path)


# --- the documented paths: statuses and bodies ------------------------------------------------------


class RateLimitedError(RollcallError):
    code = grpc.StatusCode.RESOURCE_EXHAUSTED


FAULTS = (RollcallError, UnavailableError, DeadlineExceededError, RateLimitedError)
"""What no caller can bring about at will."""
UNKNOWN = xid(777_999)


def live(stack: Stack, path: str) -> Iterator[httpx.Response]:
    """Yield an answer of each kind that a caller can bring about."""
    url = stack.rest + filled(path)
    owner = {"authorization": f"Bearer {token(stack)}"}
    queries: list[dict[str, str]] = [
        {},
        *({name: "!"} for name in parameters(PATHS[path]["get"])),
        *({name: "-1"} for name in parameters(PATHS[path]["get"])),
    ]
    with httpx.Client(timeout=30) as client:
        for query in queries:
            yield client.get(url, params=needed(path) | query, headers=owner)
        yield client.get(url)
        yield client.get(url, headers={"authorization": "Bearer nonsense"})
        yield client.get(url, headers={"authorization": f"Bearer {stack.token('nobody')}"})
        yield client.get(url.replace(ROBOT, UNKNOWN), headers=owner)
        yield client.request("GET", url, params=needed(path), headers=owner, content=b"x" * 70_000)
        yield client.get(url, headers=owner | {"x-large": "x" * 100_000})


@pytest.mark.parametrize("path", DOCUMENTED)
def test_statuses_and_bodies_are_those_that_are_documented(loaded: Stack, path: str) -> None:
    operation = PATHS[path]["get"]
    seen = set()
    for response in live(loaded, path):
        assert str(response.status_code) in operation["responses"], response.text
        check(operation, response)
        seen.add(str(response.status_code))
    module = routes(*cast("Any", [None] * 4))[DOCUMENTED[path].name].module
    for fault in FAULTS:
        made = module.error(fault("message"), RestCall({}, {}, ()))
        body = json.loads(dict(made.metadata())["x-error-body"])
        assert breaches(media(operation, made.status)[made.content_type]["schema"], body) == []
        seen.add(str(made.status))
    assert seen == set(operation["responses"])


def plain(schema: Any, root: Body) -> Any:
    """A schema without what is for people; references followed, and one way to say null."""
    if isinstance(schema, list):
        return [plain(each, root) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if str(schema.get("$ref")).lower().replace("_", "").endswith("/dialogueitem"):
        return "a dialogue item"
    if "$ref" in schema:
        return plain(resolved(schema), root)
    kept: Body = {
        key: {name: plain(each, root) for name, each in value.items()}
        if key == "properties"
        else value
        if key in {"required", "enum", "const"}
        else plain(value, root)
        for key, value in schema.items()
        if key not in {"description", "examples", "format", "$defs"}
    }
    if "pattern" in kept:
        kept["pattern"] = re.sub(r"^\^\(\?:(.*)\)\$\(\?!\\n\)$", r"^\1$", kept["pattern"])
    match kept:
        case {"anyOf": [{"type": str(kind), **inner}, {"type": "null"}]}:
            return {**inner, "type": [kind, "null"]}
    return kept


STRICT = {
    "/session": schemas.USER_SESSIONS,
    "/sessions": schemas.SESSIONS,
    "/robots/sessions": schemas.ROBOT_SESSIONS,
    "/robots/sessions/{id}": schemas.ROBOT_SESSION,
    "/robots": schemas.ROBOTS,
    "/robots/{id}": schemas.ROBOT,
    FOUNDRY: schemas.AGENT_SESSIONS,
}


@pytest.mark.parametrize("path", DOCUMENTED)
def test_bodies_have_the_contracts_fields_and_no_other(path: str) -> None:
    strict = STRICT[path if path == FOUNDRY else path.removeprefix("/api")]
    documented = media(PATHS[path]["get"], 200)["application/json"]["schema"]
    assert plain(documented, DOCUMENT) == plain(strict, strict)


def test_a_dialogue_item_has_the_contracts_fields_and_no_other() -> None:
    strict = schemas.USER_SESSIONS["$defs"]["dialogue_item"]
    assert plain(DOCUMENT["components"]["schemas"]["DialogueItem"], DOCUMENT) == plain(strict, strict)


def objects(schema: Any) -> Iterator[Body]:
    if isinstance(schema, dict):
        if "properties" in schema and isinstance(schema.get("type"), str):
            yield schema
        for each in schema.values():
            yield from objects(each)
    elif isinstance(schema, list):
        for each in schema:
            yield from objects(each)


def test_every_schema_is_strict() -> None:
    found = list(objects(DOCUMENT["components"]))
    assert len(found) > 100
    assert all(schema["additionalProperties"] is False for schema in found)


def test_every_example_obeys_its_schema() -> None:
    responses = DOCUMENT["components"]["responses"]
    assert len(responses) > 40
    for name, response in responses.items():
        for content in response["content"].values():
            shown = [each["value"] for each in content.get("examples", {}).values()]
            shown += [content["example"]] if "example" in content else []
            assert shown, name
            for body in shown:
                assert breaches(content["schema"], body) == [], name


def test_every_part_is_described() -> None:
    for item in PATHS.values():
        for operation in item.values():
            assert operation["summary"]
            assert "`" not in operation["summary"]  # plain text, as OpenAPI has it
            assert {tag["name"] for tag in DOCUMENT["tags"]} >= set(operation["tags"])
            assert operation["security"]
            assert all(made["description"] for made in parameters(operation).values())
    used = {tag for item in PATHS.values() for operation in item.values() for tag in operation["tags"]}
    assert used == {tag["name"] for tag in DOCUMENT["tags"]}


# --- the product's own API --------------------------------------------------------------------------


def bindings() -> Iterator[tuple[str, str, str, MethodDescriptor]]:
    """Yield verb, path, body and method of every rule under /v1."""
    for service, _ in TYPED_SERVICES:
        for method in service.methods:
            rule = method.GetOptions().Extensions[annotations_pb2.http]
            for binding in (rule, *rule.additional_bindings):
                verb = next(verb for verb in VERBS if getattr(binding, verb))
                yield verb, getattr(binding, verb), binding.body, method


def test_operations_of_v1_are_those_of_the_protos() -> None:
    served = {(verb, IN_PATH.sub(r"{\1}", path)) for verb, path, _, _ in bindings()}
    documented = {(verb, path) for path in PATHS if path.startswith("/v1/") for verb in PATHS[path]}
    assert documented == served


def is_object(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.full_name == "google.protobuf.Struct"


def test_parameters_of_v1_are_those_of_the_protos() -> None:
    for verb, path, body, method in bindings():
        operation = PATHS[IN_PATH.sub(r"{\1}", path)][verb]
        in_path = set(IN_PATH.findall(path))
        others = {body, *in_path}
        in_query = {
            field.json_name
            for field in method.input_type.fields
            if body != "*" and field.name not in others and not is_object(field)
        }
        assert set(parameters(operation)) == in_path | in_query
        assert ("requestBody" in operation) == bool(body)


V1: dict[str, str] = {
    "/v1/userSessions": "?view=VIEW_FULL",
    "/v1/sessions": "?orderBy=updated_at",
    "/v1/sessions/{id}": SESSION,
    "/v1/robots": "",
    "/v1/robots/{id}": ROBOT,
    "/v1/robotSessions": "?pageSize=1",
    "/v1/robotSessions/{id}": ROBOT_SESSION,
    "/v1/robotSessions/{session_id}/messages": ROBOT_SESSION,
    "/v1/agentSessions": "",
    "/v1/agents": "",
}


@pytest.mark.parametrize("path", V1)
def test_answers_of_v1_are_documented(loaded: Stack, path: str) -> None:
    url = re.sub(r"\{\w+\}", V1[path], path) if "{" in path else path + V1[path]
    operation = PATHS[path]["get"]
    good, refused = loaded.get(url, token(loaded)), loaded.get(url)
    assert (good.status_code, refused.status_code) == (200, 401)
    assert good.json()
    check(operation, good)
    check(operation, refused)


def test_a_written_record_is_documented(loaded: Stack) -> None:
    writer = {"authorization": f"Bearer {loaded.token(USER, scopes=['sessions:write'])}"}
    operation = PATHS["/v1/sessions"]["post"]
    body = {"situation": "Order 7 is late.", "metadata": {"plan": "trial"}, "recallOptions": {}}
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    made = httpx.post(f"{loaded.rest}/v1/sessions", json=body, headers=writer)
    assert made.status_code == 200, made.text
    assert breaches(schema, body) == []
    assert breaches(schema, {"unknown": 1}) != []
    check(operation, made)

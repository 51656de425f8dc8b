"""The typed RPCs over REST, under /v1/ through Envoy: ProtoJSON in and out, errors as google.rpc.Status."""

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import grpc
import httpx
import orjson
import pytest
from google.api import annotations_pb2
from google.protobuf import json_format
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct
from google.rpc import status_pb2
from rollcall.v1 import agent_session_pb2, robot_pb2, session_pb2, user_session_pb2, view_pb2

from tests.services import kit
from tests.services.kit import Caller, Resource
from tests.stack import Stack

MODULES = (user_session_pb2, session_pb2, robot_pb2, agent_session_pb2)
METHODS = {
    method.input_type.name: method
    for module in MODULES
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
HTTP = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.ABORTED: 409,
}


@pytest.fixture(scope="module")
def http(stack: Stack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=stack.rest, timeout=30) as client:
        yield client


@pytest.fixture
def who(stack: Stack) -> Caller:
    return kit.writer(stack)


def headers(who: Caller) -> dict[str, str]:
    return {} if who.token is None else {"authorization": f"Bearer {who.token}"}


def call(http: httpx.Client, who: Caller, method: str, path: str, **options: Any) -> httpx.Response:
    return http.request(method, path, headers=headers(who) | options.pop("headers", {}), **options)


def transcribed(request: Message) -> tuple[str, str, dict[str, Any], Any]:
    """Return a request as the proto's HTTP annotation says: verb, path, query, body."""
    method = METHODS[request.DESCRIPTOR.name]
    rule = method.GetOptions().Extensions[annotations_pb2.http]
    data = json_format.MessageToDict(request)
    if "metadataFilter" in data:  # A map cannot be bound from a query.
        (rule,) = rule.additional_bindings
    verb = rule.WhichOneof("pattern")

    def variable(match: re.Match[str]) -> str:
        value = kit.value_at(request, match[1])
        top, _, nested = match[1].partition(".")
        if not nested:
            data.pop(_camel(top), None)
        return quote(value, safe="")

    path = re.sub(r"\{([a-z_.]+)\}", variable, getattr(rule, verb))
    body = None
    if rule.body == "*":
        body, data = data, {}
    elif rule.body:
        body = data.pop(_camel(rule.body), {})
    return verb.upper(), path, _query(data), body


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _query(data: dict[str, Any]) -> dict[str, Any]:
    return {name: str(value).lower() if isinstance(value, bool) else value for name, value in data.items()}


def rest(http: httpx.Client, who: Caller, request: Message) -> httpx.Response:
    verb, path, query, body = transcribed(request)
    return call(http, who, verb, path, params=query, json=body)


def answered(http: httpx.Client, who: Caller, request: Message) -> Any:
    """Return the typed response of a request that must succeed, strictly parsed."""
    answer = rest(http, who, request)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("application/json")
    response = METHODS[request.DESCRIPTOR.name].output_type
    module = next(module for module in MODULES if hasattr(module, response.name))
    return json_format.Parse(answer.content, getattr(module, response.name)())


def check_error(answer: httpx.Response, status: int, code: int) -> status_pb2.Status:
    """Check the error body of /v1/: a google.rpc.Status, whoever made it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("application/json")
    assert not [name for name in answer.headers if name.startswith(("grpc-", "x-error"))]
    found: status_pb2.Status = json_format.Parse(answer.content, status_pb2.Status())
    assert (found.code, bool(found.message)) == (code, True), answer.text
    assert set(answer.json()) >= {"code", "message"}
    return found


# --- every RPC -------------------------------------------------------------------------------------


def _life(resource: Resource) -> Iterator[Message]:
    """Yield requests that make, read, change and delete a record."""
    record = resource.record()
    key = resource.key_of(record)
    yield resource.create(record)
    yield resource.get(key)
    yield resource.listing(page_size=1000)
    yield resource.update(resource.relabelled(key), resource.label)
    yield resource.update(resource.relabelled(key, "newer"))
    yield resource.delete(key)
    yield resource.delete(key, allow_missing=True)
    if resource.batches:
        yield resource.batch([resource.record(), resource.record()])


def test_every_rpc_is_served_under_v1(http: httpx.Client, who: Caller) -> None:
    session = who(kit.ROBOT_SESSION.create(kit.robot_session()))
    message = kit.robot_message(session_id=session.id)
    requests = [
        *(request for resource in kit.RESOURCES for request in _life(resource)),
        kit.SESSION.listing(metadata_filter={"a": 1}),
        robot_pb2.CreateRobotMessageRequest(robot_message=message),
        robot_pb2.ListRobotMessagesRequest(session_id=session.id),
    ]
    served = set()
    for request in requests:
        answered(http, who, request)
        served.add(request.DESCRIPTOR.name)
    assert served == set(METHODS)


@pytest.mark.parametrize("resource", kit.RESOURCES, ids=str)
def test_rest_and_stubs_read_and_write_the_same_records(
    resource: Resource, http: httpx.Client, who: Caller
) -> None:
    created = answered(http, who, resource.create(resource.record()))
    key = resource.key_of(created)
    assert who(resource.get(key)) == created
    updated = who(resource.update(resource.relabelled(key), resource.label))
    assert answered(http, who, resource.get(key)) == updated
    page = resource.listing(page_size=1000)
    assert answered(http, who, page) == who(page)
    change = resource.relabelled(key, "newer")
    change.etag = updated.etag
    newer = answered(http, who, resource.update(change, resource.label))
    assert resource.label_of(newer) == "newer"
    assert who(resource.get(key)) == newer
    assert answered(http, who, resource.delete(key, etag=newer.etag)) == newer
    assert who.code(resource.get(key)) is grpc.StatusCode.NOT_FOUND


def test_every_sort_of_value_survives_both_ways(http: httpx.Client, who: Caller) -> None:
    kinds = user_session_pb2.DialogueItem
    line = kinds(content_type=kinds.CONTENT_TYPE_LOG, text="\u2019\U0001f600")
    folded = user_session_pb2.Dialogue(items=[line])
    record = kit.USER_SESSION.record(
        dialogue={"items": [{"id": 1.5, "content_type": kinds.CONTENT_TYPE_GROUP_LOG, "items": folded}]},
        workspace={"n": None, "t": True, "l": [1, 2.5, [], {}], "s": '\u2028"\\', "big": 2**53},
        quick_replies=user_session_pb2.StringList(),
        clicks={"items": [{"timestamp": 1_700_000_000_123}]},
        tutorial={"tutorial_id": 0},
        easy_mode=False,
        name="",
        created_at=kit.at(-62135596800),
        updated_at=kit.at(253402300799, 999_999_999),
    )
    created = answered(http, who, kit.USER_SESSION.create(record))
    assert who(kit.USER_SESSION.get(record.uuid)) == created
    assert (created.dialogue, created.workspace) == (record.dialogue, record.workspace)
    assert created.HasField("quick_replies")
    assert not created.HasField("clients")
    assert (created.HasField("name"), created.HasField("easy_mode")) == (True, True)
    full = kit.USER_SESSION.listing(view=view_pb2.VIEW_FULL)
    assert [*answered(http, who, full).user_sessions] == [created]


def test_json_has_camel_case_names_numbers_and_names_of_enums(http: httpx.Client, who: Caller) -> None:
    record = kit.SESSION.record(context_overflow=session_pb2.Session.CONTEXT_OVERFLOW_ADAPTIVE)
    body = rest(http, who, kit.SESSION.create(record)).json()
    assert (body["tokenBudget"], body["contextOverflow"]) == (7, "CONTEXT_OVERFLOW_ADAPTIVE")
    assert body["renderTemplates"] is False
    assert body["createdAt"].endswith("Z")
    assert body["developerId"] == who.tenant


@pytest.mark.parametrize("name", ["tokenBudget", "token_budget"])
def test_a_body_may_use_either_spelling_of_a_field(name: str, http: httpx.Client, who: Caller) -> None:
    answer = call(http, who, "POST", "/v1/sessions", json={name: 9})
    assert answer.json()["tokenBudget"] == 9


@pytest.mark.parametrize("name", ["pageSize", "page_size"])
def test_a_query_may_use_either_spelling_of_a_field(name: str, http: httpx.Client, who: Caller) -> None:
    who(kit.SESSION.batch([kit.session() for _ in range(3)]))
    answer = call(http, who, "GET", f"/v1/sessions?{name}=2").json()
    assert len(answer["sessions"]) == 2
    rest_of = call(http, who, "GET", f"/v1/sessions?{name}=2&pageToken={answer['nextPageToken']}").json()
    assert len(rest_of["sessions"]) == 1
    assert rest_of["nextPageToken"] == ""


@pytest.mark.parametrize("resource", kit.TIMED, ids=str)
def test_a_list_is_walked_by_its_tokens_over_either_surface(
    resource: Resource, http: httpx.Client, who: Caller
) -> None:
    who(resource.batch([resource.record() for _ in range(4)]))
    token = answered(http, who, resource.listing(page_size=2)).next_page_token
    over_rest = answered(http, who, resource.listing(page_size=1, page_token=token))
    by_stub = who(resource.listing(page_size=1, page_token=token))
    assert len(resource.items(over_rest)) == 1
    assert resource.items(over_rest) == resource.items(by_stub)


@pytest.mark.parametrize(
    "key",
    ["a b", "a/b", "a%2Fb", "../x", "a?b#c", "a&b=c", "\u2019\U0001f600", "a:search", "+", "$ne", "%", ";"],
)
def test_a_key_in_a_path_is_what_it_was_before_it_was_escaped(
    key: str, http: httpx.Client, who: Caller
) -> None:
    who(kit.USER_SESSION.create(kit.user_session(uuid=key)))
    assert answered(http, who, kit.USER_SESSION.get(key)).uuid == key
    assert (
        answered(http, who, kit.USER_SESSION.update(kit.USER_SESSION.relabelled(key), "name")).name == "new"
    )
    assert answered(http, who, kit.USER_SESSION.delete(key)).uuid == key
    assert who.code(kit.USER_SESSION.get(key)) is grpc.StatusCode.NOT_FOUND


def test_the_key_of_an_update_is_the_paths(http: httpx.Client, who: Caller) -> None:
    one, other = (who(kit.SESSION.create(kit.SESSION.record())) for _ in range(2))
    path = f"/v1/sessions/{one.id}?updateMask=situation"
    answer = call(http, who, "PATCH", path, json={"situation": "new"})
    assert answer.json()["situation"] == "new"
    contradicting = call(http, who, "PATCH", path, json={"id": other.id, "situation": "newer"})
    assert contradicting.status_code in {200, 400}
    assert who(kit.SESSION.get(other.id)) == other


def test_masks_and_upserts_come_in_the_query(http: httpx.Client, who: Caller) -> None:
    created = who(kit.SESSION.create(kit.SESSION.record()))
    path = f"/v1/sessions/{created.id}"
    body = {"situation": "new", "summary": "new", "tokenBudget": 8}
    masked = call(http, who, "PATCH", f"{path}?updateMask=situation,tokenBudget", json=body).json()
    assert (masked["situation"], masked["summary"], masked["tokenBudget"]) == ("new", "summary", 8)
    star = call(http, who, "PATCH", f"{path}?updateMask=*", json={"kind": "k"}).json()
    assert "situation" not in star
    assert star["kind"] == "k"
    missing = f"/v1/sessions/{kit.uid()}"
    check_error(call(http, who, "PATCH", missing, json=body), 404, 5)
    assert call(http, who, "PATCH", f"{missing}?allowMissing=true", json=body).status_code == 200


def test_unknown_query_parameters_are_ignored(http: httpx.Client, who: Caller) -> None:
    created = who(kit.SESSION.create(kit.SESSION.record()))
    for query in ("x=1", "x.y=1&z", "metadata_filter.a=1", "%ff=%fe", "&&&", "x=" + "y" * 60_000):
        answer = call(http, who, "GET", f"/v1/sessions?{query}")
        assert [item["id"] for item in answer.json()["sessions"]] == [created.id], query[:20]


def test_a_record_of_megabytes_goes_in_and_out(http: httpx.Client, who: Caller) -> None:
    record = kit.USER_SESSION.record(screenshot="x" * 9_000_000)
    created = answered(http, who, kit.USER_SESSION.create(record))
    assert len(created.screenshot) == 9_000_000
    assert answered(http, who, kit.USER_SESSION.get(record.uuid)) == created


# --- errors ----------------------------------------------------------------------------------------


def _refused(who: Caller) -> list[Message]:
    created = who(kit.SESSION.create(kit.SESSION.record()))
    stale = kit.SESSION.of(created.id, etag="stale", situation="x")
    return [
        *(resource.get(resource.new_key()) for resource in kit.RESOURCES),
        *(resource.delete(resource.new_key()) for resource in kit.RESOURCES),
        *(
            resource.update(resource.relabelled(resource.new_key()), resource.label)
            for resource in kit.RESOURCES
        ),
        *(resource.listing(page_size=-1) for resource in kit.RESOURCES),
        *(resource.listing(page_token="v1.x") for resource in kit.RESOURCES),
        kit.SESSION.create(kit.session(id=created.id)),
        kit.SESSION.update(stale, "situation"),
        kit.SESSION.delete(created.id, etag="stale"),
        kit.SESSION.create(kit.session(id='bad \u2019"\\\n')),
        kit.SESSION.batch([kit.session(), kit.session(id="bad")]),
        kit.SESSION.update(kit.SESSION.relabelled(created.id), "nothing"),
        kit.ROBOT_SESSION.listing(account_id="bad"),
        kit.ROBOT.listing(page=-1),
        robot_pb2.ListRobotMessagesRequest(session_id=kit.ROBOT_SESSION.new_key()),
    ]


def test_an_error_is_the_stubs_status_with_its_details(http: httpx.Client, who: Caller) -> None:
    for request in _refused(who):
        expected = who.refused(request)
        found = check_error(rest(http, who, request), HTTP[expected.code], expected.code.value[0])
        assert found == expected.status, request


def test_callers_who_may_not_get_the_stubs_status(stack: Stack, http: httpx.Client) -> None:
    stranger = kit.caller(stack)
    for who, status in (
        (stranger, 403),
        (Caller(stack.grpc, None), 401),
        (Caller(stack.grpc, "bad"), 401),
        (Caller(stack.grpc, stack.token("u", expires_in=_PAST)), 401),
    ):
        for request in (kit.SESSION.create(kit.session()), kit.ROBOT.listing(), kit.AGENT_SESSION.listing()):
            expected = who.refused(request)
            found = check_error(rest(http, who, request), status, expected.code.value[0])
            assert found == expected.status


_PAST = timedelta(seconds=-5)

BODIES: list[tuple[str, bytes]] = [
    ("cut", b'{"situation": "a"'),
    ("not JSON", b"situation=a"),
    ("an array", b"[]"),
    ("a string", b'"x"'),
    ("a number", b"1"),
    ("garbage behind", b'{"situation": "a"} x'),
    ("wrong type", b'{"tokenBudget": "many"}'),
    ("wrong shape", b'{"metadata": [1]}'),
    ("over int32", b'{"tokenBudget": 2147483648}'),
    ("a fraction", b'{"tokenBudget": 1.5}'),
    ("no such enum", b'{"contextOverflow": "NONE"}'),
    ("no time", b'{"createdAt": "yesterday"}'),
    ("not UTF-8", b'{"situation": "\xff\xfe"}'),
    ("a surrogate", b'{"situation": "\\ud800"}'),
    ("deep", b'{"metadata": {"a":' + b"[" * 5000 + b"]" * 5000 + b"}}"),
    ("NUL", b"\0" * 10),
    ("evil", b"\"'\\\r\n</script>\x1b[31m"),
]


@pytest.mark.parametrize("body", [body for _, body in BODIES], ids=[name for name, _ in BODIES])
def test_a_body_that_is_no_message_is_the_callers_fault(body: bytes, http: httpx.Client, who: Caller) -> None:
    for method, path in (("POST", "/v1/sessions"), ("PATCH", f"/v1/sessions/{kit.uid()}?allowMissing=true")):
        answer = call(http, who, method, path, content=body, headers={"content-type": "application/json"})
        check_error(answer, 400, 3)
    assert not who(kit.SESSION.listing()).sessions


def test_a_field_that_the_proto_does_not_have_is_refused_or_ignored_but_never_a_failure(
    http: httpx.Client, who: Caller
) -> None:
    answer = call(http, who, "POST", "/v1/sessions", json={"nothing": 1})
    assert answer.status_code in {200, 400}
    if answer.status_code == 400:
        check_error(answer, 400, 3)


def test_numbers_that_json_cannot_store_are_refused_by_their_field(http: httpx.Client, who: Caller) -> None:
    for value in ("NaN", "Infinity", "-Infinity"):
        answer = call(http, who, "POST", "/v1/sessions", json={"recallOptions": {"alpha": value}})
        found = check_error(answer, 400, 3)
        assert "session.recall_options.alpha" in str(found)


def test_a_struct_goes_28_levels_deep(http: httpx.Client, who: Caller) -> None:
    metadata: Any = 1
    for _ in range(28):
        metadata = {"a": metadata}
    answer = call(http, who, "POST", "/v1/sessions", json={"metadata": metadata})
    assert answer.status_code == 200
    assert answer.json()["metadata"] == metadata
    check_error(call(http, who, "POST", "/v1/sessions", json={"metadata": {"a": metadata}}), 400, 3)


@pytest.mark.parametrize(
    "query",
    [
        "pageSize=x",
        "pageSize=1.5",
        "pageSize=99999999999",
        "pageSize=-1",
        "offset=-1",
        "view=HUGE",
        "limit=x",
    ],
)
def test_a_parameter_that_does_not_parse_is_the_callers_fault(
    query: str, http: httpx.Client, who: Caller
) -> None:
    check_error(call(http, who, "GET", f"/v1/sessions?{query}"), 400, 3)


UNSERVED = [
    ("GET", "/v1/"),
    ("GET", "/v1/nothing"),
    ("GET", "/v1/sessions/a/b"),
    ("GET", "/v1/sessions:search"),
    ("GET", "/v1/robotSessions/x/nothing"),
    ("POST", "/v1/nothing"),
    ("GET", "/v1/session"),
    ("GET", "/v1/Sessions"),
    ("PUT", "/v1/sessions"),
    ("DELETE", "/v1/sessions"),
    ("PATCH", "/v1/sessions"),
    ("POST", "/v1/sessions/x"),
    ("PUT", "/v1/sessions/x"),
    ("GET", "/v1/sessions:batchCreate"),
    ("POST", "/v1/sessions:nothing"),
    ("POST", "/v1/agents:batchCreate"),
]


@pytest.mark.parametrize(("method", "path"), UNSERVED)
def test_what_is_not_served_is_a_status_too(method: str, path: str, http: httpx.Client, who: Caller) -> None:
    options: dict[str, Any] = {"json": {}} if method in {"POST", "PUT", "PATCH"} else {}
    answer = call(http, who, method, path, **options)
    assert answer.status_code in {404, 405}
    check_error(answer, answer.status_code, 5 if answer.status_code == 404 else 12)


def test_a_body_over_the_limit_is_a_status_too(http: httpx.Client, who: Caller) -> None:
    body = orjson.dumps({"situation": "x" * (18 << 20)})
    answer = call(
        http, who, "POST", "/v1/sessions", content=body, headers={"content-type": "application/json"}
    )
    assert answer.status_code in {400, 413}
    check_error(answer, answer.status_code, 3)


def test_a_body_that_no_document_holds_is_refused_by_its_field(http: httpx.Client, who: Caller) -> None:
    body = {"situation": "x" * (15 << 20)}
    found = check_error(call(http, who, "POST", "/v1/sessions", json=body), 400, 3)
    assert found.details


def test_headers_over_the_limit_are_json_too(http: httpx.Client, who: Caller) -> None:
    answer = call(http, who, "GET", "/v1/sessions", headers={"x-long": "y" * 120_000})
    assert answer.status_code == 431
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.json()


def test_every_answer_has_a_request_id(http: httpx.Client, who: Caller) -> None:
    for path in ("/v1/sessions", "/v1/nothing", f"/v1/sessions/{kit.uid()}", "/v1/sessions?pageSize=x"):
        assert call(http, who, "GET", path).headers["x-request-id"]


def test_answers_are_compressed_for_who_accepts_it(http: httpx.Client, who: Caller) -> None:
    who(kit.SESSION.create(kit.SESSION.record(situation="x" * 5000)))
    for coding in ("gzip", "br"):
        with http.stream("GET", "/v1/sessions", headers=headers(who) | {"accept-encoding": coding}) as answer:
            assert answer.headers["content-encoding"] == coding


def test_the_documented_filter_by_post_is_the_lists(http: httpx.Client, who: Caller) -> None:
    made = who(kit.SESSION.create(kit.SESSION.record(metadata={"a": {"b": 1}})))
    who(kit.SESSION.create(kit.SESSION.record()))
    filter_ = Struct()
    filter_.update({"a": {"b": 1}})
    found = answered(http, who, kit.SESSION.listing(metadata_filter=filter_, page_size=1))
    assert kit.SESSION.keys(found) == [made.id]

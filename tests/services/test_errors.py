"""What a typed call says when it fails: google.rpc.Status with its details, never an exception's text."""

import base64
import json
import math
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import jwt
import pytest
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import ListValue, Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1 import health_pb2, health_pb2_grpc
from rollcall.v1 import agent_session_pb2, robot_pb2, session_pb2, user_session_pb2

from server.app import SERVICES
from server.records.xid import new_xid
from tests.services import kit
from tests.services.kit import Caller, Refusal, Resource
from tests.stack import Stack, free_port

Code = grpc.StatusCode

LEAKS = (
    "Traceback",
    "Error(",
    "Exception",
    "pymongo",
    "motor",
    "mongo",
    "<class",
    'File "',
    "bson",
    "NoneType",
)


@pytest.fixture
def who(stack: Stack) -> Caller:
    return kit.writer(stack)


def check_status(refusal: Refusal) -> None:
    """Check what is true of all errors: the status says what the call does, a reason, and no more."""
    assert refusal.status.code == refusal.code.value[0]
    assert refusal.status.message == refusal.message
    assert refusal.message
    info = refusal.details["ErrorInfo"]
    assert info.domain == "rollcall"
    assert info.reason
    assert info.reason == info.reason.upper()
    whole = str(refusal.status)
    assert not [leak for leak in LEAKS if leak in whole]


# --- fields ----------------------------------------------------------------------------------------


def nested(levels: int) -> Struct:
    """Return an object of so many levels; a Struct of 29 is still one that parses."""
    struct = Struct()
    for _ in range(levels - 1):
        struct = Struct(fields={"a": Value(struct_value=struct)})
    return struct


def nested_lists(levels: int) -> Struct:
    value = Value(list_value=ListValue())
    for _ in range(levels - 2):
        value = Value(list_value=ListValue(values=[value]))
    return Struct(fields={"a": value})


def dialogue(levels: int) -> user_session_pb2.Dialogue:
    kind = user_session_pb2.DialogueItem.CONTENT_TYPE_LOG
    leaf = user_session_pb2.DialogueItem(id=1, content_type=kind, text="x")
    found = user_session_pb2.Dialogue(items=[leaf])
    for _ in range(levels - 1):
        item = user_session_pb2.DialogueItem(id=1, content_type=kind)
        item.items.CopyFrom(found)
        found = user_session_pb2.Dialogue(items=[item])
    return found


def _item(**changes: Any) -> user_session_pb2.Dialogue:
    log = user_session_pb2.DialogueItem.CONTENT_TYPE_LOG
    good = user_session_pb2.DialogueItem(content_type=log, text="x")
    fields: dict[str, Any] = {"content_type": log, "text": "x"}
    bad = user_session_pb2.DialogueItem(**fields | changes)
    return user_session_pb2.Dialogue(items=[good, bad])


_LATE = Timestamp(seconds=253402300800)
_EARLY = Timestamp(seconds=-62135596801)
_NAN, _INFINITY = math.nan, -math.inf

FIELDS: list[tuple[Resource, dict[str, Any], str]] = [
    (kit.USER_SESSION, {"uuid": "\0"}, "uuid"),
    (kit.USER_SESSION, {"name": "a\0b"}, "name"),
    (kit.USER_SESSION, {"user_id": "a\0b"}, "user_id"),
    (kit.USER_SESSION, {"quick_replies": {"values": ["", "\0"]}}, "quick_replies.values[1]"),
    (kit.USER_SESSION, {"clients": {"values": ["\0"]}}, "clients.values[0]"),
    (kit.USER_SESSION, {"workspace": {"a": {"b": [0, _NAN]}}}, "workspace.a.b[1]"),
    (kit.USER_SESSION, {"workspace": {"\0": 1}}, "workspace"),
    (kit.USER_SESSION, {"tutorial": {"progress": _NAN}}, "tutorial.progress"),
    (kit.USER_SESSION, {"tutorial": {"tutorial_id": _INFINITY}}, "tutorial.tutorial_id"),
    (kit.USER_SESSION, {"stats": {"total_invoked_llm": _NAN}}, "stats.total_invoked_llm"),
    (kit.USER_SESSION, {"audios": {"items": [{"id": "\0"}]}}, "audios.items[0].id"),
    (kit.USER_SESSION, {"clicks": {"items": [{}, {"x": _NAN}]}}, "clicks.items[1].x"),
    (kit.USER_SESSION, {"dialogue": _item(id=_NAN)}, "dialogue.items[1].id"),
    (kit.USER_SESSION, {"dialogue": _item(content_type=0)}, "dialogue.items[1].content_type"),
    (kit.USER_SESSION, {"dialogue": _item(content_type=99)}, "dialogue.items[1].content_type"),
    (kit.USER_SESSION, {"dialogue": _item(ui="\0")}, "dialogue.items[1].ui"),
    (kit.USER_SESSION, {"response_mode": "voice"}, "response_mode"),
    (kit.USER_SESSION, {"user_info": Value(number_value=1)}, "user_info"),
    (kit.USER_SESSION, {"user_info": Value()}, "user_info"),
    (kit.USER_SESSION, {"created_at": _LATE}, "created_at"),
    (kit.USER_SESSION, {"updated_at": _EARLY}, "updated_at"),
    (kit.USER_SESSION, {"created_at": Timestamp(nanos=-1)}, "created_at"),
    (kit.USER_SESSION, {"created_at": Timestamp(nanos=10**9)}, "created_at"),
    (kit.SESSION, {"id": "no uuid"}, "id"),
    (kit.SESSION, {"id": "00000000-0000-0000-0000-00000000000g"}, "id"),
    (kit.SESSION, {"metadata": {"a": _INFINITY}}, "metadata.a"),
    (kit.SESSION, {"metadata": Struct(fields={"a": Value()})}, "metadata.a"),
    (kit.SESSION, {"context_overflow": 7}, "context_overflow"),
    (kit.SESSION, {"recall_options": {"mode": 9}}, "recall_options.mode"),
    (kit.SESSION, {"recall_options": {"alpha": _NAN}}, "recall_options.alpha"),
    (kit.SESSION, {"recall_options": {"metadata_filter": {"a": _NAN}}}, "recall_options.metadata_filter.a"),
    (kit.ROBOT, {"author": None}, "author.id"),
    (kit.ROBOT, {"author": robot_pb2.Account(id="x")}, "author.joined"),
    (
        kit.ROBOT,
        {"author": robot_pb2.Account(id="x", joined=kit.at(1), roles=[robot_pb2.Role()])},
        "author.roles[0].id",
    ),
    (kit.ROBOT, {"tools": ["a", "\0"]}, "tools[1]"),
    (kit.ROBOT, {"misc": {"a": [_NAN]}}, "misc.a[0]"),
    (kit.ROBOT_SESSION, {"id": "no xid"}, "id"),
    (kit.ROBOT_SESSION, {"id": "w" * 20}, "id"),
    (kit.ROBOT_SESSION, {"created_by": None}, "created_by.id"),
    (kit.ROBOT_SESSION, {"deleted_at": _LATE}, "deleted_at"),
    (kit.AGENT_SESSION, {"rid": "ri.no"}, "rid"),
    (kit.AGENT_SESSION, {"rid": "ri.aip-agents..session."}, "rid"),
    (kit.AGENT_SESSION, {"rid": "ri.aip-agents..session.a\n"}, "rid"),
    (kit.AGENT_SESSION, {"agent_rid": ""}, "agent_rid"),
    (kit.AGENT_SESSION, {"metadata": {"title": "\0"}}, "metadata.title"),
    (kit.AGENT_SESSION, {"metadata": {"updated_time": _LATE}}, "metadata.updated_time"),
    (kit.AGENT_SESSION, {"user_id": "a\0b"}, "user_id"),
    (kit.AGENT_SESSION, {"client_id": "a\0b"}, "client_id"),
    (kit.AGENT, {"rid": "RI.x"}, "rid"),
    (kit.AGENT, {"viewers": ["*", "user:"]}, "viewers[1]"),
    (kit.AGENT, {"viewers": ["role:x"]}, "viewers[0]"),
    (kit.AGENT, {"viewers": ["user:a\0b"]}, "viewers[0]"),
]


@pytest.mark.parametrize(
    ("resource", "changes", "field"),
    FIELDS,
    ids=[f"{each[0]}-{each[2]}-{n}" for n, each in enumerate(FIELDS)],
)
def test_what_a_contract_cannot_print_is_refused_by_its_protobuf_field(
    resource: Resource, changes: dict[str, Any], field: str, who: Caller
) -> None:
    record = resource.record(**changes)
    refusal = who.refused(resource.create(record))
    check_status(refusal)
    path = f"{resource.name}.{field}"
    assert (refusal.code, refusal.reason, refusal.fields) == (Code.INVALID_ARGUMENT, "INVALID_FIELD", [path])
    assert refusal.details["ErrorInfo"].metadata["field"] == path
    (violation,) = refusal.details["BadRequest"].field_violations
    assert violation.description
    if resource.batches:
        refusal = who.refused(resource.batch([resource.record(), record]))
        assert refusal.fields == [f"requests[1].{path}"]


@pytest.mark.parametrize("make", [nested, nested_lists])
def test_any_json_goes_28_levels_deep_and_no_deeper(make: Any, who: Caller) -> None:
    created = who(kit.SESSION.create(kit.SESSION.record(metadata=make(28))))
    assert who(kit.SESSION.get(created.id)).metadata == make(28)
    for resource, field in ((kit.SESSION, "metadata"), (kit.USER_SESSION, "workspace"), (kit.ROBOT, "misc")):
        refusal = who.refused(resource.create(resource.record(**{field: make(29)})))
        assert refusal.code is Code.INVALID_ARGUMENT
        assert refusal.fields[0].startswith(f"{resource.name}.{field}.a")


def test_a_dialogue_folds_28_levels_deep_and_no_deeper(who: Caller) -> None:
    created = who(kit.USER_SESSION.create(kit.USER_SESSION.record(dialogue=dialogue(28))))
    assert who(kit.USER_SESSION.get(created.uuid)).dialogue == dialogue(28)
    refusal = who.refused(kit.USER_SESSION.create(kit.USER_SESSION.record(dialogue=dialogue(29))))
    assert refusal.code is Code.INVALID_ARGUMENT
    assert refusal.fields[0].startswith("user_session.dialogue")


def test_whole_numbers_of_any_size_that_a_double_holds_are_kept(who: Caller) -> None:
    numbers = [0, -0.0, 1, 2**53, -(2**53), 2.0**60, 1e308, 5e-324, 0.1]
    created = who(kit.SESSION.create(kit.SESSION.record(metadata={"n": numbers})))
    assert [*who(kit.SESSION.get(created.id)).metadata["n"]] == numbers


_MESSAGES: list[tuple[dict[str, Any], str]] = [
    ({"role": 0}, "role"),
    ({"role": 9}, "role"),
    ({"parts": [{"a": _NAN}]}, "parts[0].a"),
    ({"robot": robot_pb2.RobotReference(name="x")}, "robot.id"),
    ({"author": robot_pb2.Account(id="x")}, "author.joined"),
    ({"id": "\0"}, "id"),
]


@pytest.mark.parametrize(("changes", "field"), _MESSAGES)
def test_a_message_that_its_contract_cannot_print_is_refused_by_its_field(
    changes: dict[str, Any], field: str, who: Caller
) -> None:
    session = who(kit.ROBOT_SESSION.create(kit.robot_session()))
    message = kit.robot_message(session_id=session.id, **changes)
    refusal = who.refused(robot_pb2.CreateRobotMessageRequest(robot_message=message))
    check_status(refusal)
    assert (refusal.code, refusal.fields) == (Code.INVALID_ARGUMENT, [f"robot_message.{field}"])


def test_the_session_of_a_message_is_required(who: Caller) -> None:
    listing = who.refused(robot_pb2.ListRobotMessagesRequest())
    assert (listing.code, listing.fields) == (Code.INVALID_ARGUMENT, ["session_id"])
    create = who.refused(robot_pb2.CreateRobotMessageRequest(robot_message=kit.robot_message()))
    assert (create.code, create.fields) == (Code.INVALID_ARGUMENT, ["robot_message.session_id"])


# --- every error has its details -------------------------------------------------------------------


def _each_error(stack: Stack, who: Caller) -> Iterator[tuple[Refusal, Code, str, str]]:
    """Yield (refusal, code, reason, the detail beside ErrorInfo)."""
    created = who(kit.SESSION.create(kit.SESSION.record(), "id"))
    stale = kit.SESSION.of(created.id, etag="stale", situation="x")
    reader = kit.caller(stack, who.sub, who.tenant)
    expired = stack.token("u", expires_in=timedelta(seconds=-1))
    yield who.refused(kit.SESSION.get(kit.uid())), Code.NOT_FOUND, "RECORD_NOT_FOUND", "ResourceInfo"
    yield who.refused(kit.SESSION.create(created)), Code.ALREADY_EXISTS, "RECORD_EXISTS", "ResourceInfo"
    yield who.refused(kit.SESSION.update(stale)), Code.ABORTED, "ETAG_STALE", "ResourceInfo"
    yield who.refused(kit.SESSION.listing(offset=-1)), Code.INVALID_ARGUMENT, "INVALID_FIELD", "BadRequest"
    yield (
        who.refused(kit.SESSION.listing(page_token="x")),
        Code.INVALID_ARGUMENT,
        "PAGE_TOKEN_INVALID",
        "BadRequest",
    )
    yield (
        who.refused(kit.SESSION.create(kit.SESSION.record(), "id")),
        Code.INVALID_ARGUMENT,
        "REQUEST_ID_REUSED",
        "BadRequest",
    )
    yield reader.refused(kit.SESSION.create(kit.session())), Code.PERMISSION_DENIED, "SCOPE_MISSING", ""
    yield reader.refused(kit.ROBOT.listing()), Code.PERMISSION_DENIED, "PERMISSION_MISSING", ""
    yield reader.refused(kit.AGENT_SESSION.listing()), Code.PERMISSION_DENIED, "SCOPE_MISSING", ""
    for token, reason in ((None, "MISSING"), ("x", "INVALID"), (expired, "EXPIRED")):
        refusal = Caller(stack.grpc, token).refused(kit.SESSION.listing())
        yield refusal, Code.UNAUTHENTICATED, f"CREDENTIALS_{reason}", ""


def test_every_error_has_a_status_with_a_reason_and_its_details(stack: Stack, who: Caller) -> None:
    for refusal, code, reason, detail in _each_error(stack, who):
        check_status(refusal)
        assert (refusal.code, refusal.reason) == (code, reason)
        assert set(refusal.details) == {"ErrorInfo", detail} - {""}


def test_errors_are_the_same_through_the_proxy(stack: Stack, who: Caller) -> None:
    through = Caller(stack.envoy_grpc, who.token)
    for request in (
        kit.SESSION.get(kit.uid()),
        kit.SESSION.listing(page_size=-1),
        kit.SESSION.listing(page_token="x"),
        kit.SESSION.update(kit.SESSION.relabelled(kit.uid())),
        kit.ROBOT_SESSION.create(kit.robot_session(id="bad")),
    ):
        assert through.refused(request).status == who.refused(request).status


def test_a_resource_is_named_by_its_type_and_key(who: Caller) -> None:
    for resource in kit.RESOURCES:
        key = resource.new_key()
        refusal = who.refused(resource.get(key))
        check_status(refusal)
        info = refusal.details["ResourceInfo"]
        assert (info.resource_type, info.resource_name) == (resource.name, key)
        assert refusal.details["ErrorInfo"].metadata["resource"] == key


# --- credentials -----------------------------------------------------------------------------------


def _claims(stack: Stack) -> dict[str, Any]:
    token = stack.token("u", "t", scopes=[kit.READ, kit.WRITE])
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


def _signed(stack: Stack, claims: dict[str, Any], secret: str = "", algorithm: str = "HS256") -> str:
    return jwt.encode(claims, secret or str(stack.settings.secret("jwt_secret")), algorithm=algorithm)


def _unsigned(claims: dict[str, Any]) -> str:
    header, body = ({"alg": "none", "typ": "JWT"}, {k: v for k, v in claims.items() if k != "nbf"})
    encoded = (base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, body))
    return b".".join((*encoded, b"")).decode()


def test_credentials_that_do_not_hold_are_refused_and_say_no_more(stack: Stack) -> None:
    good, now = _claims(stack), datetime.now(UTC)
    bad = [
        _signed(stack, good, "another secret that is long enough for it"),
        _signed(stack, good, algorithm="HS512"),
        _unsigned(good),
        _signed(stack, good | {"iss": "another"}),
        _signed(stack, good | {"aud": "another"}),
        _signed(stack, good | {"nbf": now + timedelta(hours=1)}),
        _signed(stack, {name: value for name, value in good.items() if name != "exp"}),
        _signed(stack, {name: value for name, value in good.items() if name != "sub"}),
        _signed(stack, good | {"sub": ""}),
        _signed(stack, good | {"sub": "a\0b"}),
        _signed(stack, good | {"developer_id": 7}),
        _signed(stack, good | {"scope": ["sessions:write"]}),
        _signed(stack, good | {"permissions": "ADMINISTRATOR"}),
        _signed(stack, good)[:-4] + "AAAA",
        "x",
        "x" * 9000,
        "..",
        "e30.e30.e30",
    ]
    assert Caller(stack.grpc, _signed(stack, good)).code(kit.SESSION.listing()) is Code.OK
    for token in bad:
        refusal = Caller(stack.grpc, token).refused(kit.SESSION.listing())
        check_status(refusal)
        assert (refusal.code, refusal.reason) == (Code.UNAUTHENTICATED, "CREDENTIALS_INVALID"), token[:80]
    expired = _signed(stack, good | {"exp": now - timedelta(seconds=1)})
    refusal = Caller(stack.grpc, expired).refused(kit.SESSION.listing())
    assert (refusal.code, refusal.reason) == (Code.UNAUTHENTICATED, "CREDENTIALS_EXPIRED")


def test_every_rpc_asks_for_credentials_before_it_looks_at_anything(stack: Stack) -> None:
    nobody = Caller(stack.grpc, None)
    asked = 0
    for module in (user_session_pb2, session_pb2, robot_pb2, agent_session_pb2):
        for service in module.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                refusal = nobody.refused(getattr(module, method.input_type.name)())
                assert (refusal.code, refusal.reason) == (Code.UNAUTHENTICATED, "CREDENTIALS_MISSING")
                check_status(refusal)
                asked += 1
    assert asked == 37


def test_a_bearer_token_a_bare_token_and_any_case_of_the_scheme_are_credentials(stack: Stack) -> None:
    token = stack.token("u")
    stub = session_pb2_stub(stack)
    for value in (f"Bearer {token}", f"bearer {token}", token):
        stub.ListSessions(session_pb2.ListSessionsRequest(), metadata=(("authorization", value),))
    for value in ("", "Bearer", "Bearer ", f"Basic {token}"):
        with pytest.raises(grpc.RpcError) as caught:
            stub.ListSessions(session_pb2.ListSessionsRequest(), metadata=(("authorization", value),))
        assert kit.refusal_of(caught.value).code is Code.UNAUTHENTICATED, value


def session_pb2_stub(stack: Stack) -> Any:
    return kit.STUBS["SessionService"](kit.channel(stack.grpc))


# --- requests that are no messages -----------------------------------------------------------------


def _raw(address: str, method: str, data: bytes, token: str, seconds: float = 10) -> Refusal:
    call = kit.channel(address).unary_unary(
        f"/rollcall.v1.SessionService/{method}",
        request_serializer=lambda raw: raw,
        response_deserializer=lambda raw: raw,
    )
    try:
        answer = call(data, metadata=(("authorization", f"Bearer {token}"),), timeout=seconds)
    except grpc.RpcError as error:
        return kit.refusal_of(error)
    raise AssertionError(f"answered: {answer!r:.200}")


def _string_field(number: int, data: bytes) -> bytes:
    return bytes([number << 3 | 2, len(data)]) + data


@pytest.mark.parametrize("through", ["server", "proxy"])
@pytest.mark.parametrize(
    "data",
    [
        _string_field(1, b"\xff\xfe"),
        _string_field(1, b"\xed\xa0\x80"),
        b"\xff" * 20,
        b"\x0a\x7f",
        b"\x0b" * 200,
    ],
    ids=["not utf-8", "a surrogate", "no tag", "cut", "groups"],
)
def test_bytes_that_are_no_message_are_the_callers_fault(through: str, data: bytes, stack: Stack) -> None:
    address = stack.grpc if through == "server" else stack.envoy_grpc
    refusal = _raw(address, "GetSession", data, stack.token("u"))
    check_status(refusal)
    assert (refusal.code, refusal.reason) == (Code.INVALID_ARGUMENT, "INVALID_FIELD")


def test_a_struct_too_deep_to_parse_is_the_callers_fault(stack: Stack, who: Caller) -> None:
    struct = b""
    for _ in range(60):
        value = b"\x2a" + _varint(len(struct)) + struct
        entry = b"\x0a\x01a\x12" + _varint(len(value)) + value
        struct = b"\x0a" + _varint(len(entry)) + entry
    session = b"\x5a" + _varint(len(struct)) + struct
    data = b"\x0a" + _varint(len(session)) + session
    refusal = _raw(stack.grpc, "CreateSession", data, str(who.token))
    check_status(refusal)
    assert refusal.code is Code.INVALID_ARGUMENT


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes((*out, number))


def test_unknown_fields_are_ignored(who: Caller) -> None:
    created = who(kit.SESSION.create(kit.SESSION.record()))
    request = kit.SESSION.get(created.id)
    request.MergeFromString(b"\xfa\x3f\x03abc")
    assert who(request) == created


def test_an_unknown_rpc_is_unimplemented(stack: Stack) -> None:
    assert _raw(stack.grpc, "DropSessions", b"", stack.token("u")).code is Code.UNIMPLEMENTED


def test_a_request_over_16_mebibytes_is_refused_and_one_below_is_read(who: Caller) -> None:
    over = kit.SESSION.create(kit.SESSION.record(situation="x" * (17 << 20)))
    assert who.refused(over).code is Code.RESOURCE_EXHAUSTED
    below = kit.SESSION.create(kit.SESSION.record(situation="x" * ((16 << 20) - 1000)))
    refusal = who.refused(below)
    assert (refusal.code, refusal.fields) == (Code.INVALID_ARGUMENT, ["session"])


def test_a_batch_that_is_too_much_for_one_transaction_is_refused_whole(who: Caller) -> None:
    # Each key has an entry in two indexes, and all of them wait in MongoDB's cache.
    metadata = {f"k{number}": number for number in range(800)}
    refusal = who.refused(kit.SESSION.batch([kit.SESSION.record(metadata=metadata) for _ in range(1000)]))
    assert (refusal.code, refusal.fields) == (Code.INVALID_ARGUMENT, ["requests"])
    assert not who(kit.SESSION.listing()).sessions


# --- odd text --------------------------------------------------------------------------------------

ODD = {
    "emoji": "\u2019\u00e9\U0001f600",
    "newline": "\r\nx-evil: 1",
    "percent": "%00%0a",
    "dollar": "$where",
    "noncharacters": "\ufffe\uffff",
    "quotes": "'\"<>{}",
    "long": "a" * 50_000,
    "long emoji": "\U0001f600" * 2000,
}


@pytest.mark.parametrize("text", ODD.values(), ids=ODD)
def test_odd_text_anywhere_in_a_request_is_data(text: str, who: Caller) -> None:
    for resource in kit.RESOURCES:
        refusal = who.refused(resource.get(text))
        check_status(refusal)
        assert refusal.code is Code.NOT_FOUND
        named = refusal.details["ResourceInfo"].resource_name
        assert named
        assert text.startswith(named.rstrip("\u2026."))
        assert named == text or len(text) > 1000 >= len(named)
    for request in (
        kit.SESSION.listing(order_by=text),
        kit.SESSION.listing(page_token=text),
        kit.ROBOT_SESSION.listing(account_id=text),
        kit.SESSION.update(kit.SESSION.relabelled(kit.uid()), text),
        kit.SESSION.create(kit.SESSION.record(id=text)),
    ):
        refusal = who.refused(request)
        check_status(refusal)
        assert refusal.code is Code.INVALID_ARGUMENT
    metadata = {text: text}
    created = who(kit.SESSION.create(kit.SESSION.record(metadata=metadata), text[:128]))
    assert kit.SESSION.keys(who(kit.SESSION.listing(metadata_filter=metadata))) == [created.id]


def test_odd_owners_are_data(stack: Stack) -> None:
    for name in ("$ne", "a.b", "", "{}", "u\u2019\U0001f600", "x" * 900):
        sub = f"{name}{kit.uid()}"
        who = kit.writer(stack, sub, f"t{sub}", client_id=name or "c")
        for resource in (kit.USER_SESSION, kit.SESSION, kit.AGENT_SESSION):
            key = resource.key_of(who(resource.create(resource.record())))
            assert resource.keys(who(resource.listing())) == [key] or resource is kit.AGENT_SESSION
            assert resource.key_of(who(resource.get(key))) == key


# --- time and health -------------------------------------------------------------------------------


@pytest.mark.parametrize("through", ["server", "proxy"])
@pytest.mark.parametrize("seconds", [0.0, 0.000_001, 0.001])
def test_a_call_with_a_tiny_deadline_ends_in_time(
    through: str, seconds: float, stack: Stack, who: Caller
) -> None:
    address = stack.grpc if through == "server" else stack.envoy_grpc
    caller = Caller(address, who.token)
    began = time.monotonic()
    for _ in range(20):
        try:
            caller(kit.SESSION.listing(), timeout=seconds)
        except grpc.RpcError as error:
            assert kit.refusal_of(error).code is Code.DEADLINE_EXCEEDED  # noqa: PT017 # most of them, not all
    assert time.monotonic() - began < 10
    assert who.code(kit.SESSION.listing()) is Code.OK


def test_a_cancelled_call_leaves_the_service_well(stack: Stack, who: Caller) -> None:
    stub = session_pb2_stub(stack)
    for _ in range(50):
        stub.ListSessions.future(session_pb2.ListSessionsRequest(), metadata=who.metadata).cancel()
    assert who.code(kit.SESSION.listing()) is Code.OK


AT_ONCE = 8
"""Calls that all get a place in the server, so that none is shed."""
NO_STORE = "mongodb://127.0.0.1:{}/?replicaSet=rollcall"


def test_without_its_store_every_call_is_unavailable_and_says_when_to_try_again(
    stack: Stack, who: Caller
) -> None:
    requests: list[Message] = [
        *(resource.listing() for resource in kit.RESOURCES),
        *(resource.get(resource.new_key()) for resource in kit.RESOURCES),
        *(resource.create(resource.record(), "id") for resource in kit.RESOURCES),
        *(resource.update(resource.relabelled(resource.new_key())) for resource in kit.RESOURCES),
        *(resource.delete(resource.new_key()) for resource in kit.RESOURCES),
        *(resource.batch([resource.record()]) for resource in kit.BATCHED),
        robot_pb2.ListRobotMessagesRequest(session_id=new_xid()),
    ]
    store = NO_STORE.format(free_port())
    with kit.serving(stack, mongodb_uri=store, mongodb_seconds=0.3, request_seconds=2) as address:
        there = replace(who, address=address)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            refusals = list(pool.map(there.refused, requests))
        for refusal in refusals:
            check_status(refusal)
            assert (refusal.code, refusal.reason) == (Code.UNAVAILABLE, "STORE_UNAVAILABLE")
            assert refusal.details["RetryInfo"].retry_delay.ToMilliseconds() > 0
        health: Any = health_pb2_grpc.HealthStub(kit.channel(address))
        for name in ("", *SERVICES):
            status = health.Check(health_pb2.HealthCheckRequest(service=name)).status
            assert status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert Caller(address, None).code(kit.SESSION.listing()) is Code.UNAUTHENTICATED


def test_without_its_store_a_call_waits_no_longer_than_the_setting_for_a_node(
    stack: Stack, who: Caller
) -> None:
    store = NO_STORE.format(free_port())
    with kit.serving(stack, mongodb_uri=store, mongodb_seconds=0.3, request_seconds=5) as address:
        there = replace(who, address=address)
        for request in (
            kit.SESSION.listing(),
            kit.SESSION.create(kit.session()),
            kit.ROBOT.create(kit.robot()),
            kit.SESSION.batch([kit.session(), kit.session()]),
        ):
            began = time.monotonic()
            assert there.code(request) is Code.UNAVAILABLE
            assert time.monotonic() - began < 3, request.DESCRIPTOR.name


def test_a_store_that_hangs_is_told_in_time(stack: Stack, who: Caller) -> None:
    """The nearer of the call's deadline and the setting bounds the store's operation."""
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        store = f"mongodb://127.0.0.1:{hanging.getsockname()[1]}/?directConnection=true"
        with kit.serving(stack, mongodb_uri=store, request_seconds=1) as address:
            there = replace(who, address=address)
            for request in (kit.SESSION.listing(), kit.SESSION.create(kit.session())):
                began = time.monotonic()
                refusal = there.refused(request)
                assert time.monotonic() - began < 3
                check_status(refusal)
                assert refusal.code in {Code.DEADLINE_EXCEEDED, Code.UNAVAILABLE}

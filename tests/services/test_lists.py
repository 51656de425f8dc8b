"""Every typed list: pages, tokens, filters, orders, counts; what the surfaces see of one another."""

import base64
import itertools
import math
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import NullValue, Struct, Value
from rollcall.v1 import agent_session_pb2, robot_pb2, session_pb2, user_session_pb2, view_pb2

from server.page_tokens import PageTokens
from server.records.caller import Caller as SealedFor
from server.records.times import from_proto, sortable
from server.records.xid import new_xid
from server.services import paging
from tests import parts
from tests.services import kit
from tests.services.kit import Caller, Resource
from tests.stack import Stack

Code = grpc.StatusCode

FOUNDRY = "/api/v2/aipAgents/agents/allSessions?preview=true"
TOKEN_INVALID = (Code.INVALID_ARGUMENT, "PAGE_TOKEN_INVALID", ["page_token"])


@pytest.fixture
def who(stack: Stack) -> Caller:
    return kit.writer(stack)


@dataclass(frozen=True)
class Case:
    """One list with records of its own: its request, and the keys that it must give, in order."""

    resource: Resource
    arguments: dict[str, Any]
    keys: list[str]
    default: int = 100


MESSAGE = Resource(
    "robot_message", robot_pb2, "id", new_xid, r"[0-9a-v]{20}", kit.robot_message, label="role"
)


def _time(index: int) -> int:
    """Three records share each time."""
    return 1_700_000_000 + index // 3


def user_sessions(who: Caller, count: int) -> Case:
    records = [
        kit.USER_SESSION.record(uuid=f"{index:08}", updated_at=kit.at(_time(index))) for index in range(count)
    ]
    who(kit.USER_SESSION.batch(records))
    order = sorted(records, key=lambda record: (-record.updated_at.seconds, record.uuid))
    return Case(kit.USER_SESSION, {}, [record.uuid for record in order])


def sessions(who: Caller, count: int) -> Case:
    records = [kit.SESSION.record(created_at=kit.at(_time(index))) for index in range(count)]
    who(kit.SESSION.batch(records))
    order = sorted(records, key=lambda record: (record.created_at.seconds, record.id), reverse=True)
    return Case(kit.SESSION, {}, [record.id for record in order])


def robot_sessions(who: Caller, count: int) -> Case:
    by = new_xid()
    records = [
        kit.ROBOT_SESSION.record(created_at=kit.at(_time(index)), created_by=kit.account(by))
        for index in range(count)
    ]
    who(kit.ROBOT_SESSION.batch(records))
    order = sorted(records, key=lambda record: (-record.created_at.seconds, record.id))
    return Case(kit.ROBOT_SESSION, {"account_id": by}, [record.id for record in order], 20)


def robot_messages(who: Caller, count: int) -> Case:
    session = who(kit.ROBOT_SESSION.create(kit.ROBOT_SESSION.record()))
    records = [
        kit.robot_message(id=new_xid(), session_id=session.id, created_at=kit.at(_time(index)))
        for index in range(count)
    ]
    for record in records:
        who(robot_pb2.CreateRobotMessageRequest(robot_message=record))
    order = sorted(records, key=lambda record: (record.created_at.seconds, record.id), reverse=True)
    return Case(MESSAGE, {"session_id": session.id}, [record.id for record in order], 50)


def agent_sessions(who: Caller, count: int) -> Case:
    records = []
    for index in range(count):
        record = kit.AGENT_SESSION.record()
        record.metadata.updated_time.CopyFrom(kit.at(_time(index)))
        record.metadata.estimated_expires_time.CopyFrom(kit.at(4_000_000_000))
        records.append(record)
    who(kit.AGENT_SESSION.batch(records))
    order = sorted(records, key=lambda record: (-record.metadata.updated_time.seconds, record.rid))
    return Case(kit.AGENT_SESSION, {}, [record.rid for record in order])


LISTS = (user_sessions, sessions, robot_sessions, robot_messages, agent_sessions)
lists = pytest.mark.parametrize("make", LISTS, ids=lambda make: str(make.__name__))
Make = Callable[[Caller, int], Case]


# --- pages -----------------------------------------------------------------------------------------


@lists
@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 8, 1000])
def test_pages_joined_are_the_whole_list_in_its_order(make: Make, size: int, who: Caller) -> None:
    case = make(who, 7)
    pages = [case.resource.keys(page) for page in case.resource.pages(who, page_size=size, **case.arguments)]
    assert [key for page in pages for key in page] == case.keys
    assert [len(page) for page in pages] == [size] * (7 // size) + [7 % size] * (7 % size > 0)


@lists
def test_a_page_has_the_documented_number_of_records_unless_it_is_asked_otherwise(
    make: Make, who: Caller
) -> None:
    case = make(who, 103)
    page = who(case.resource.listing(**case.arguments))
    assert case.resource.keys(page) == case.keys[: case.default]
    assert page.next_page_token


@pytest.mark.parametrize(
    "make", [sessions, user_sessions, agent_sessions], ids=lambda make: str(make.__name__)
)
@pytest.mark.parametrize("size", [1000, 1001, 2**31 - 1])
def test_a_page_has_at_most_1000_records(make: Make, size: int, who: Caller) -> None:
    case = make(who, 1000)
    first = case.keys[0]
    extra = case.resource.record()
    if case.resource is kit.AGENT_SESSION:
        extra.metadata.estimated_expires_time.CopyFrom(kit.at(4_000_000_000))
    who(case.resource.create(extra))  # Written last, so the first of the list.
    page = who(case.resource.listing(page_size=size, **case.arguments))
    assert len(case.resource.keys(page)) == 1000
    assert case.resource.keys(page)[:2] == [case.resource.key_of(extra), first]
    rest = who(case.resource.listing(page_size=size, page_token=page.next_page_token, **case.arguments))
    assert case.resource.keys(rest) == case.keys[-1:]
    assert not rest.next_page_token


@lists
@pytest.mark.parametrize("size", [-1, -(2**31)])
def test_a_negative_page_size_is_refused(make: Make, size: int, who: Caller) -> None:
    case = make(who, 1)
    refusal = who.refused(case.resource.listing(page_size=size, **case.arguments))
    assert (refusal.code, refusal.fields) == (Code.INVALID_ARGUMENT, ["page_size"])


@lists
def test_an_empty_list_is_one_empty_page(make: Make, who: Caller) -> None:
    case = make(who, 1)
    if case.resource in {kit.USER_SESSION, kit.SESSION, kit.AGENT_SESSION}:
        who(case.resource.delete(case.keys[0]))
    elif case.resource is kit.ROBOT_SESSION:
        case = Case(case.resource, {"account_id": new_xid()}, [])
    else:
        case = Case(case.resource, {"session_id": who(kit.ROBOT_SESSION.create(kit.robot_session())).id}, [])
    page = who(case.resource.listing(**case.arguments))
    assert (case.resource.keys(page), page.next_page_token) == ([], "")


@lists
def test_the_page_size_may_change_between_pages(make: Make, who: Caller) -> None:
    case = make(who, 9)
    keys, token = [], ""
    for size in (1, 3, 0):
        page = who(case.resource.listing(page_size=size, page_token=token, **case.arguments))
        keys += case.resource.keys(page)
        token = page.next_page_token
    assert keys == case.keys
    assert not token


def test_robots_are_listed_page_by_page(who: Caller) -> None:
    made = [kit.ROBOT.record(created_at=kit.at(4_000_000_000 + index // 3)) for index in range(8)]
    who(kit.ROBOT.batch(made))
    order = [each.id for each in sorted(made, key=lambda each: (-each.created_at.seconds, each.id))]
    for size in (1, 3, 5):
        pages = map(kit.ROBOT.keys, kit.ROBOT.pages(who, page_size=size))
        assert [key for key in itertools.chain(*pages) if key in order] == order
    for each in made:
        who(kit.ROBOT.delete(each.id))


def test_agents_are_listed_by_rid_page_by_page(stack: Stack, who: Caller) -> None:
    user = kit.caller(stack, "", "", kit.AGENTS, groups=["g1", "g2"])
    mine = sorted(kit.agent_rid() for _ in range(7))
    for rid in mine:
        viewers = ["user:nobody", f"user:{user.sub}", "group:g1", "group:g2"]
        who(kit.AGENT.create(kit.agent(rid=rid, viewers=viewers)))
    other = who(kit.AGENT.create(kit.agent(viewers=["user:another"]))).rid
    for size in (1, 2, 7, 100):
        listed = kit.AGENT.walk(user, page_size=size)
        assert listed == sorted(set(listed))
        assert set(mine) <= set(listed)
        assert other not in listed
    everything = kit.AGENT.walk(who, page_size=2)
    assert everything == sorted(set(everything))
    assert {*mine, other} <= set(everything)


# --- tokens ----------------------------------------------------------------------------------------


def _token_refusal(who: Caller, request: Message) -> tuple[Code, str, list[str]]:
    refusal = who.refused(request)
    return refusal.code, refusal.reason, refusal.fields


def _flipped(token: str) -> Iterator[str]:
    raw = base64.urlsafe_b64decode(token.removeprefix("v1.") + "==")
    for place in range(0, len(raw), 3):
        changed = bytearray(raw)
        changed[place] ^= 1 << place % 8
        yield "v1." + base64.urlsafe_b64encode(changed).rstrip(b"=").decode()


@lists
def test_a_token_of_something_else_or_damaged_is_one_clear_refusal(make: Make, who: Caller) -> None:
    case = make(who, 3)
    token = who(case.resource.listing(page_size=1, **case.arguments)).next_page_token
    garbage = [
        *("x", "v1.", "v1.x", "v1.AAAA", "v1." + "A" * 100, "v2." + token[3:], token[3:], token + "="),
        *(token + "A", token[:-1], token[:-2], token.swapcase(), " " + token, token + "\n", "é" * 9, "\0"),
        *("v1." + "A" * 20_000, "null", "{}", "-1"),
    ]
    for bad in (*garbage, *_flipped(token)):
        request = case.resource.listing(page_size=1, page_token=bad, **case.arguments)
        assert _token_refusal(who, request) == TOKEN_INVALID, bad[:40]


@lists
def test_a_token_of_another_caller_is_refused(make: Make, stack: Stack, who: Caller) -> None:
    case = make(who, 3)
    token = who(case.resource.listing(page_size=1, **case.arguments)).next_page_token
    request = case.resource.listing(page_size=1, page_token=token, **case.arguments)
    same = kit.writer(stack, who.sub, who.tenant)
    assert case.resource.keys(same(request)) == case.keys[1:2]
    for other in (
        kit.writer(stack, "", who.tenant),
        kit.writer(stack, who.sub, ""),
        kit.writer(stack, who.sub, who.tenant, client_id="other"),
    ):
        assert _token_refusal(other, request) == TOKEN_INVALID


@lists
def test_a_token_of_another_list_is_refused(make: Make, who: Caller) -> None:
    cases = [other(who, 3) for other in LISTS if other is not make]
    mine = make(who, 3)
    for case in cases:
        token = who(case.resource.listing(page_size=1, **case.arguments)).next_page_token
        request = mine.resource.listing(page_size=1, page_token=token, **mine.arguments)
        assert _token_refusal(who, request) == TOKEN_INVALID


def test_a_token_of_the_documented_list_is_not_one_of_the_typed_list_nor_the_other_way_round(
    stack: Stack, who: Caller
) -> None:
    agent = who(kit.AGENT.create(kit.agent(viewers=["*"])))
    for _ in range(3):
        who(kit.AGENT_SESSION.create(kit.AGENT_SESSION.record(agent_rid=agent.rid)))
    typed = who(kit.AGENT_SESSION.listing(page_size=1)).next_page_token
    answer = stack.get(f"{FOUNDRY}&pageSize=1&pageToken={typed}", who.token)
    assert (answer.status_code, answer.json()["errorName"]) == (400, "InvalidPageToken")
    documented = stack.get(f"{FOUNDRY}&pageSize=1", who.token).json()["nextPageToken"]
    assert _token_refusal(who, kit.AGENT_SESSION.listing(page_token=documented)) == TOKEN_INVALID


OTHER_ARGUMENTS: list[tuple[Resource, dict[str, Any], dict[str, Any]]] = [
    (kit.USER_SESSION, {}, {"language": "en"}),
    (kit.USER_SESSION, {}, {"language": ""}),
    (kit.USER_SESSION, {}, {"view": view_pb2.VIEW_FULL}),
    (kit.USER_SESSION, {}, {"user_id": "somebody"}),
    (kit.SESSION, {}, {"order_by": "updated_at"}),
    (kit.SESSION, {}, {"order_by": "created_at asc"}),
    (kit.SESSION, {}, {"metadata_filter": {"a": 1}}),
    (kit.SESSION, {}, {"offset": 1}),
    (kit.ROBOT, {}, {"view": view_pb2.VIEW_FULL}),
    (kit.AGENT_SESSION, {}, {"agent_rid": "ri.aip-agents..agent.x"}),
    (kit.AGENT_SESSION, {}, {"user_id": "somebody"}),
    (kit.AGENT_SESSION, {}, {"client_id": "another"}),
    (kit.AGENT, {}, {"view": view_pb2.VIEW_FULL}),
]


@pytest.mark.parametrize(("resource", "arguments", "others"), OTHER_ARGUMENTS)
def test_a_token_of_other_arguments_is_refused(
    resource: Resource, arguments: dict[str, Any], others: dict[str, Any], who: Caller
) -> None:
    for _ in range(3):
        who(resource.create(resource.record()))
    token = who(resource.listing(page_size=1, **arguments)).next_page_token
    assert token
    request = resource.listing(page_size=1, page_token=token, **others)
    assert _token_refusal(who, request) == TOKEN_INVALID


def test_a_token_of_another_account_or_session_is_refused(who: Caller) -> None:
    for make in (robot_sessions, robot_messages):
        one, other = make(who, 3), make(who, 3)
        token = who(one.resource.listing(page_size=1, **one.arguments)).next_page_token
        request = one.resource.listing(page_size=1, page_token=token, **other.arguments)
        assert _token_refusal(who, request) == TOKEN_INVALID


def test_a_filter_written_in_another_order_is_the_same_query(
    who: Caller,
) -> None:
    """Maps have no order: the same filter, written in another order, is the same query."""
    wanted = {f"k{index}": index for index in range(20)}
    for _ in range(3):
        who(kit.SESSION.create(kit.SESSION.record(metadata=wanted)))
    token = who(kit.SESSION.listing(page_size=1, metadata_filter=wanted)).next_page_token
    turned = dict(reversed(wanted.items()))
    page = who(kit.SESSION.listing(page_size=2, metadata_filter=turned, page_token=token))
    assert len(page.sessions) == 2


def test_a_token_of_an_older_key_opens_while_the_key_is_listed_and_no_longer(
    stack: Stack, who: Caller
) -> None:
    case = sessions(who, 3)
    old, new = "o" * 32, "n" * 32
    with kit.serving(stack, page_token_keys=old) as address:
        token = replace(who, address=address)(kit.SESSION.listing(page_size=1)).next_page_token
    with kit.serving(stack, page_token_keys=f"{new},{old}") as address:
        both = replace(who, address=address)
        rest = both(kit.SESSION.listing(page_size=1, page_token=token))
        assert kit.SESSION.keys(rest) == case.keys[1:2]
        newer = both(kit.SESSION.listing(page_size=1)).next_page_token
    with kit.serving(stack, page_token_keys=new) as address:
        only_new = replace(who, address=address)
        rest = only_new(kit.SESSION.listing(page_size=1, page_token=newer))
        assert kit.SESSION.keys(rest) == case.keys[1:2]
        assert _token_refusal(only_new, kit.SESSION.listing(page_token=token)) == TOKEN_INVALID


def test_a_token_expires_after_its_hours(stack: Stack, who: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token of another server's clock, a little ahead, is no reason to refuse."""
    case = sessions(who, 3)
    key = "k" * 32
    known = SealedFor(who.sub, who.tenant, client_id=who.client_id)
    first = who(kit.SESSION.get(case.keys[0]))
    position = (sortable(from_proto(first.created_at)), first.id)
    binding = paging._binding(kit.SESSION.listing(), known)  # noqa: SLF001 # for a token as old as none can wait
    with kit.serving(stack, page_token_keys=key, page_token_hours=1) as address:
        there = replace(who, address=address)
        for age, good in ((0, True), (3500, True), (3700, False), (-600, True)):
            issued = time.time() - age
            with monkeypatch.context() as patched:
                patched.setattr("server.page_tokens.time.time", lambda issued=issued: issued)
                token = PageTokens([key], 3600).seal(position, *binding)
            request = kit.SESSION.listing(page_token=token)
            if good:
                assert kit.SESSION.keys(there(request)) == case.keys[1:]
            else:
                assert _token_refusal(there, request) == TOKEN_INVALID


# --- views and size --------------------------------------------------------------------------------


_AI = user_session_pb2.DialogueItem.CONTENT_TYPE_AI
HEAVY: dict[str, Any] = {
    "dialogue": user_session_pb2.Dialogue(
        items=[user_session_pb2.DialogueItem(id=1, content_type=_AI, text="hello")]
    ),
    "workspace": {"blocks": 1},
    "audios": user_session_pb2.AudioList(items=[user_session_pb2.Audio(id="1", base64="AA==")]),
    "user_audio": "AA==",
    "screenshot": "AA==",
    "clicks": user_session_pb2.ClickList(items=[user_session_pb2.Click(x=1, timestamp=1_700_000_000_123)]),
}


def test_view_basic_leaves_out_what_is_heavy_and_full_is_all(who: Caller) -> None:
    created = who(kit.USER_SESSION.create(kit.USER_SESSION.record(**HEAVY)))
    light: Any = user_session_pb2.UserSession()
    light.CopyFrom(created)
    for name in HEAVY:
        assert created.HasField(name), name
        light.ClearField(name)
    for view, expected in (
        (view_pb2.VIEW_UNSPECIFIED, light),
        (view_pb2.VIEW_BASIC, light),
        (view_pb2.VIEW_FULL, created),
    ):
        assert [*who(kit.USER_SESSION.listing(view=view)).user_sessions] == [expected]


@lists
def test_both_views_are_the_same_where_nothing_is_heavy(make: Make, who: Caller) -> None:
    case = make(who, 2)
    basic, full = (
        who(case.resource.listing(view=view, **case.arguments))
        for view in (view_pb2.VIEW_BASIC, view_pb2.VIEW_FULL)
    )
    assert basic == full
    assert case.resource.keys(full) == case.keys


MEGABYTE_LISTS: list[tuple[Resource, dict[str, Any], dict[str, Any]]] = [
    (kit.USER_SESSION, {"screenshot": "x" * 400_000}, {"view": view_pb2.VIEW_FULL}),
    (kit.USER_SESSION, {"llm_context": "x" * 400_000}, {}),
    (kit.SESSION, {"situation": "x" * 400_000}, {}),
    (kit.ROBOT, {"playbook": "x" * 400_000, "created_at": kit.at(4_000_000_000)}, {}),
]


@pytest.mark.parametrize(
    ("resource", "changes", "arguments"), MEGABYTE_LISTS, ids=["full", "basic", "session", "robot"]
)
def test_a_page_ends_early_at_3_megabytes_with_a_token_for_the_rest(
    resource: Resource, changes: dict[str, Any], arguments: dict[str, Any], who: Caller
) -> None:
    keys = {resource.key_of(who(resource.create(resource.record(**changes)))) for _ in range(10)}
    pages = list(itertools.islice(resource.pages(who, page_size=1000, **arguments), 2))
    assert [len(keys & set(resource.keys(page))) for page in pages] == [7, 3]
    assert all(page.ByteSize() <= 3_100_000 for page in pages)
    if resource is kit.ROBOT:
        for key in keys:
            who(resource.delete(key))


@pytest.mark.parametrize("scopes", [[kit.AGENTS], [kit.READ]], ids=["own", "reader"])
def test_a_page_of_agent_sessions_ends_early_at_3_megabytes(
    scopes: list[str], stack: Stack, who: Caller
) -> None:
    agent = who(kit.AGENT.create(kit.agent(viewers=["*"])))
    keys = set()
    for _ in range(10):
        record = kit.AGENT_SESSION.record(agent_rid=agent.rid)
        record.metadata.title = "x" * 400_000
        keys.add(who(kit.AGENT_SESSION.create(record)).rid)
    reader = kit.caller(stack, who.sub, who.tenant, *scopes)
    pages = list(kit.AGENT_SESSION.pages(reader, page_size=1000))
    assert [len(page.agent_sessions) for page in pages] == [7, 3]
    assert {rid for page in pages for rid in kit.AGENT_SESSION.keys(page)} == keys


def test_a_page_of_messages_ends_early_at_3_megabytes(who: Caller) -> None:
    session = who(kit.ROBOT_SESSION.create(kit.robot_session()))
    for _ in range(5):
        message = kit.robot_message(session_id=session.id, parts=[{"text": "x" * 900_000}])
        who(robot_pb2.CreateRobotMessageRequest(robot_message=message))
    pages = list(MESSAGE.pages(who, session_id=session.id))
    assert [len(page.robot_messages) for page in pages] == [3, 2]


def test_a_record_of_more_than_3_megabytes_is_a_page_of_its_own(who: Caller) -> None:
    made = [
        kit.USER_SESSION.record(screenshot="x" * size, updated_at=kit.at(1_700_000_000 - index))
        for index, size in enumerate((10, 5_000_000, 10))
    ]
    for record in made:
        who(kit.USER_SESSION.create(record))
    pages = [kit.USER_SESSION.keys(page) for page in kit.USER_SESSION.pages(who, view=view_pb2.VIEW_FULL)]
    assert pages == [[record.uuid] for record in made]
    assert len(who(kit.USER_SESSION.listing()).user_sessions) == 3


# --- filters and orders ----------------------------------------------------------------------------


_ANY = {
    "plan": "pro",
    "n": 1,
    "on": True,
    "none": None,
    "deep": {"b": [1, 2.5], "a": {}},
    "$gt": "",
    "a.b": "c",
}


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({}, True),
        ({"plan": "pro"}, True),
        ({"plan": "Pro"}, False),
        ({"plan": ["pro"]}, False),
        ({"n": 1}, True),
        ({"n": 1.0}, True),
        ({"n": "1"}, False),
        ({"n": True}, False),
        ({"on": True}, True),
        ({"on": 1}, False),
        ({"none": None}, True),
        ({"missing": None}, False),
        ({"deep": {"a": {}, "b": [1, 2.5]}}, True),
        ({"deep": {"b": [1, 2.5]}}, False),
        ({"deep": {"a": {}, "b": [2.5, 1]}}, False),
        ({"$gt": ""}, True),
        ({"plan": {"$ne": "x"}}, False),
        ({"a.b": "c"}, True),
        ({"a": {"b": "c"}}, False),
        ({"deep.a": {}}, False),
        ({"plan": "pro", "n": 1, "on": True}, True),
        ({"plan": "pro", "n": 2}, False),
        ({"n": math.nan}, False),
        ({"long": "x" * 500}, True),
        ({"long": "x" * 499}, False),
    ],
    ids=str,
)
def test_metadata_filters_by_equal_values_at_the_top(
    wanted: dict[str, Any], found: bool, who: Caller
) -> None:
    metadata = _ANY | {"long": "x" * 500}
    created = who(kit.SESSION.create(kit.SESSION.record(metadata=metadata)))
    who(kit.SESSION.create(kit.SESSION.record(metadata={"other": 1})))
    filter_ = Struct()
    filter_.update(wanted)
    keys = kit.SESSION.keys(who(kit.SESSION.listing(metadata_filter=filter_)))
    assert (created.id in keys) is found
    assert len(keys) == (found if wanted else 2)


def test_a_metadata_filter_without_a_value_is_refused_by_its_name(who: Caller) -> None:
    refusal = who.refused(kit.SESSION.listing(metadata_filter=Struct(fields={"k": Value()})))
    assert (refusal.code, refusal.fields) == (Code.INVALID_ARGUMENT, ["metadata_filter.k"])
    null = Struct(fields={"k": Value(null_value=NullValue.NULL_VALUE)})
    assert not who(kit.SESSION.listing(metadata_filter=null)).sessions


def test_a_changed_metadata_changes_what_filters_find(who: Caller) -> None:
    created = who(kit.SESSION.create(kit.SESSION.record(metadata={"a": 1, "b": 2})))
    change = kit.SESSION.of(created.id, metadata=Struct())
    change.metadata.update({"a": 2})
    who(kit.SESSION.update(change, "metadata"))
    for wanted, found in (({"a": 1}, 0), ({"b": 2}, 0), ({"a": 2}, 1)):
        assert len(who(kit.SESSION.listing(metadata_filter=wanted)).sessions) == found


def test_user_sessions_are_filtered_by_language(who: Caller) -> None:
    made = {
        language: who(
            kit.USER_SESSION.create(
                kit.USER_SESSION.record(**{} if language is None else {"language": language})
            )
        ).uuid
        for language in ("en", "en-US", "", None)
    }
    for language in ("en", "en-US", ""):
        assert kit.USER_SESSION.walk(who, language=language, page_size=1) == [made[language]]
    assert kit.USER_SESSION.walk(who, language="EN") == []
    assert len(kit.USER_SESSION.walk(who)) == 4


def test_robot_sessions_are_filtered_by_account(who: Caller) -> None:
    one, other = robot_sessions(who, 3), robot_sessions(who, 2)
    for case in (one, other):
        page = who(kit.ROBOT_SESSION.listing(**case.arguments))
        assert (kit.ROBOT_SESSION.keys(page), page.total_size) == (case.keys, len(case.keys))
    unknown = who(kit.ROBOT_SESSION.listing(account_id=new_xid()))
    assert (len(unknown.robot_sessions), unknown.total_size) == (0, 0)
    for bad in ("x", "A" * 20, "0" * 21, "\0" * 20):
        refusal = who.refused(kit.ROBOT_SESSION.listing(account_id=bad))
        assert (refusal.code, refusal.fields) == (Code.INVALID_ARGUMENT, ["account_id"])


@pytest.mark.parametrize("scopes", [[kit.AGENTS], [kit.READ], [kit.AGENTS, kit.READ]], ids=str)
def test_agent_sessions_are_filtered_by_agent(scopes: list[str], stack: Stack, who: Caller) -> None:
    open_, closed = (
        who(kit.AGENT.create(kit.agent(viewers=viewers))).rid for viewers in (["*"], ["user:nobody"])
    )
    made = {
        rid: [who(kit.AGENT_SESSION.create(kit.AGENT_SESSION.record(agent_rid=rid))).rid for _ in range(3)]
        for rid in (open_, closed)
    }
    reader = kit.caller(stack, who.sub, who.tenant, *scopes)
    for size in (1, 100):
        assert kit.AGENT_SESSION.walk(reader, agent_rid=open_, page_size=size) == made[open_][::-1]
        expected = made[closed][::-1] if kit.READ in scopes else []
        assert kit.AGENT_SESSION.walk(reader, agent_rid=closed, page_size=size) == expected
        assert kit.AGENT_SESSION.walk(reader, agent_rid="ri.a..b.none", page_size=size) == []


def test_expired_agent_sessions_and_those_of_unseen_agents_are_never_an_empty_page_with_a_token(
    stack: Stack, who: Caller
) -> None:
    open_, closed = (
        who(kit.AGENT.create(kit.agent(viewers=viewers))).rid for viewers in (["*"], ["user:nobody"])
    )
    seen: list[str] = []
    for index in range(30):
        record = kit.AGENT_SESSION.record(agent_rid=closed if index % 3 else open_)
        if index % 5 == 0:
            record.metadata.estimated_expires_time.CopyFrom(kit.at(1))
        elif index % 3 == 0:
            seen.insert(0, record.rid)
        who(kit.AGENT_SESSION.create(record))
    reader = kit.caller(stack, who.sub, who.tenant, kit.AGENTS)
    for size in (1, 3, 100):
        pages = [kit.AGENT_SESSION.keys(page) for page in kit.AGENT_SESSION.pages(reader, page_size=size)]
        assert all(pages)
        assert [rid for page in pages for rid in page] == seen


ORDERS: list[tuple[str, str, bool]] = [
    ("", "created_at", True),
    ("created_at", "created_at", False),
    ("created_at asc", "created_at", False),
    ("created_at desc", "created_at", True),
    ("updated_at", "updated_at", False),
    ("updated_at asc", "updated_at", False),
    ("  updated_at   desc  ", "updated_at", True),
]


@pytest.mark.parametrize(("order_by", "field", "descending"), ORDERS)
@pytest.mark.parametrize("filtered", [False, True], ids=["all", "filtered"])
def test_sessions_are_ordered_as_asked_and_equal_times_by_id_in_the_same_direction(
    order_by: str, field: str, descending: bool, filtered: bool, who: Caller
) -> None:
    records = [
        kit.SESSION.record(
            created_at=kit.at(100 + index // 3, index % 2),
            updated_at=kit.at(200 - index // 4, index % 2),
            metadata={"f": 1, "i": index},
        )
        for index in range(12)
    ]
    who(kit.SESSION.batch(records))

    def place(record: session_pb2.Session) -> tuple[int, str]:
        return getattr(record, field).ToNanoseconds(), record.id

    expected = [record.id for record in sorted(records, key=place, reverse=descending)]
    arguments: dict[str, Any] = {"metadata_filter": {"f": 1}} if filtered else {}
    for size in (1, 5, 0):
        assert kit.SESSION.walk(who, order_by=order_by, page_size=size, **arguments) == expected


@pytest.mark.parametrize(
    "bad", ["id", "createdAt", "created_at down", "created_at,updated_at", "-", "created_at DESC"]
)
def test_an_unknown_order_is_refused(bad: str, who: Caller) -> None:
    refusal = who.refused(kit.SESSION.listing(order_by=bad))
    assert (refusal.code, refusal.fields) == (Code.INVALID_ARGUMENT, ["order_by"])


# --- limit, offset, page ---------------------------------------------------------------------------


def test_limit_and_offset_cut_a_window_as_on_the_documented_path(stack: Stack, who: Caller) -> None:
    case = sessions(who, 7)
    for limit, offset in itertools.product((0, 1, 3, 7, 2000), (0, 1, 6, 7, 2**31 - 1)):
        page = who(kit.SESSION.listing(limit=limit, offset=offset))
        expected = case.keys[offset : offset + limit]
        assert kit.SESSION.keys(page) == expected
        documented = stack.get(f"/sessions?limit={limit}&offset={offset}", who.token).json()["items"]
        assert [item["id"] for item in documented] == expected


def test_a_walk_goes_on_from_an_offset(who: Caller) -> None:
    case = sessions(who, 7)
    assert kit.SESSION.walk(who, offset=2, page_size=2) == case.keys[2:]
    assert kit.SESSION.walk(who, offset=2, limit=2) == case.keys[2:]


def test_negative_and_contradicting_windows_are_refused(who: Caller) -> None:
    table: list[tuple[Message, str]] = [
        (kit.SESSION.listing(limit=-1), "limit"),
        (kit.SESSION.listing(offset=-1), "offset"),
        (kit.SESSION.listing(limit=1, page_size=1), "limit"),
        (kit.ROBOT.listing(page=-1), "page"),
        (kit.ROBOT.listing(page=1, page_size=1), "page"),
        (kit.ROBOT.listing(page=1, page_token="x"), "page"),
        (kit.ROBOT_SESSION.listing(page=-1), "page"),
        (kit.ROBOT_SESSION.listing(page=1, page_size=1), "page"),
        (kit.ROBOT_SESSION.listing(page=1, page_token="x"), "page"),
    ]
    for request, field in table:
        refusal = who.refused(request)
        assert (refusal.code, refusal.fields) == (Code.INVALID_ARGUMENT, [field]), request


def test_page_numbers_are_those_of_the_documented_path(stack: Stack, who: Caller) -> None:
    case = robot_sessions(who, 45)
    account = case.arguments["account_id"]
    for page in (1, 2, 3, 4, 2**31 - 1):
        answer = who(kit.ROBOT_SESSION.listing(page=page, account_id=account))
        assert kit.ROBOT_SESSION.keys(answer) == case.keys[20 * (page - 1) : 20 * page]
        assert answer.total_size == 45
        documented = stack.get(f"/robots/sessions?account_id={account}&page={page}", who.token).json()
        assert [item["id"] for item in documented["sessions"]] == kit.ROBOT_SESSION.keys(answer)


def test_a_token_that_comes_with_a_numbered_page_can_be_used(who: Caller) -> None:
    case = robot_sessions(who, 25)
    token = who(kit.ROBOT_SESSION.listing(page=1, **case.arguments)).next_page_token
    if token:
        rest = who(kit.ROBOT_SESSION.listing(page_token=token, **case.arguments))
        assert kit.ROBOT_SESSION.keys(rest) == case.keys[20:]


# --- counts ----------------------------------------------------------------------------------------


def _counts(stack: Stack, who: Caller, account: str = "") -> tuple[int, int]:
    """Return the number of robot sessions as the typed list and as the documented path's pages say."""
    typed = who(kit.ROBOT_SESSION.listing(account_id=account, page_size=1)).total_size
    path = f"/robots/sessions?account_id={account}" if account else "/robots/sessions"
    pages = stack.get(path, who.token).json()["total_pages"]
    return typed, pages


def test_counts_of_robot_sessions_are_exact_after_every_write(stack: Stack, who: Caller) -> None:
    one, other = new_xid(), new_xid()
    base, _ = _counts(stack, who)

    def check(everything: int, of_one: int, of_other: int) -> None:
        assert _counts(stack, who) == (base + everything, math.ceil((base + everything) / 20))
        assert _counts(stack, who, one) == (of_one, math.ceil(of_one / 20))
        assert _counts(stack, who, other) == (of_other, math.ceil(of_other / 20))

    made = who(kit.ROBOT_SESSION.create(kit.ROBOT_SESSION.record(created_by=kit.account(one))))
    check(1, 1, 0)
    who(kit.ROBOT_SESSION.batch([kit.robot_session(created_by=kit.account(one)) for _ in range(24)]))
    check(25, 25, 0)
    who(kit.ROBOT_SESSION.update(kit.ROBOT_SESSION.of(made.id, created_by=kit.account(other)), "created_by"))
    check(25, 24, 1)
    who(kit.ROBOT_SESSION.update(kit.ROBOT_SESSION.relabelled(made.id), "name"))
    who(kit.ROBOT_SESSION.update(kit.ROBOT_SESSION.of(made.id, deleted_at=kit.at(9)), "deleted_at"))
    check(25, 24, 1)
    body = parts.robot_session(id=made.id, created_by=parts.account() | {"id": one})
    stack.load(parts.line("robot_session", body))
    check(25, 25, 0)
    new = parts.robot_session(id=new_xid(), created_by=parts.account() | {"id": other})
    stack.load(*[parts.line("robot_session", new)] * 3)
    stack.load(parts.line("robot_session", new))
    check(26, 25, 1)
    upserted = kit.ROBOT_SESSION.record(created_by=kit.account(other))
    for _ in range(2):
        who(kit.ROBOT_SESSION.update(upserted, allow_missing=True))
    check(27, 25, 2)
    refused = [kit.ROBOT_SESSION.record(created_by=kit.account(one)), kit.robot_session(id=made.id)]
    assert who.code(kit.ROBOT_SESSION.batch(refused)) is Code.ALREADY_EXISTS
    assert who.code(kit.ROBOT_SESSION.delete(made.id, etag="stale")) is Code.ABORTED
    check(27, 25, 2)
    who(kit.ROBOT_SESSION.delete(made.id))
    assert who.code(kit.ROBOT_SESSION.delete(made.id)) is Code.NOT_FOUND
    check(26, 24, 2)
    request = kit.ROBOT_SESSION.create(kit.robot_session(created_by=kit.account(one)), str(uuid.uuid4()))
    for _ in range(3):
        who(request)
    check(27, 25, 2)


def test_counts_of_robots_are_exact_after_every_write(stack: Stack, who: Caller) -> None:
    def total() -> int:
        page = who(kit.ROBOT.listing(page_size=1))
        pages = stack.get("/robots", who.token).json()["total_pages"]
        assert pages == math.ceil(page.total_size / 50)
        return int(page.total_size)

    base = total()
    made = who(kit.ROBOT.create(kit.ROBOT.record()))
    assert total() == base + 1
    stack.load(parts.line("robot", parts.robot(id=made.id)))
    assert total() == base + 1
    who(kit.ROBOT.update(kit.ROBOT.relabelled(made.id)))
    batch = who(kit.ROBOT.batch([kit.robot() for _ in range(3)])).robots
    assert total() == base + 4
    for robot in (made, *batch):
        who(kit.ROBOT.delete(robot.id))
    assert total() == base


# --- what the surfaces see of one another ----------------------------------------------------------


def _documented(stack: Stack, who: Caller, name: str) -> dict[str, Any]:
    """Return the items of a documented list, by key."""
    path, items, key = {
        "user_session": ("/session", None, "uuid"),
        "session": ("/sessions?limit=1000", "items", "id"),
        "robot": ("/robots", "robots", "id"),
        "robot_session": ("/robots/sessions", "sessions", "id"),
        "agent_session": (f"{FOUNDRY}&pageSize=100", "data", "rid"),
    }[name]
    answer = stack.get(path, who.token)
    assert answer.status_code == 200, answer.text
    found = answer.json() if items is None else answer.json()[items]
    return {item[key]: item for item in found}


LABELS = {"user_session": "name", "session": "situation", "agent_session": "agentVersion"}


@pytest.mark.parametrize("resource", kit.TIMED, ids=str)
def test_what_a_stub_writes_changes_and_deletes_is_on_its_documented_list_at_once(
    resource: Resource, stack: Stack, who: Caller
) -> None:
    agent = who(kit.AGENT.create(kit.agent(viewers=[f"user:{who.sub}"])))
    changes: dict[str, Any] = {}
    if resource is kit.AGENT_SESSION:
        changes = {"agent_rid": agent.rid}
    if resource in {kit.ROBOT, kit.ROBOT_SESSION}:  # So that they are on the first page.
        changes = {"created_at": kit.at(5_000_000_000)}
    key = resource.key_of(who(resource.create(resource.record(**changes))))
    label = LABELS.get(resource.name, "name")
    assert _documented(stack, who, resource.name)[key][label] == "old"
    who(resource.update(resource.relabelled(key), resource.label))
    assert _documented(stack, who, resource.name)[key][label] == "new"
    who(resource.delete(key))
    assert key not in _documented(stack, who, resource.name)
    assert key not in resource.walk(who, page_size=1000)


def test_what_is_imported_is_on_the_typed_list_at_once(stack: Stack, who: Caller) -> None:
    user, tenant = {"user_id": who.sub}, {"developer_id": who.tenant}
    robot, robot_session = new_xid(), new_xid()
    late = {"createdAt": "2100-01-01T00:00:00Z"}
    body = parts.agent_session("x", "y")
    imported = [
        (kit.USER_SESSION, parts.line("user_session", parts.user_session(uuid="u"), **user), "u"),
        (kit.SESSION, parts.line("session", parts.session(id=parts.uid(1)), **tenant), parts.uid(1)),
        (kit.ROBOT, parts.line("robot", parts.robot(id=robot, **late)), robot),
        (
            kit.ROBOT_SESSION,
            parts.line("robot_session", parts.robot_session(id=robot_session, **late)),
            robot_session,
        ),
        (
            kit.AGENT_SESSION,
            parts.line("agent_session", body, **user, client_id=who.client_id),
            body["rid"],
        ),
    ]
    stack.load(*(line for _, line, _ in imported))
    for resource, _, key in imported:
        assert key in resource.keys(who(resource.listing()))
        found = who(resource.get(key))
        assert resource.key_of(found) == key
        updated = who(resource.update(resource.relabelled(key), resource.label))
        assert resource.label_of(updated) == "new"
        assert key in _documented(stack, who, resource.name) or resource is kit.AGENT_SESSION
        assert who(resource.delete(key)) == updated
        assert key not in resource.keys(who(resource.listing()))


def test_messages_of_a_stub_are_on_the_documented_session_at_once(stack: Stack, who: Caller) -> None:
    session = who(kit.ROBOT_SESSION.create(kit.robot_session()))
    path = f"/robots/sessions/{session.id}"
    ids = []
    for index in range(3):
        message = kit.robot_message(session_id=session.id, created_at=kit.at(index))
        ids.append(who(robot_pb2.CreateRobotMessageRequest(robot_message=message)).id)
        listed = stack.get(path, who.token).json()["message_list"]["messages"]
        assert [each["id"] for each in listed] == ids
    who(kit.ROBOT_SESSION.delete(session.id))
    assert stack.get(path, who.token).status_code == 404


def test_an_agents_viewers_decide_at_once_who_sees_its_sessions(stack: Stack, who: Caller) -> None:
    user = kit.caller(stack, who.sub, who.tenant, kit.AGENTS, groups=["team"])
    agent = who(kit.AGENT.create(kit.agent(viewers=["*"])))
    rid = who(kit.AGENT_SESSION.create(kit.AGENT_SESSION.record(agent_rid=agent.rid))).rid
    get, listing = kit.AGENT_SESSION.get(rid), kit.AGENT_SESSION.listing()

    def sees() -> set[bool]:
        return {
            user.code(get) is Code.OK,
            rid in kit.AGENT_SESSION.keys(user(listing)),
            rid in _documented(stack, user, "agent_session"),
        }

    assert sees() == {True}
    for viewers, seen in (
        (["user:another"], False),
        ([f"user:{user.sub}"], True),
        ([], False),
        (["group:team"], True),
        (["group:another"], False),
    ):
        who(kit.AGENT.update(agent_session_pb2.Agent(rid=agent.rid, viewers=viewers), "viewers"))
        assert sees() == {seen}, viewers
    who(kit.AGENT.update(agent_session_pb2.Agent(rid=agent.rid, viewers=["*"]), "*"))
    who(kit.AGENT.delete(agent.rid))
    assert sees() == {False}

"""An import line is stored whole, or refused by the name of what is wrong with it."""

import json
from typing import Any

import pytest

from server.app import KINDS
from server.commands.import_lines import read_line
from server.records import robot_message
from server.records.kind import JSON, Kind, Stored
from server.records.violation import FieldError
from tests.strategies import EXTRAS, MAX_INTEGER, OWNERS, comparable, deep_object, example, expected

IMPORTABLE: dict[str, Kind] = {kind.name: kind for kind in KINDS if kind is not robot_message.KIND}


def line_of(name: str, **changes: Any) -> dict[str, Any]:
    """Return a good line of a kind, with some of its keys changed."""
    owner = {**OWNERS[name], **EXTRAS.get(name, {})}
    return {"kind": name, "owner": owner, "body": example(name), **changes}


def read(line: Any) -> Stored:
    return read_line(IMPORTABLE, json.dumps(line).encode())


def refused(text: str | bytes) -> FieldError:
    with pytest.raises(FieldError) as caught:
        read_line(IMPORTABLE, text)
    return caught.value


def without(line: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in line.items() if name != key}


# --- good lines -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", IMPORTABLE)
@pytest.mark.parametrize("as_text", [True, False])
def test_good_line_is_one_record_of_its_owner(name: str, *, as_text: bool) -> None:
    text = json.dumps(line_of(name), ensure_ascii=False)
    ((kind, document),) = read_line(IMPORTABLE, text if as_text else f"  {text}\r\n".encode())
    assert kind is IMPORTABLE[name]
    assert document["owner"] == OWNERS[name]
    assert comparable(name, json.loads(document[JSON])) == expected(name, example(name))


def test_order_of_keys_does_not_matter() -> None:
    line = {"body": example("agent"), "owner": {"viewers": ["user:ada"]}, "kind": "agent"}
    ((_, document),) = read(line)
    assert document["viewers"] == ["user:ada"]


def test_same_id_of_two_owners_is_two_records() -> None:
    ids = [
        read(line_of("user_session", owner={"user_id": user}))[0][1]["_id"] for user in ("ada", "lin", "ada")
    ]
    assert ids[0] == ids[2] != ids[1]


def test_messages_in_a_robot_session_belong_to_it() -> None:
    first = example("robot_message", id="cc5lnd2s1s4652adtu60")
    second = example("robot_message", id="cc5lnd2s1s4652adtu61", role="user")
    session = example("robot_session")
    (kind, document), *messages = read(
        line_of("robot_session", body={**session, "messages": [first, second]})
    )
    assert kind is IMPORTABLE["robot_session"]
    assert "messages" not in json.loads(document[JSON])
    assert [kind for kind, _ in messages] == [robot_message.KIND] * 2
    assert {message["owner"]["session_id"] for _, message in messages} == {session["id"]}
    for (_, message), item in zip(messages, (first, second), strict=True):
        assert comparable("robot_message", json.loads(message[JSON])) == expected("robot_message", item)


def test_messages_belong_to_a_session_whose_id_is_made_by_the_write() -> None:
    body = {**without(example("robot_session"), "id"), "messages": [example("robot_message")]}
    (_, document), (_, message) = read(line_of("robot_session", body=body))
    assert message["owner"] == {"session_id": document["id"]}


def test_no_messages_are_a_session_alone() -> None:
    assert len(read(line_of("robot_session", body={**example("robot_session"), "messages": []}))) == 1


# --- bad lines --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b" ",
        b"{",
        b"}",
        b'{"kind": "agent",}',
        b"{'kind': 'agent'}",
        b"kind: agent",
        b'{"kind": "agent"} {"kind": "agent"}',
        b"\xff\xfe",
        b'"\x80"',
        b"\x00",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": -Infinity}',
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    ],
    ids=lambda text: repr(text[:30]),
)
def test_what_is_not_json_is_refused_as_a_line(text: bytes) -> None:
    assert str(refused(text)) == "line: is not JSON"


@pytest.mark.parametrize("text", [b"null", b"true", b"1", b'"x"', b"[]", b'[{"kind": "agent"}]'])
def test_what_is_not_an_object_is_refused_as_a_line(text: bytes) -> None:
    assert refused(text).json_path == "line"


@pytest.mark.parametrize("name", IMPORTABLE)
@pytest.mark.parametrize("key", ["kind", "owner", "body"])
def test_line_without_one_of_its_keys_is_refused_by_it(name: str, key: str) -> None:
    error = refused(json.dumps(without(line_of(name), key)))
    assert (error.json_path, error.rule) == (key, "is required")


@pytest.mark.parametrize("name", IMPORTABLE)
@pytest.mark.parametrize("key", ["Kind", "id", "tenant", "", "bodY"])
def test_unknown_key_of_a_line_is_refused_by_it(name: str, key: str) -> None:
    assert refused(json.dumps({**line_of(name), key: 1})).json_path == key


@pytest.mark.parametrize(
    "value", [None, 1, True, "", "sessions", "Session", "robot_message", [], ["agent"], {}]
)
def test_unknown_kind_is_refused(value: Any) -> None:
    error = refused(json.dumps(line_of("agent", kind=value)))
    assert error.json_path == "kind"
    assert all(name in error.rule for name in IMPORTABLE)


@pytest.mark.parametrize("name", IMPORTABLE)
@pytest.mark.parametrize("owner", [None, "ada", 1, [], ["ada"], True])
def test_owner_that_is_no_object_is_refused(name: str, owner: Any) -> None:
    assert refused(json.dumps(line_of(name, owner=owner))).json_path == "owner"


OWNER_FIELDS = [
    ("user_session", "user_id"),
    ("session", "developer_id"),
    ("agent_session", "user_id"),
    ("agent_session", "client_id"),
]


@pytest.mark.parametrize(("name", "field"), OWNER_FIELDS)
@pytest.mark.parametrize("value", [None, "", 1, True, [], {}, "a\0b", "\ud800"])
def test_bad_owner_is_refused_by_its_field(name: str, field: str, value: Any) -> None:
    line = line_of(name, owner={**OWNERS[name], field: value})
    assert refused(json.dumps(line)).json_path == f"owner.{field}"


@pytest.mark.parametrize(("name", "field"), [*OWNER_FIELDS, ("agent", "viewers")])
def test_missing_owner_is_refused_by_its_field(name: str, field: str) -> None:
    line = line_of(name)
    error = refused(json.dumps({**line, "owner": without(line["owner"], field)}))
    assert (error.json_path, error.rule) == (f"owner.{field}", "is required")


@pytest.mark.parametrize("name", IMPORTABLE)
@pytest.mark.parametrize("key", ["tenant", "User_id", "session_id"])
def test_unknown_key_of_an_owner_is_refused_by_it(name: str, key: str) -> None:
    line = line_of(name)
    error = refused(json.dumps({**line, "owner": {**line["owner"], key: "x"}}))
    assert error.json_path == f"owner.{key}"


@pytest.mark.parametrize(
    ("viewers", "path"),
    [
        (None, "owner.viewers"),
        ("*", "owner.viewers"),
        ({}, "owner.viewers"),
        (1, "owner.viewers"),
        ([""], "owner.viewers[0]"),
        ([None], "owner.viewers[0]"),
        (["*", "ada"], "owner.viewers[1]"),
        (["user:"], "owner.viewers[0]"),
        (["group:"], "owner.viewers[0]"),
        (["User:ada"], "owner.viewers[0]"),
        (["**"], "owner.viewers[0]"),
        ([" *"], "owner.viewers[0]"),
        (["user:a\0"], "owner.viewers[0]"),
        (["user:\ud800"], "owner.viewers[0]"),
        ([["*"]], "owner.viewers[0]"),
    ],
)
def test_bad_viewers_are_refused_by_their_place(viewers: Any, path: str) -> None:
    assert refused(json.dumps(line_of("agent", owner={"viewers": viewers}))).json_path == path


def test_an_agent_may_have_no_viewers() -> None:
    assert read(line_of("agent", owner={"viewers": []}))[0][1]["viewers"] == []


@pytest.mark.parametrize("name", IMPORTABLE)
@pytest.mark.parametrize("body", [None, [], "x", 1, True])
def test_body_that_is_no_object_is_refused(name: str, body: Any) -> None:
    assert refused(json.dumps(line_of(name, body=body))).rule == "must be an object"


@pytest.mark.parametrize(
    ("name", "changes", "path"),
    [
        ("user_session", {"isReplying": "no"}, "isReplying"),
        ("user_session", {"uuid": ""}, "uuid"),
        ("user_session", {"messages": []}, "messages"),
        ("user_session", {"workspace": deep_object(29)}, "workspace.a" + ".a[0]" * 13 + ".a"),
        ("session", {"metadata": {"n": MAX_INTEGER + 1}}, "metadata.n"),
        ("session", {"metadata": {"n": [1, -MAX_INTEGER - 1]}}, "metadata.n[1]"),
        ("session", {"metadata": {"s": "\ud800"}}, "metadata.s"),
        ("session", {"metadata": {"s": "\0"}}, "metadata.s"),
        ("session", {"metadata": {"\0": 1}}, "metadata"),
        ("session", {"recall_options": {"mode": "bm25"}}, "recall_options.mode"),
        ("session", {"id": "1"}, "id"),
        ("session", {"messages": []}, "messages"),
        ("robot", {"messages": []}, "messages"),
        ("robot", {"deletedAt": None}, "deletedAt"),
        ("robot_session", {"id": "CC5LND2S1S4652ADTU50"}, "id"),
        ("robot_session", {"messages": None}, "messages"),
        ("robot_session", {"messages": {}}, "messages"),
        ("robot_session", {"messages": "x"}, "messages"),
        ("robot_session", {"messages": [None]}, "messages[0]"),
        ("robot_session", {"messages": [example("robot_message"), []]}, "messages[1]"),
        ("robot_session", {"messages": [example("robot_message", role="tool")]}, "messages[0].role"),
        (
            "robot_session",
            {"messages": [example("robot_message"), example("robot_message", parts=[{}, 1])]},
            "messages[1].parts[1]",
        ),
        (
            "robot_session",
            {"messages": [example("robot_message", session_id="cc5lnd2s1s4652adtu50")]},
            "messages[0].session_id",
        ),
        ("robot_session", {"messages": [example("robot_message", metadata=None)]}, "messages[0].metadata"),
        ("agent_session", {"rid": "x"}, "rid"),
        ("agent", {"viewers": ["*"]}, "viewers"),
    ],
)
def test_bad_body_is_refused_by_the_path_of_its_field(name: str, changes: dict[str, Any], path: str) -> None:
    assert refused(json.dumps(line_of(name, body={**example(name), **changes}))).json_path == path


@pytest.mark.parametrize(
    ("literal", "path"),
    [
        ("1e400", "metadata.n"),
        ("-1e400", "metadata.n"),
        ("9007199254740993", "metadata.n"),
        ("-9007199254740993", "metadata.n"),
        ("1" + "0" * 400, "metadata.n"),
        ("1" + "0" * 5000, "metadata.n"),
        (r'"\ud800"', "metadata.n"),
        (r'"\u0000"', "metadata.n"),
        (r'"\ud83d\ud83d\ude00"', "metadata.n"),
        ("[" * 28 + "]" * 28, "metadata.n" + "[0]" * 27),
        ("[" * 500 + "]" * 500, "metadata.n" + "[0]" * 27),
    ],
    ids=lambda text: text[:24],
)
def test_number_and_text_that_json_may_have_but_no_record_is_refused_by_its_path(
    literal: str, path: str
) -> None:
    text = json.dumps(line_of("session", body=example("session", metadata={"n": "HERE"})))
    assert refused(text.replace('"HERE"', literal)).json_path == path


def test_surrogate_in_raw_bytes_is_refused_by_its_path() -> None:
    text = json.dumps(line_of("session", body=example("session", metadata={"n": "HERE"}))).encode()
    assert refused(text.replace(b"HERE", b"\xed\xa0\x80")).json_path == "metadata.n"


def test_pair_of_surrogates_is_one_character() -> None:
    text = json.dumps(line_of("session", body=example("session", metadata={"n": "\U0001f600"})))
    assert r"\ud83d\ude00" in text
    ((_, document),) = read_line(IMPORTABLE, text)
    assert json.loads(document[JSON])["metadata"] == {"n": "\U0001f600"}


def test_record_that_is_too_large_is_refused() -> None:
    line = line_of("user_session", body=example("user_session", screenshot="A" * (16 << 20)))
    assert "15 MiB" in refused(json.dumps(line)).rule

"""What may be written comes back as it was; what may not is refused by the field's name."""

import copy
import json
import math
import re
import struct
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.app import KINDS
from server.records.kind import BASIC, JSON, PB, Document, Kind, message_of, renewed, rerendered, stored
from server.records.violation import FieldError
from tests import strategies
from tests.strategies import (
    EXTRAS,
    ITEMS,
    MAX_DEPTH,
    MAX_INTEGER,
    OWNERS,
    RECALL_DEFAULTS,
    comparable,
    deep_dialogue,
    deep_object,
    example,
    expected,
)

BY_NAME: dict[str, Kind] = {kind.name: kind for kind in KINDS}
MISSING = object()
NEW_KEY = "brand_new"


def document_of(name: str, body: Mapping[str, Any]) -> Document:
    kind = BY_NAME[name]
    return stored(kind, OWNERS[name], kind.schema.check(body), EXTRAS.get(name, {}))


def printed(name: str, body: Mapping[str, Any]) -> Any:
    return json.loads(document_of(name, body)[JSON])


def assert_same_document(name: str, one: Document, other: Document) -> None:
    """Compare stored documents; the order of keys in any JSON does not matter, and so that of bytes."""
    kind = BY_NAME[name]

    def plain(document: Document) -> Document:
        forms = {form: message_of(kind, document[form]) for form in (PB, BASIC) if form in document}
        terms = {"terms": sorted(document["terms"])} if "terms" in document else {}
        return {**document, **forms, **terms, JSON: comparable(name, json.loads(document[JSON]))}

    assert plain(one) == plain(other)


def test_every_kind_is_tested() -> None:
    assert {*ITEMS, "agent"} == set(BY_NAME) == set(OWNERS)


# --- the way there and back -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ITEMS)
@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_every_documented_item_comes_back(name: str, data: st.DataObject) -> None:
    item = data.draw(ITEMS[name]())
    before = copy.deepcopy(item)
    kind = BY_NAME[name]
    checked = kind.schema.check(item)
    # Only what a write leaves out is added; nothing the writer holds is changed.
    assert item == before
    assert comparable(name, checked) == expected(name, item)
    # Canonical is canonical, and the typed message says the same.
    assert kind.schema.check(checked) == checked
    wire = kind.schema.to_proto(checked).SerializeToString()
    message = kind.schema.message.FromString(wire)
    assert kind.schema.from_proto(message) == checked
    assert comparable(name, kind.schema.check(kind.schema.from_proto(message))) == comparable(name, checked)
    # What REST prints is the same again: every key, null, number, order of arrays, instant.
    document = stored(kind, OWNERS[name], checked, EXTRAS.get(name, {}))
    assert comparable(name, json.loads(document[JSON])) == expected(name, item)
    # All of it can be derived again from the typed message alone.
    assert_same_document(name, renewed(kind, document[PB]), document)
    assert comparable(name, json.loads(rerendered(kind, document[PB]))) == expected(name, item)


@pytest.mark.parametrize("name", BY_NAME)
def test_example_with_every_key_comes_back(name: str) -> None:
    body = example(name)
    assert comparable(name, printed(name, body)) == expected(name, body)


OPTIONAL_KEYS = [
    ("user_session", "dialogue[0].ui"),
    ("session", "recall_options.trigram_similarity_threshold"),
    ("session", "recall_options.k_multiplier"),
    ("robot", "deletedAt"),
    ("robot", "misc"),
    ("robot", "meta"),
    ("robot", "author.suspended"),
    ("robot", "author.signature"),
    ("robot", "author.roles[0].meta"),
    ("robot_session", "deletedAt"),
    ("robot_session", "misc"),
    ("robot_session", "created_by.suspended"),
    ("robot_session", "created_by.signature"),
    ("robot_session", "created_by.roles[0].meta"),
    ("robot_message", "metadata"),
    ("robot_message", "robot"),
    ("robot_message", "author"),
    ("robot_message", "author.suspended"),
    ("robot_message", "author.signature"),
    ("robot_message", "author.roles[0].meta"),
]


@pytest.mark.parametrize(("name", "path"), OPTIONAL_KEYS)
def test_optional_key_that_is_absent_stays_absent(name: str, path: str) -> None:
    body = changed(name, path, MISSING)
    assert comparable(name, printed(name, body)) == expected(name, body)


@pytest.mark.parametrize(
    ("name", "path"),
    [each for each in OPTIONAL_KEYS if each[1].endswith(("misc", "meta", "metadata"))],
)
def test_empty_object_stays_an_empty_object(name: str, path: str) -> None:
    body = changed(name, path, {})
    assert comparable(name, printed(name, body)) == expected(name, body)


NULLABLE_KEYS = [
    ("user_session", "name"),
    ("user_session", "dialogue"),
    ("user_session", "quickReplies"),
    ("user_session", "workspace"),
    ("user_session", "clients"),
    ("user_session", "language"),
    ("user_session", "easyMode"),
    ("user_session", "llmContext"),
    ("user_session", "tutorial.tutorialId"),
    ("user_session", "audios"),
    ("user_session", "userAudio"),
    ("user_session", "screenshot"),
    ("user_session", "clicks"),
    ("user_session", "userInfo"),
    ("session", "situation"),
    ("session", "system_template"),
    ("session", "summary"),
    ("session", "token_budget"),
    ("session", "context_overflow"),
    ("session", "recall_options"),
    ("session", "kind"),
]


@pytest.mark.parametrize(("name", "path"), NULLABLE_KEYS)
def test_null_is_printed_as_null(name: str, path: str) -> None:
    made = printed(name, changed(name, path, None))
    holder, key = located(made, path)
    assert key in holder
    assert holder[key] is None


@pytest.mark.parametrize(
    ("name", "path", "value"),
    [
        ("user_session", "name", ""),
        ("user_session", "dialogue", []),
        ("user_session", "dialogue[1].content", []),
        ("user_session", "dialogue[0].content", ""),
        ("user_session", "dialogue[0].ui", ""),
        ("user_session", "dialogue[0].id", 0),
        ("user_session", "quickReplies", []),
        ("user_session", "quickReplies", [""]),
        ("user_session", "workspace", {}),
        ("user_session", "clients", []),
        ("user_session", "language", ""),
        ("user_session", "easyMode", False),
        ("user_session", "llmContext", ""),
        ("user_session", "tutorial.tutorialId", 0),
        ("user_session", "tutorial.progress", 0),
        ("user_session", "stats.totalInvokedLLM", 0),
        ("user_session", "audios", []),
        ("user_session", "userAudio", ""),
        ("user_session", "screenshot", ""),
        ("user_session", "clicks", []),
        ("user_session", "clicks[0].timestamp", 0),
        ("user_session", "userInfo", ""),
        ("user_session", "userInfo", {}),
        ("session", "situation", ""),
        ("session", "token_budget", 0),
        ("session", "metadata", {}),
        ("session", "recall_options.lang", ""),
        ("session", "recall_options.k_multiplier", 0),
        ("session", "recall_options.trigram_similarity_threshold", 0),
        ("session", "recall_options.limit", 0),
        ("session", "kind", ""),
        ("robot", "tools", []),
        ("robot", "author.roles", []),
        ("robot_session", "created_by.roles", []),
        ("robot_session", "name", ""),
        ("robot_message", "parts", []),
        ("robot_message", "parts", [{}]),
        ("agent_session", "metadata.messageCount", 0),
        ("agent_session", "metadata.title", ""),
    ],
)
def test_empty_and_zero_are_not_absent(name: str, path: str, value: Any) -> None:
    holder, key = located(printed(name, changed(name, path, value)), path)
    assert (holder[key], type(holder[key])) == (value, type(value))


@pytest.mark.parametrize(("typed", "mode"), [("", "text"), ("text", "text"), ("audio", "audio")])
def test_a_typed_user_session_answers_in_text_unless_it_says_otherwise(typed: str, mode: str) -> None:
    kind = BY_NAME["user_session"]
    message: Any = kind.schema.to_proto(kind.schema.check(example("user_session")))
    message.response_mode = typed
    document = stored(kind, OWNERS["user_session"], kind.schema.check(kind.schema.from_proto(message)), {})
    assert json.loads(document[JSON])["responseMode"] == mode
    assert message_of(kind, document[PB]).response_mode == mode  # type: ignore[attr-defined] # it has one


@pytest.mark.parametrize(
    "given_options", [{}, {"mode": "text"}, {"mode": "hybrid", "k_multiplier": 7}, {"limit": 3, "lang": ""}]
)
def test_recall_options_are_completed_at_the_write(given_options: dict[str, Any]) -> None:
    made = printed("session", example("session", recall_options=given_options))
    assert made["recall_options"] == {**RECALL_DEFAULTS, **given_options}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1"),
        (-0.0, "0"),
        (1e15, "1000000000000000"),
        (float(MAX_INTEGER), "9007199254740992"),
        (-float(MAX_INTEGER), "-9007199254740992"),
        (MAX_INTEGER, "9007199254740992"),
        (0.1, "0.1"),
        (1 / 3, "0.3333333333333333"),
        (5e-324, "5e-324"),
        (1e300, "1e+300"),
        (1.5e-7, "1.5e-7"),
        (123456789.125, "123456789.125"),
    ],
)
@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("user_session", "workspace"),
        ("user_session", "clicks[0].x"),
        ("session", "metadata"),
        ("robot", "misc"),
        ("robot_message", "metadata"),
    ],
)
def test_numbers_print_by_their_shortest_form(name: str, path: str, value: float, text: str) -> None:
    body = changed(name, path, value if path.endswith(".x") else {"n": value})
    key = "x" if path.endswith(".x") else "n"
    match = re.search(rf'"{key}":([^,}}]+)'.encode(), document_of(name, body)[JSON])
    assert match is not None
    assert match[1].decode() == text


def significant(text: str) -> str:
    """Return the digits of a number, without sign, point, exponent and the zeros at both ends."""
    return text.lower().partition("e")[0].lstrip("-").replace(".", "").strip("0")


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("session", "token_budget"),
        ("session", "recall_options.limit"),
        ("agent_session", "metadata.messageCount"),
    ],
)
@pytest.mark.parametrize("value", [5.0, -0.0, float(2**31 - 1), -float(2**31)])
def test_a_whole_double_is_an_integer(name: str, path: str, value: float) -> None:
    holder, key = located(printed(name, changed(name, path, value)), path)
    assert holder[key] == value
    assert type(holder[key]) is int


@settings(max_examples=300, deadline=None)
@given(strategies.numbers())
def test_a_number_prints_as_itself_with_the_fewest_digits(value: float) -> None:
    body = document_of("session", example("session", metadata={"n": value}))[JSON]
    match = re.search(rb'"n":([^,}]+)', body)
    assert match is not None
    text = match[1].decode()
    assert float(text) == value
    assert significant(text) == significant(repr(value))
    if value == math.floor(value) and abs(value) <= MAX_INTEGER:
        assert text == str(int(value))


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
        ("9999-12-31T23:59:59.999999999Z", "9999-12-31T23:59:59.999999999Z"),
        ("1969-12-31T23:59:59.999999999Z", "1969-12-31T23:59:59.999999999Z"),
        ("2024-02-29T00:00:00.000000001+00:00", "2024-02-29T00:00:00.000000001Z"),
        ("2026-01-01T00:30:00.1+01:00", "2025-12-31T23:30:00.1Z"),
        ("2026-01-01t00:30:00z", "2026-01-01T00:30:00Z"),
        ("2024-12-31T23:59:59.12-23:59", "2025-01-01T23:58:59.12Z"),
    ],
)
@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("user_session", "updatedAt"),
        ("session", "created_at"),
        ("robot", "author.joined"),
        ("robot_session", "deletedAt"),
        ("robot_message", "created_at"),
        ("agent_session", "metadata.estimatedExpiresTime"),
    ],
)
def test_times_come_back_with_z_to_the_nanosecond(name: str, path: str, written: str, read: str) -> None:
    holder, key = located(printed(name, changed(name, path, written)), path)
    assert holder[key].endswith("Z")
    assert "T" in holder[key]
    assert strategies.instant(holder[key]) == strategies.instant(read)


@settings(max_examples=200, deadline=None)
@given(st.tuples(strategies.times(), strategies.times()))
def test_stored_times_sort_as_instants_do(pair: tuple[str, str]) -> None:
    stored_times = [document_of("session", example("session", created_at=text))["created"] for text in pair]
    first, second = map(strategies.instant, pair)
    assert (stored_times[0] < stored_times[1]) == (first < second)
    assert (stored_times[0] == stored_times[1]) == (first == second)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("user_session", "workspace"),
        ("user_session", "userInfo"),
        ("session", "metadata"),
        ("session", "recall_options.metadata_filter"),
        ("robot", "misc"),
        ("robot", "meta"),
        ("robot", "author.roles[0].meta"),
        ("robot_session", "misc"),
        ("robot_message", "metadata"),
        ("robot_message", "parts[0]"),
    ],
)
class TestDepthOfAnyJson:
    def test_28_levels_come_back(self, name: str, path: str) -> None:
        body = changed(name, path, deep_object(MAX_DEPTH, leaf="innermost"))
        document = document_of(name, body)
        assert comparable(name, json.loads(document[JSON])) == expected(name, body)
        assert_same_document(name, renewed(BY_NAME[name], document[PB]), document)

    @pytest.mark.parametrize("levels", [MAX_DEPTH + 1, 500])
    def test_29_levels_are_refused(self, name: str, path: str, levels: int) -> None:
        error = refused(name, changed(name, path, deep_object(levels)))
        assert error.json_path.startswith(f"{path}.a")
        assert "28" in error.rule


def test_dialogue_of_28_arrays_comes_back() -> None:
    body = example("user_session", dialogue=deep_dialogue(MAX_DEPTH))
    document = document_of("user_session", body)
    assert json.loads(document[JSON])["dialogue"] == body["dialogue"]
    assert_same_document("user_session", renewed(BY_NAME["user_session"], document[PB]), document)


def test_dialogue_of_29_arrays_is_refused() -> None:
    error = refused("user_session", example("user_session", dialogue=deep_dialogue(MAX_DEPTH + 1)))
    assert error.json_path == "dialogue[0]" + ".content[0]" * (MAX_DEPTH - 1) + ".content"


@pytest.mark.parametrize("megabytes", [4, 14])
def test_large_record_can_be_rendered_although_it_does_not_fit_twice(megabytes: int) -> None:
    screenshot = "A" * (megabytes << 20)
    document = document_of("user_session", example("user_session", screenshot=screenshot))
    assert json.loads(rerendered(BY_NAME["user_session"], document[PB]))["screenshot"] == screenshot
    assert (JSON in document) == (document.get("whole") is None)


# --- what is refused --------------------------------------------------------------------------------


def steps(path: str) -> Iterator[str | int]:
    for name, index in re.findall(r"([^.\[\]]+)|\[(\d+)\]", path):
        yield name or int(index)


def located(document: Any, path: str) -> tuple[Any, Any]:
    *outer, last = steps(path)
    for step in outer:
        document = document[step]
    return document, last


def changed(name: str, path: str, value: Any) -> dict[str, Any]:
    """Return the example of a kind with another value at `path`, or none."""
    document = example(name)
    holder, key = located(document, path)
    if value is MISSING:
        del holder[key]
    else:
        holder[key] = value
    return document


def refused(name: str, body: Any) -> FieldError:
    with pytest.raises(FieldError) as caught:
        BY_NAME[name].schema.check(body)
    return caught.value


Values = tuple[Any, ...]

SURROGATES: Values = ("\ud800", "a\udfffb", "\udc00\ud800")
BAD_TEXT: Values = (*SURROGATES, "\0", "a\0b", None, 1, 1.5, True, [], {}, b"x")
BAD_FLAG: Values = (None, 0, 1, "true", "", [], {})
BAD_NUMBER: Values = (
    *(None, True, False, "1", "", [], {}, math.nan, math.inf, -math.inf),
    *(MAX_INTEGER + 1, -MAX_INTEGER - 1, 10**400),
)
BAD_INTEGER: Values = (None, True, "1", 1.5, math.nan, math.inf, 2**31, -(2**31) - 1, 1e10, 10**400, [], {})
BAD_TIME: Values = (
    *(None, 0, 1700000000, True, "", "now", "2026-01-31", "2026-01-31T23:59:59", "2026-01-31T23:59Z"),
    *("2026-02-30T00:00:00Z", "2026-13-01T00:00:00Z", "2026-01-31T24:00:00Z", "2026-01-31T23:60:00Z"),
    *("0000-01-01T00:00:00Z", "10000-01-01T00:00:00Z", "-001-01-01T00:00:00Z", "+2026-01-01T00:00:00Z"),
    *("0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01", "2026-01-31T23:59:59.Z"),
    *("2026-01-31T23:59:59.1234567890Z", "2026-01-31T23:59:59+0100", "2026-01-31T23:59:59+01"),
    *(
        "2026-01-31T23:59:59+24:00",
        "2026-01-31T23:59:59Z ",
        " 2026-01-31T23:59:59Z",
        "2026-01-31T23:59:59Z\n",
    ),
    *("\u0662\u0660\u0662\u0666-01-31T23:59:59Z", "2026-01-31T23:59:59,5Z", "2026-W05-6T23:59:59Z", [], {}),
)
BAD_UUID: Values = (
    *(None, "", 1, "3c90c3cc-0d44-4b50-8888-8dd25736052", "3c90c3cc-0d44-4b50-8888-8dd25736052aa"),
    *("3c90c3cc0d444b5088888dd25736052a", "{3c90c3cc-0d44-4b50-8888-8dd25736052a}"),
    *("3c90c3cc-0d44-4b50-8888-8dd25736052g", "3c90c3cc-0d44-4b50-8888-8dd25736052a\n"),
)
BAD_XID: Values = (
    *(None, "", 1, "cc5lnd2s1s4652adtu5", "cc5lnd2s1s4652adtu500", "CC5LND2S1S4652ADTU50"),
    *("cc5lnd2s1s4652adtu5w", "cc5lnd2s1s4652adtu50\n", "cc5lnd2s1s4652adtu5\u0660"),
)
BAD_RID: Values = (
    *(None, "", 1, "session", "ri.", "ri.aip-agents.session.x", "ri.aip-agents..session.", "ri...."),
    *("RI.aip-agents..session.x", "ri.Aip..session.x", "ri.1aip..session.x", "ri.aip..Session.x"),
    *("ri.aip.-x.session.x", "ri.aip..session.x y", "ri.aip..session.x\n", "ri.aip..session.é", "xri.a..b.c"),
)
BAD_OBJECT: Values = (True, 1, "{}", [], [{}], b"{}")
BAD_LIST: Values = (True, 1, "[]", {}, {"0": 1}, ())
BAD_JSON: Values = (
    *((value, "") for value in (math.nan, math.inf, -math.inf, MAX_INTEGER + 1, -MAX_INTEGER - 1, 10**400)),
    *((value, "") for value in (*SURROGATES, "\0")),
    *((value, "") for value in (b"x", (1,), {1}, object())),
    ({"b": [0, math.nan]}, ".b[1]"),
    ([[], ["\0"]], "[1][0]"),
)
JSON_FIELDS = (
    *(("user_session", "workspace"), ("user_session", "userInfo")),
    *(("session", "metadata"), ("session", "recall_options.metadata_filter")),
    *(("robot", "misc"), ("robot", "meta"), ("robot", "author.roles[0].meta")),
    *(("robot_session", "misc"), ("robot_session", "created_by.roles[0].meta")),
    *(("robot_message", "metadata"), ("robot_message", "parts[0]")),
)
BAD_VALUES: list[tuple[str, str, tuple[Any, ...]]] = [
    ("user_session", "uuid", (*BAD_TEXT, "")),
    *(("user_session", path, BAD_TEXT) for path in ("sessionId", "audios[0].id", "audios[0].base64")),
    ("user_session", "responseMode", (*BAD_TEXT, "", "Text", "text ", "text\n", "voice")),
    *(
        ("user_session", path, tuple(each for each in BAD_TEXT if each is not None))
        for path in ("name", "language", "llmContext", "userAudio", "screenshot")
    ),
    *(("user_session", path, BAD_TEXT) for path in ("quickReplies[1]", "clients[0]", "dialogue[0].ui")),
    *(("user_session", path, BAD_FLAG) for path in ("isReplying", "isVMRunning", "tutorial.isTutorial")),
    ("user_session", "dialogue[1].content[0].isUser", BAD_FLAG),
    ("user_session", "easyMode", tuple(each for each in BAD_FLAG if each is not None)),
    *(
        ("user_session", path, BAD_NUMBER)
        for path in (
            *("dialogue[0].id", "tutorial.progress", "clicks[0].x", "clicks[0].y", "clicks[0].value"),
            *("clicks[0].timestamp", "stats.totalConnectingTime", "stats.currentNumOfBlocks"),
            *("stats.totalInvokedLLM", "stats.totalUserMessages", "stats.totalCodeExecutions"),
        )
    ),
    ("user_session", "tutorial.tutorialId", tuple(each for each in BAD_NUMBER if each is not None)),
    *(
        ("user_session", path, ("USER", "unspecified", "", "user ", None, 1, [], "CONTENT_TYPE_USER"))
        for path in ("dialogue[0].contentType", "dialogue[1].content[0].contentType")
    ),
    *(
        ("user_session", path, (None, 1, True, {}, "\0", *SURROGATES))
        for path in ("dialogue[0].content", "dialogue[1].content[0].content")
    ),
    *(
        ("user_session", path, (None, *BAD_OBJECT))
        for path in ("tutorial", "stats", "dialogue[1]", "clicks[0]")
    ),
    *(("user_session", path, (None, *BAD_OBJECT)) for path in ("audios[0]", "dialogue[1].content[0]")),
    *(
        ("user_session", path, BAD_LIST)
        for path in ("dialogue", "quickReplies", "clients", "audios", "clicks")
    ),
    ("user_session", "workspace", BAD_OBJECT),
    ("user_session", "userInfo", (True, 1, [], [{}], 1.5, "\0", *SURROGATES)),
    *(("user_session", path, BAD_TIME) for path in ("createdAt", "updatedAt")),
    *(
        ("session", path, tuple(each for each in BAD_TEXT if each is not None))
        for path in ("situation", "system_template", "summary", "kind")
    ),
    *(("session", path, BAD_FLAG) for path in ("render_templates", "auto_run_tools", "forward_tool_calls")),
    ("session", "token_budget", tuple(each for each in BAD_INTEGER if each is not None)),
    ("session", "context_overflow", ("TRUNCATE", "", "unspecified", 1, True, [])),
    ("session", "recall_options", BAD_OBJECT),
    ("session", "recall_options.mode", ("", "VECTOR", "bm25", None, 1)),
    *(
        ("session", f"recall_options.{key}", BAD_INTEGER)
        for key in ("num_search_messages", "max_query_length", "limit", "k_multiplier")
    ),
    *(
        ("session", f"recall_options.{key}", BAD_NUMBER)
        for key in ("alpha", "confidence", "mmr_strength", "trigram_similarity_threshold")
    ),
    ("session", "recall_options.lang", BAD_TEXT),
    ("session", "recall_options.metadata_filter", (None, *BAD_OBJECT)),
    ("session", "id", BAD_UUID),
    ("session", "metadata", (None, *BAD_OBJECT)),
    *(("session", path, BAD_TIME) for path in ("created_at", "updated_at")),
    *(("robot", path, BAD_TEXT) for path in ("name", "description", "playbook", "model", "tools[0]")),
    *(("robot", path, BAD_TIME) for path in ("createdAt", "updatedAt", "deletedAt", "author.suspended")),
    *(("robot", path, (None, *BAD_OBJECT)) for path in ("author", "misc", "meta", "author.roles[0]")),
    *(("robot", path, (None, *BAD_LIST)) for path in ("tools", "author.roles")),
    ("robot", "author.signature", BAD_TEXT),
    *(
        ("robot_session", path, BAD_TIME)
        for path in ("createdAt", "updatedAt", "deletedAt", "created_by.joined")
    ),
    ("robot_session", "id", BAD_XID),
    *(("robot_session", path, BAD_TEXT) for path in ("name", "created_by.handle", "created_by.name")),
    *(("robot_session", f"created_by.roles[0].{key}", BAD_TEXT) for key in ("name", "colour")),
    *(("robot_session", f"created_by.roles[0].{key}", BAD_FLAG) for key in ("badge", "default")),
    *(("robot_session", path, (*BAD_TEXT, "")) for path in ("created_by.id", "created_by.roles[0].id")),
    ("robot_message", "role", ("USER", "tool", "", "unspecified", None, 1)),
    ("robot_message", "parts", (None, *BAD_LIST)),
    ("robot_message", "parts[0]", (None, *BAD_OBJECT)),
    ("robot_message", "created_at", BAD_TIME),
    *(("robot_message", path, (None, *BAD_OBJECT)) for path in ("metadata", "robot", "author")),
    ("robot_message", "robot.name", BAD_TEXT),
    *(("agent_session", path, BAD_RID) for path in ("rid", "agentRid")),
    *(("agent_session", path, BAD_TEXT) for path in ("agentVersion", "metadata.title")),
    *(
        ("agent_session", f"metadata.{key}", BAD_TIME)
        for key in ("createdTime", "updatedTime", "estimatedExpiresTime")
    ),
    ("agent_session", "metadata.messageCount", BAD_INTEGER),
    ("agent_session", "metadata", (None, *BAD_OBJECT)),
    ("agent", "rid", BAD_RID),
]


@pytest.mark.parametrize(("name", "path", "values"), BAD_VALUES, ids=lambda value: str(value)[:60])
def test_bad_value_is_refused_by_the_path_of_its_field(name: str, path: str, values: tuple[Any, ...]) -> None:
    for value in values:
        error = refused(name, changed(name, path, value))
        assert error.json_path == path, repr(value)
        assert error.rule


@pytest.mark.parametrize(("name", "path"), JSON_FIELDS)
def test_bad_value_in_any_json_is_refused_by_its_path(name: str, path: str) -> None:
    for value, further in BAD_JSON:
        error = refused(name, changed(name, path, {"a": value}))
        assert error.json_path == f"{path}.a{further}", repr(value)


@pytest.mark.parametrize(("name", "path"), JSON_FIELDS)
@pytest.mark.parametrize("key", ["a\0", *SURROGATES])
def test_bad_key_in_any_json_is_refused_by_its_field(name: str, path: str, key: str) -> None:
    assert refused(name, changed(name, path, {key: 1})).json_path == path


@pytest.mark.parametrize("name", BY_NAME)
@pytest.mark.parametrize("body", [None, [], "x", 1, True, [{}]])
def test_body_that_is_no_object_is_refused(name: str, body: Any) -> None:
    assert refused(name, body).rule == "must be an object"


def every_path(value: Any, path: str = "") -> Iterator[str]:
    """Yield the path of each key of an example, without what is inside of any JSON."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield f"{path}.{key}".removeprefix(".")
            if key not in {"workspace", "misc", "meta", "metadata_filter"} and f"{path}.{key}" != ".metadata":
                yield from every_path(item, f"{path}.{key}".removeprefix("."))
    elif isinstance(value, list) and path != "parts":
        for index, item in enumerate(value):
            yield from every_path(item, f"{path}[{index}]")


AT_LEAST_MADE_BY_THE_WRITE = {
    *(("user_session", key) for key in ("uuid", "createdAt", "updatedAt")),
    *(("session", key) for key in ("id", "created_at", "updated_at")),
    *(("session", f"recall_options.{key}") for key in RECALL_DEFAULTS),
    *(("robot", key) for key in ("id", "createdAt", "updatedAt")),
    *(("robot_session", key) for key in ("id", "createdAt", "updatedAt")),
    *(("robot_message", key) for key in ("id", "created_at")),
    *(("agent_session", key) for key in ("rid",)),
    *(("agent_session", f"metadata.{key}") for key in ("createdTime", "updatedTime", "estimatedExpiresTime")),
    ("agent", "rid"),
}
PATHS = [
    (name, path)
    for name in BY_NAME
    for path in (
        *every_path(example(name)),
        *(f"metadata.{key}" for key in (example(name)["metadata"] if name == "agent_session" else ())),
    )
]


@pytest.mark.parametrize(
    ("name", "path"),
    [each for each in PATHS if each not in AT_LEAST_MADE_BY_THE_WRITE and each not in OPTIONAL_KEYS],
)
def test_missing_key_is_refused_by_its_path(name: str, path: str) -> None:
    assert refused(name, changed(name, path, MISSING)).json_path == path


@pytest.mark.parametrize(("name", "path"), sorted(AT_LEAST_MADE_BY_THE_WRITE))
def test_identifier_time_or_option_that_is_left_out_is_made(name: str, path: str) -> None:
    holder, key = located(printed(name, changed(name, path, MISSING)), path)
    assert holder[key] is not None
    assert holder[key] != ""


@pytest.mark.parametrize(("name", "path"), [each for each in PATHS if each not in NULLABLE_KEYS])
def test_null_is_refused_where_the_contract_has_none(name: str, path: str) -> None:
    assert refused(name, changed(name, path, None)).json_path == path


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("user_session", NEW_KEY),
        ("user_session", f"tutorial.{NEW_KEY}"),
        ("user_session", f"stats.{NEW_KEY}"),
        ("user_session", f"dialogue[0].{NEW_KEY}"),
        ("user_session", f"dialogue[1].content[0].{NEW_KEY}"),
        ("user_session", f"audios[0].{NEW_KEY}"),
        ("user_session", f"clicks[0].{NEW_KEY}"),
        ("user_session", "user_id"),
        ("user_session", "UUID"),
        ("session", NEW_KEY),
        ("session", "developer_id"),
        ("session", f"recall_options.{NEW_KEY}"),
        ("robot", NEW_KEY),
        ("robot", f"author.{NEW_KEY}"),
        ("robot", f"author.roles[0].{NEW_KEY}"),
        ("robot_session", NEW_KEY),
        ("robot_session", "message_list"),
        ("robot_session", f"created_by.{NEW_KEY}"),
        ("robot_message", NEW_KEY),
        ("robot_message", "session_id"),
        ("robot_message", f"robot.{NEW_KEY}"),
        ("agent_session", NEW_KEY),
        ("agent_session", "etag"),
        ("agent_session", f"metadata.{NEW_KEY}"),
        ("agent", NEW_KEY),
        ("agent", "viewers"),
    ],
)
def test_unknown_key_is_refused_by_its_path(name: str, path: str) -> None:
    assert refused(name, changed(name, path, "x")).json_path == path


def test_record_of_more_than_a_document_can_hold_is_refused() -> None:
    with pytest.raises(FieldError, match="15 MiB"):
        document_of("user_session", example("user_session", screenshot="A" * (16 << 20)))


def test_floats_are_compared_to_the_last_bit() -> None:
    """The helpers of these tests would see a lost bit."""
    value = 0.1
    next_to_it = struct.unpack("<d", struct.pack("<q", struct.unpack("<q", struct.pack("<d", value))[0] + 1))[
        0
    ]
    one, other = (comparable("session", example("session", metadata={"n": n})) for n in (value, next_to_it))
    assert one != other
    assert comparable("session", {"metadata": {"n": 1}}) != comparable("session", {"metadata": {"n": True}})
    assert comparable("session", {"metadata": {"n": 1}}) == comparable("session", {"metadata": {"n": 1.0}})

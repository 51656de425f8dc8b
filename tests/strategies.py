"""Documented items of every kind: one plain example each, and strategies of all that may be written."""

import copy
import re
import uuid
from collections.abc import Callable, Mapping
from datetime import date
from functools import cache
from typing import Any, Literal

from hypothesis import strategies as st

Document = dict[str, Any]
Strategy = st.SearchStrategy[Any]

MAX_DEPTH = 28
MAX_INTEGER = 2**53
INT32 = (-(2**31), 2**31 - 1)

RECALL_DEFAULTS: Document = {
    "mode": "vector",
    "num_search_messages": 4,
    "max_query_length": 1000,
    "alpha": 0.7,
    "confidence": 0.6,
    "limit": 10,
    "lang": "en-US",
    "metadata_filter": {},
    "mmr_strength": 0,
}

# --- one plain item of each kind, with every key ---------------------------------------------------

_ACCOUNT: Document = {
    "id": "cc5lnd2s1s4652adtu50",
    "joined": "2024-01-02T03:04:05Z",
    "suspended": "2025-01-02T03:04:05.5Z",
    "handle": "ada",
    "name": "Ada",
    "signature": "<p>hello</p>",
    "roles": [
        {
            "badge": True,
            "default": False,
            "id": "cc5lnd2s1s4652adtu51",
            "name": "Admin",
            "colour": "red",
            "meta": {"bold": True},
        }
    ],
}
_EXAMPLES: dict[str, Document] = {
    "user_session": {
        "uuid": "7b3c9a3e-4a4e-4a3f-9a57-0f1f2f3f4f5f",
        "sessionId": "s-1",
        "name": "My first turtle",
        "dialogue": [
            {"id": 1, "contentType": "user", "isUser": True, "content": "Hello", "ui": "example_ui"},
            {
                "id": 2,
                "contentType": "group_log",
                "isUser": False,
                "content": [{"id": 3, "contentType": "log", "isUser": False, "content": "line"}],
            },
        ],
        "quickReplies": ["Yes", "No"],
        "isReplying": False,
        "workspace": {"blocks": {"languageVersion": 0, "blocks": []}},
        "isVMRunning": True,
        "clients": ["client-1"],
        "language": "en",
        "easyMode": False,
        "responseMode": "text",
        "llmContext": "context",
        "tutorial": {"isTutorial": True, "tutorialId": 7, "progress": 50},
        "stats": {
            "totalConnectingTime": 1_700_000_000_000,
            "currentNumOfBlocks": 3,
            "totalInvokedLLM": 4,
            "totalUserMessages": 5,
            "totalCodeExecutions": 6,
        },
        "audios": [{"id": "2", "base64": "UklGRg=="}],
        "userAudio": "UklGRg==",
        "screenshot": "data:image/png;base64,iVBORw0KGgo=",
        "clicks": [{"x": 0.25, "y": 0.5, "value": 1, "timestamp": 1_700_000_000_123}],
        "userInfo": "ada",
        "createdAt": "2026-01-02T03:04:05Z",
        "updatedAt": "2026-01-02T03:04:06.123456789Z",
    },
    "session": {
        "situation": "situation",
        "system_template": "template",
        "summary": "summary",
        "render_templates": True,
        "token_budget": 123,
        "context_overflow": "truncate",
        "auto_run_tools": False,
        "forward_tool_calls": False,
        "recall_options": {
            **RECALL_DEFAULTS,
            "mode": "hybrid",
            "trigram_similarity_threshold": 0.5,
            "k_multiplier": 7,
        },
        "id": "3c90c3cc-0d44-4b50-8888-8dd25736052a",
        "metadata": {"plan": "pro"},
        "created_at": "2023-11-07T05:31:56Z",
        "updated_at": "2023-11-07T05:31:56Z",
        "kind": "kind",
    },
    "robot": {
        "id": "cc5lnd2s1s4652adtu52",
        "createdAt": "2024-01-02T03:04:05Z",
        "updatedAt": "2024-01-02T03:04:06Z",
        "deletedAt": "2024-01-02T03:04:07Z",
        "name": "Greeter",
        "description": "Greets",
        "playbook": "Be kind",
        "model": "a/b",
        "author": _ACCOUNT,
        "tools": ["search"],
        "misc": {},
        "meta": {"icon": "x"},
    },
    "robot_session": {
        "id": "cc5lnd2s1s4652adtu53",
        "createdAt": "2024-01-02T03:04:05Z",
        "updatedAt": "2024-01-02T03:04:06Z",
        "deletedAt": "2024-01-02T03:04:07Z",
        "misc": {},
        "name": "",
        "created_by": _ACCOUNT,
    },
    "robot_message": {
        "id": "cc5lnd2s1s4652adtu54",
        "role": "assistant",
        "parts": [{"type": "text", "text": "Hi"}],
        "created_at": "2024-01-02T03:04:05Z",
        "metadata": {"tokens": 3},
        "robot": {"id": "cc5lnd2s1s4652adtu52", "name": "Greeter"},
        "author": _ACCOUNT,
    },
    "agent_session": {
        "rid": "ri.aip-agents..session.292db3b2-b653-4de6-971c-7e97a7b881d6",
        "agentRid": "ri.aip-agents..agent.732cd5b4-7ca7-4219-aabb-6e976faf63b1",
        "agentVersion": "1.0",
        "metadata": {
            "title": "What is the status of my order?",
            "createdTime": "2024-10-01T20:04:24.962583055Z",
            "updatedTime": "2024-10-01T22:04:24.962583055Z",
            "estimatedExpiresTime": "2099-10-02T22:04:24.962583055Z",
            "messageCount": 6,
        },
    },
    "agent": {"rid": "ri.aip-agents..agent.732cd5b4-7ca7-4219-aabb-6e976faf63b1"},
}
OWNERS: dict[str, Document] = {
    "user_session": {"user_id": "ada"},
    "session": {"developer_id": "acme"},
    "robot": {},
    "robot_session": {},
    "robot_message": {"session_id": "cc5lnd2s1s4652adtu53"},
    "agent_session": {"user_id": "ada", "client_id": "console"},
    "agent": {},
}
EXTRAS: dict[str, Document] = {"agent": {"viewers": ["*"]}}
KEY_OF = {
    "user_session": "uuid",
    "session": "id",
    "robot": "id",
    "robot_session": "id",
    "robot_message": "id",
    "agent_session": "rid",
    "agent": "rid",
}


def example(kind: str, /, **changes: Any) -> Document:
    """Return an item of `kind` that has every key, with some changed."""
    return {**copy.deepcopy(_EXAMPLES[kind]), **changes}


# --- what comes back --------------------------------------------------------------------------------

_ACCOUNT_TIMES = ("joined", "suspended")
_TIMES: dict[str, tuple[str, ...]] = {
    "user_session": ("createdAt", "updatedAt"),
    "session": ("created_at", "updated_at"),
    "robot": ("createdAt", "updatedAt", "deletedAt", *(f"author.{name}" for name in _ACCOUNT_TIMES)),
    "robot_session": (
        "createdAt",
        "updatedAt",
        "deletedAt",
        *(f"created_by.{name}" for name in _ACCOUNT_TIMES),
    ),
    "robot_message": ("created_at", *(f"author.{name}" for name in _ACCOUNT_TIMES)),
    "agent_session": (
        "metadata.createdTime",
        "metadata.updatedTime",
        "metadata.estimatedExpiresTime",
    ),
    "agent": (),
}
_RFC3339 = re.compile(r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-]\d\d):(\d\d))")


def instant(text: str) -> int:
    """Return an RFC 3339 time as nanoseconds, by plain arithmetic: no library, no rounding, no range."""
    match = _RFC3339.fullmatch(text)
    assert match is not None, text
    year, month, day, hour, minute, second = map(int, match.groups()[:6])
    fraction, hours, minutes = match.groups()[6:]
    offset = 0
    if hours is not None:
        offset = (1 if hours[0] == "+" else -1) * (int(hours[1:]) * 60 + int(minutes)) * 60
    seconds = date(year, month, day).toordinal() * 86400 + hour * 3600 + minute * 60 + second - offset
    return seconds * 10**9 + int((fraction or "0").ljust(9, "0"))


def comparable(kind: str, document: Mapping[str, Any]) -> Any:
    """Return an item for `==`: times as instants, numbers as numbers, but never a number as a boolean."""
    made = copy.deepcopy(dict(document))
    for path in _TIMES[kind]:
        *outer, last = path.split(".")
        holder: Any = made
        for name in outer:
            holder = holder.get(name, {})
        if last in holder:
            holder[last] = instant(holder[last])
    return _tagged(made)


def _tagged(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _tagged(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_tagged(item) for item in value]
    return ("bool", value) if isinstance(value, bool) else value


def expected(kind: str, document: Mapping[str, Any]) -> Any:
    """Return what a written item must be equal to when it is read, for `==` with `comparable`."""
    made = dict(document)
    if made.get("recall_options") is not None:
        made["recall_options"] = {**RECALL_DEFAULTS, **made["recall_options"]}
    return comparable(kind, made)


# --- values -----------------------------------------------------------------------------------------

_UNUSUAL_TEXTS = (
    "",
    " ",
    "\x01\x02\x1b\x1f\x7f\x80\x85\x9f",
    "\t\r\n\v\f",
    "\u2028\u2029\ufeff\u200b\u202e",
    "\ufffe\uffff\U0010ffff\U0001fffe",
    '"\\/\b</script>&#0;%00\\u0000',
    "👩🏽‍🚀🏳️‍🌈🇫🇮",
    "e\u0301 é",
    "שלום مرحبا नमस्ते 你好 안녕 ゆき",
    "$where",
    "a.b",
    "__proto__",
    "null",
    "2026-01-01T00:00:00+01:00",
)
_SURROGATES: tuple[Literal["Cs"]] = ("Cs",)
_ALPHABET = st.characters(exclude_categories=_SURROGATES, exclude_characters="\0")


@cache
def texts(min_size: int = 0) -> Strategy:
    """Return any text: all scripts, emoji, controls, but no NUL."""
    unusual = st.sampled_from([text for text in _UNUSUAL_TEXTS if len(text) >= min_size])
    return unusual | st.text(_ALPHABET, min_size=min_size, max_size=20)


@cache
def int32s() -> Strategy:
    """Return integers that the contracts call int, and their ends."""
    return st.sampled_from((*INT32, 0, -1, 1)) | st.integers(*INT32)


@cache
def numbers() -> Strategy:
    """Return integers within ±2^53 and finite doubles, with the difficult ones often."""
    return (
        st.sampled_from(
            (
                0,
                -0.0,
                1.0,
                -1,
                0.1,
                5e-324,
                -2.5e-310,
                1e300,
                1.7976931348623157e308,
                1e21,
                1e-7,
                2**31,
                2.0**53,
            )
        )
        | st.sampled_from((MAX_INTEGER, -MAX_INTEGER, MAX_INTEGER - 1, float(MAX_INTEGER + 2)))
        | st.integers(-MAX_INTEGER, MAX_INTEGER)
        | st.floats(allow_nan=False, allow_infinity=False)
    )


_DAY_NANOS = 86400 * 10**9
YEAR_1, END_OF_9999 = (date(1, 1, 1).toordinal() * _DAY_NANOS, (date.max.toordinal() + 1) * _DAY_NANOS - 1)


def _written(moment: int, digits: int, offset: int, separator: str, zulu: str) -> str:
    local = moment + offset * 60 * 10**9
    if not YEAR_1 <= local <= END_OF_9999:
        local, offset = moment, 0
    seconds, nanos = divmod(local, 10**9)
    days, clock = divmod(seconds, 86400)
    fraction = f".{nanos:09}"[: digits + 1] if digits else ""
    zone = f"{'+' if offset > 0 else '-'}{abs(offset) // 60:02}:{abs(offset) % 60:02}" if offset else zulu
    day = date.fromordinal(days).isoformat()
    return f"{day}{separator}{clock // 3600:02}:{clock // 60 % 60:02}:{clock % 60:02}{fraction}{zone}"


@cache
def times(since: str | None = None) -> Strategy:
    """Return RFC 3339 times of the years 1 to 9999, as people write them: 0 to 9 digits, any offset."""
    first = YEAR_1 if since is None else instant(since)
    ends = (first, first + 1, END_OF_9999, END_OF_9999 - 999)
    return st.builds(
        _written,
        st.sampled_from(ends) | st.integers(first, END_OF_9999),
        # A time that is cut to fewer digits must not fall below `since`: that has none.
        st.integers(0, 9),
        st.just(0) | st.integers(-1439, 1439),
        st.sampled_from("TTTt"),
        st.sampled_from(("Z", "Z", "z", "+00:00", "-00:00")),
    )


@cache
def uuids() -> Strategy:
    """Return UUIDs as text; a few in upper case."""
    return st.uuids().map(str) | st.uuids().map(lambda each: str(each).upper())


@cache
def xids() -> Strategy:
    """Return xids."""
    return st.text("0123456789abcdefghijklmnopqrstuv", min_size=20, max_size=20)


_LEAVES = st.none() | st.booleans() | numbers() | texts()
_KEYS = texts() | st.sampled_from(("a", "createdAt", "id", "$set", "0"))


def _nest(leaf: Any, shape: list[bool], key: str) -> Any:
    for is_object in shape:
        leaf = {key: leaf} if is_object else [leaf]
    return leaf


@cache
def jsons() -> Strategy:
    """Return any JSON: bushy values, and thin ones of up to 27 levels, for a place below one container."""
    bushy = st.recursive(
        _LEAVES,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=3),
        max_leaves=6,
    )
    # `bushy` alone may grow to six levels.
    thin = st.builds(_nest, _LEAVES, st.lists(st.booleans(), max_size=MAX_DEPTH - 1), _KEYS)
    return bushy | thin


@cache
def objects() -> Strategy:
    """Return any JSON object, of up to 28 levels."""
    return st.dictionaries(_KEYS, jsons(), max_size=3)


def deep_object(levels: int, leaf: Any = None) -> Document:
    """Return an object of `levels` levels: objects and arrays in turn."""
    made: Document = {"a": _nest(leaf, [level % 2 == 0 for level in range(levels - 1)][::-1], "a")}
    return made


def _maybe_null(values: Strategy) -> Strategy:
    return st.none() | values


# --- items ------------------------------------------------------------------------------------------

_CONTENT_TYPES = (
    *("user", "user_audio", "ai", "ai_audio", "log", "error", "info", "group_log", "ui", "request"),
)


def _dialogue_items(content: Strategy) -> Strategy:
    return st.fixed_dictionaries(
        {
            "id": numbers(),
            "contentType": st.sampled_from(_CONTENT_TYPES),
            "isUser": st.booleans(),
            "content": content,
        },
        optional={"ui": texts()},
    )


def deep_dialogue(levels: int) -> list[Document]:
    """Return a dialogue of `levels` arrays, one in another."""
    content: Any = "innermost"
    for number in range(levels, 0, -1):
        content = [{"id": number, "contentType": "group_log", "isUser": False, "content": content}]
    made: list[Document] = content
    return made


@cache
def dialogues() -> Strategy:
    """Return dialogues: flat, bushy, and thin ones of up to 28 arrays."""
    return st.lists(
        st.recursive(
            _dialogue_items(texts()),
            lambda inner: _dialogue_items(st.lists(inner, max_size=3)),
            max_leaves=4,
        ),
        max_size=3,
    ) | st.integers(0, MAX_DEPTH).map(lambda levels: deep_dialogue(levels) if levels else [])


@cache
def user_sessions() -> Strategy:
    """Return user sessions."""
    strings = st.lists(texts(), max_size=3)
    return st.fixed_dictionaries(
        {
            "uuid": uuids() | texts(1),
            "sessionId": texts(),
            "name": _maybe_null(texts()),
            "dialogue": _maybe_null(dialogues()),
            "quickReplies": _maybe_null(strings),
            "isReplying": st.booleans(),
            "workspace": _maybe_null(objects()),
            "isVMRunning": st.booleans(),
            "clients": _maybe_null(strings),
            "language": _maybe_null(texts()),
            "easyMode": _maybe_null(st.booleans()),
            "responseMode": st.sampled_from(("text", "audio")),
            "llmContext": _maybe_null(texts()),
            "tutorial": st.fixed_dictionaries(
                {"isTutorial": st.booleans(), "tutorialId": _maybe_null(numbers()), "progress": numbers()}
            ),
            "stats": st.fixed_dictionaries(dict.fromkeys(_EXAMPLES["user_session"]["stats"], numbers())),
            "audios": _maybe_null(
                st.lists(st.fixed_dictionaries({"id": texts(), "base64": texts()}), max_size=2)
            ),
            "userAudio": _maybe_null(texts()),
            "screenshot": _maybe_null(texts()),
            "clicks": _maybe_null(
                st.lists(
                    st.fixed_dictionaries(dict.fromkeys(("x", "y", "value", "timestamp"), numbers())),
                    max_size=2,
                )
            ),
            "userInfo": _maybe_null(texts() | objects()),
            "createdAt": times(),
            "updatedAt": times(),
        }
    )


@cache
def recall_options() -> Strategy:
    """Return recall options, of which any may be left out."""
    return st.fixed_dictionaries(
        {},
        optional={
            "mode": st.sampled_from(("vector", "text", "hybrid")),
            "num_search_messages": int32s(),
            "max_query_length": int32s(),
            "alpha": numbers(),
            "confidence": numbers(),
            "limit": int32s(),
            "lang": texts(),
            "metadata_filter": objects(),
            "mmr_strength": numbers(),
            "trigram_similarity_threshold": numbers(),
            "k_multiplier": int32s(),
        },
    )


@cache
def sessions() -> Strategy:
    """Return sessions of Julep."""
    return st.fixed_dictionaries(
        {
            "situation": _maybe_null(texts()),
            "system_template": _maybe_null(texts()),
            "summary": _maybe_null(texts()),
            "render_templates": st.booleans(),
            "token_budget": _maybe_null(int32s()),
            "context_overflow": st.sampled_from((None, "truncate", "adaptive")),
            "auto_run_tools": st.booleans(),
            "forward_tool_calls": st.booleans(),
            "recall_options": _maybe_null(recall_options()),
            "id": uuids(),
            "metadata": objects(),
            "created_at": times(),
            "updated_at": times(),
            "kind": _maybe_null(texts()),
        }
    )


@cache
def accounts() -> Strategy:
    """Return accounts."""
    role = st.fixed_dictionaries(
        {
            "badge": st.booleans(),
            "default": st.booleans(),
            "id": xids(),
            "name": texts(),
            "colour": texts(),
        },
        optional={"meta": objects()},
    )
    return st.fixed_dictionaries(
        {
            "id": xids(),
            "joined": times(),
            "handle": texts(),
            "name": texts(),
            "roles": st.lists(role, max_size=2),
        },
        optional={"suspended": times(), "signature": texts(1)},
    )


@cache
def robots() -> Strategy:
    """Return robots."""
    return st.fixed_dictionaries(
        {
            "id": xids(),
            "createdAt": times(),
            "updatedAt": times(),
            "name": texts(),
            "description": texts(),
            "playbook": texts(),
            "model": texts(),
            "author": accounts(),
            "tools": st.lists(texts(), max_size=3),
        },
        optional={"deletedAt": times(), "misc": objects(), "meta": objects()},
    )


@cache
def robot_messages() -> Strategy:
    """Return messages of robot sessions."""
    return st.fixed_dictionaries(
        {
            "id": xids(),
            "role": st.sampled_from(("system", "user", "assistant")),
            "parts": st.lists(objects(), max_size=3),
            "created_at": times(),
        },
        optional={
            "metadata": objects(),
            "robot": st.fixed_dictionaries({"id": xids(), "name": texts()}),
            "author": accounts(),
        },
    )


@cache
def robot_sessions() -> Strategy:
    """Return robot sessions, without messages."""
    return st.fixed_dictionaries(
        {
            "id": xids(),
            "createdAt": times(),
            "updatedAt": times(),
            "name": texts(),
            "created_by": accounts(),
        },
        optional={"deletedAt": times(), "misc": objects()},
    )


@cache
def rids(kind: str) -> Strategy:
    """Return resource identifiers: mostly as in the documents, some as strange as the pattern allows."""
    usual = st.uuids().map(lambda each: f"ri.aip-agents..{kind}.{each}")
    strange = st.from_regex(
        re.compile(r"ri\.[a-z][a-z0-9-]*\.([a-z0-9][a-z0-9-]*)?\.[a-z][a-z0-9-]*\.[a-zA-Z0-9._-]+", re.ASCII),
        fullmatch=True,
    ).filter(lambda rid: len(rid) < 100)
    return usual | strange


@cache
def agent_sessions(expires_since: str | None = None) -> Strategy:
    """Return agent sessions that expire at `expires_since` or later."""
    return st.fixed_dictionaries(
        {
            "rid": rids("session"),
            "agentRid": rids("agent"),
            "agentVersion": texts() | st.sampled_from(("1.0", "2.13")),
            "metadata": st.fixed_dictionaries(
                {
                    "title": texts(),
                    "createdTime": times(),
                    "updatedTime": times(),
                    "estimatedExpiresTime": times(expires_since),
                    "messageCount": st.sampled_from((0, INT32[1])) | st.integers(0, INT32[1]),
                }
            ),
        }
    )


ITEMS: dict[str, Callable[[], Strategy]] = {
    "user_session": user_sessions,
    "session": sessions,
    "robot": robots,
    "robot_session": robot_sessions,
    "robot_message": robot_messages,
    "agent_session": agent_sessions,
}


def fresh_uuid() -> str:
    """Return a name that no other test uses."""
    return str(uuid.uuid4())


def batches(kind: str, items: Strategy | None = None, max_size: int = 6) -> Strategy:
    """Return lists of items of one kind whose ids differ, also when case is ignored."""
    key = KEY_OF[kind]
    return st.lists(
        ITEMS[kind]() if items is None else items,
        max_size=max_size,
        unique_by=lambda item: item[key].casefold(),
    )

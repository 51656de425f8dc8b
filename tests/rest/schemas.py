"""The documented bodies as strict JSON Schemas: every required key, no other, nulls only where allowed."""

import json
from typing import Any

import httpx
from jsonschema import Draft202012Validator, validators

Schema = dict[str, Any]


def _is_integer(_: Any, value: Any) -> bool:
    # JSON Schema calls 1.0 an integer; typed clients do not.
    return isinstance(value, int) and not isinstance(value, bool)


_Validator: Any = validators.extend(  # type: ignore[no-untyped-call] # its stub has no types
    Draft202012Validator, type_checker=Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_integer)
)


def pattern(regex: str) -> Schema:
    """Return text that all of `regex` matches."""
    return {"type": "string", "pattern": rf"^(?:{regex})$(?!\n)"}


def record(required: Schema, optional: Schema | None = None) -> Schema:
    """Return an object of these keys and no other."""
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
        "additionalProperties": False,
    }


def array(items: Schema, most: int | None = None) -> Schema:
    """Return an array of these items."""
    return {"type": "array", "items": items, **({} if most is None else {"maxItems": most})}


def nullable(schema: Schema) -> Schema:
    """Return what may also be null."""
    return {"anyOf": [schema, {"type": "null"}]}


def const(value: Any) -> Schema:
    """Return one value."""
    return {"const": value}


TEXT: Schema = {"type": "string"}
NAME: Schema = {"type": "string", "minLength": 1}
FLAG: Schema = {"type": "boolean"}
NUMBER: Schema = {"type": "number"}
INT32: Schema = {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1}
COUNT: Schema = {"type": "integer", "minimum": 0, "maximum": 2**53}
OBJECT: Schema = {"type": "object"}
TIME = pattern(
    r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
    r"T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?Z"
)
UUID = pattern("[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
XID = pattern("[0-9a-v]{20}")
RID = pattern(r"ri\.[a-z][a-z0-9-]*\.([a-z0-9][a-z0-9-]*)?\.[a-z][a-z0-9-]*\.[a-zA-Z0-9._-]+") | {
    "maxLength": 1000
}

# --- 1. user session --------------------------------------------------------------------------------

_DIALOGUE_ITEM = record(
    {
        "id": NUMBER,
        "contentType": {
            "enum": [
                *(
                    "user",
                    "user_audio",
                    "ai",
                    "ai_audio",
                    "log",
                    "error",
                    "info",
                    "group_log",
                    "ui",
                    "request",
                )
            ]
        },
        "isUser": FLAG,
        "content": {"anyOf": [TEXT, array({"$ref": "#/$defs/dialogue_item"})]},
    },
    {"ui": TEXT},
)
_USER_SESSION = record(
    {
        "uuid": NAME,
        "sessionId": TEXT,
        "name": nullable(TEXT),
        "dialogue": nullable(array({"$ref": "#/$defs/dialogue_item"})),
        "quickReplies": nullable(array(TEXT)),
        "isReplying": FLAG,
        "workspace": nullable(OBJECT),
        "isVMRunning": FLAG,
        "clients": nullable(array(TEXT)),
        "language": nullable(TEXT),
        "easyMode": nullable(FLAG),
        "responseMode": {"enum": ["text", "audio"]},
        "llmContext": nullable(TEXT),
        "tutorial": record({"isTutorial": FLAG, "tutorialId": nullable(NUMBER), "progress": NUMBER}),
        "stats": record(
            {
                "totalConnectingTime": NUMBER,
                "currentNumOfBlocks": NUMBER,
                "totalInvokedLLM": NUMBER,
                "totalUserMessages": NUMBER,
                "totalCodeExecutions": NUMBER,
            }
        ),
        "audios": nullable(array(record({"id": TEXT, "base64": TEXT}))),
        "userAudio": nullable(TEXT),
        "screenshot": nullable(TEXT),
        "clicks": nullable(array(record({"x": NUMBER, "y": NUMBER, "value": NUMBER, "timestamp": NUMBER}))),
        "userInfo": {"type": ["string", "object", "null"]},
        "createdAt": TIME,
        "updatedAt": TIME,
    }
)
USER_SESSIONS: Schema = {**array(_USER_SESSION), "$defs": {"dialogue_item": _DIALOGUE_ITEM}}


def user_session_error(status: int, kind: str, message: str | None = None) -> Schema:
    """Return the coding tutor's error body."""
    text = NAME if message is None else const(message)
    return record({"error": record({"message": text, "type": const(kind), "status": const(status)})})


# --- 2. session -------------------------------------------------------------------------------------

_RECALL_OPTIONS = record(
    {
        "mode": {"enum": ["vector", "text", "hybrid"]},
        "num_search_messages": INT32,
        "max_query_length": INT32,
        "alpha": NUMBER,
        "confidence": NUMBER,
        "limit": INT32,
        "lang": TEXT,
        "metadata_filter": OBJECT,
        "mmr_strength": NUMBER,
    },
    {"trigram_similarity_threshold": NUMBER, "k_multiplier": INT32},
)
_SESSION = record(
    {
        "situation": nullable(TEXT),
        "system_template": nullable(TEXT),
        "summary": nullable(TEXT),
        "render_templates": FLAG,
        "token_budget": nullable(INT32),
        "context_overflow": {"enum": ["truncate", "adaptive", None]},
        "auto_run_tools": FLAG,
        "forward_tool_calls": FLAG,
        "recall_options": nullable(_RECALL_OPTIONS),
        "id": UUID,
        "metadata": OBJECT,
        "created_at": TIME,
        "updated_at": TIME,
        "kind": nullable(TEXT),
    }
)
SESSIONS = record({"items": array(_SESSION, 1000)})


def session_error(status: int, message: str | None = None) -> Schema:
    """Return Julep's error body of an HTTPException."""
    text = NAME if message is None else const(message)
    return record(
        {"error": record({"message": text, "code": const(f"http_{status}"), "type": const("http_error")})}
    )


_DETAIL = record(
    {
        "type": {"enum": ["int_parsing", "literal_error"]},
        "msg": NAME,
        "loc": {"enum": ["query.limit", "query.offset", "query.sort_by", "query.direction"]},
        "received": {"type": "string", "maxLength": 1000},
    }
)
SESSION_VALIDATION_ERROR = record(
    {
        "error": record(
            {
                "message": const("Validation error"),
                "details": {**array(_DETAIL, 4), "minItems": 1},
                "code": const("validation_error"),
            }
        )
    }
)
SESSION_UNKNOWN_ROUTE = record({"detail": const("Not Found")})
SESSION_UNKNOWN_METHOD = record({"detail": const("Method Not Allowed")})

# --- 3. robot session -------------------------------------------------------------------------------

_ROLE = record({"badge": FLAG, "default": FLAG, "id": NAME, "name": TEXT, "colour": TEXT}, {"meta": OBJECT})
_ACCOUNT = record(
    {"id": NAME, "joined": TIME, "handle": TEXT, "name": TEXT, "roles": array(_ROLE)},
    {"suspended": TIME, "signature": NAME},
)
_ROBOT_SESSION_KEYS = {"id": XID, "createdAt": TIME, "updatedAt": TIME, "name": TEXT, "created_by": _ACCOUNT}
_ROBOT_SESSION_OPTIONAL = {"deletedAt": TIME, "misc": OBJECT}
_ROBOT_MESSAGE = record(
    {
        "id": NAME,
        "role": {"enum": ["system", "user", "assistant"]},
        "parts": array(OBJECT),
        "created_at": TIME,
    },
    {"metadata": OBJECT, "robot": record({"id": NAME, "name": TEXT}), "author": _ACCOUNT},
)
ROBOT_SESSION = record(
    {
        **_ROBOT_SESSION_KEYS,
        "message_list": record(
            {
                "page_size": {"type": "integer", "minimum": 1, "maximum": 100},
                "results": {"type": "integer", "minimum": 0, "maximum": 100},
                "messages": array(_ROBOT_MESSAGE, 100),
            },
            {"next_before": NAME},
        ),
    },
    _ROBOT_SESSION_OPTIONAL,
)
ROBOT = record(
    {
        "id": XID,
        "createdAt": TIME,
        "updatedAt": TIME,
        "name": TEXT,
        "description": TEXT,
        "playbook": TEXT,
        "model": TEXT,
        "author": _ACCOUNT,
        "tools": array(TEXT),
    },
    {"deletedAt": TIME, "misc": OBJECT, "meta": OBJECT},
)


def _page(name: str, item: Schema, size: int) -> Schema:
    return record(
        {
            "page_size": const(size),
            "results": {"type": "integer", "minimum": 0, "maximum": size},
            "total_pages": COUNT,
            "current_page": {"type": "integer", "minimum": 1, "maximum": 2**32},
            name: array(item, size),
        },
        {"next_page": {"type": "integer", "minimum": 2}},
    )


ROBOT_SESSIONS = _page("sessions", record(_ROBOT_SESSION_KEYS, _ROBOT_SESSION_OPTIONAL), 20)
ROBOTS = _page("robots", ROBOT, 50)


def robot_error(kind: str, title: str | None = None) -> Schema:
    """Return Storyden's problem document."""
    return record(
        {
            "type": const(f"urn:storyden:problem:{kind}"),
            "title": NAME if title is None else const(title),
            "detail": NAME,
            "trace_id": NAME,
        },
        {"metadata": OBJECT},
    )


# --- 4. agent session -------------------------------------------------------------------------------

_AGENT_SESSION = record(
    {
        "rid": RID,
        "agentRid": RID,
        "agentVersion": TEXT,
        "metadata": record(
            {
                "title": TEXT,
                "createdTime": TIME,
                "updatedTime": TIME,
                "estimatedExpiresTime": TIME,
                "messageCount": INT32,
            }
        ),
    }
)
AGENT_SESSIONS = record(
    {"data": array(_AGENT_SESSION, 100)}, {"nextPageToken": pattern(r"v1\.[A-Za-z0-9_-]+")}
)


def agent_session_error(code: str, name: str, parameters: Any = None) -> Schema:
    """Return Foundry's error body."""
    return record(
        {
            "errorCode": const(code),
            "errorName": const(name),
            "errorInstanceId": UUID,
            "parameters": const({} if parameters is None else parameters),
        },
        {"errorDescription": NAME},
    )


# --- checking ---------------------------------------------------------------------------------------


def _refuse_constant(text: str) -> Any:
    raise AssertionError(f"{text} is not JSON")


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    assert len(made) == len(pairs), f"a key twice among {[key for key, _ in pairs]}"
    return made


def parsed(body: bytes) -> Any:
    """Return strictly parsed JSON: UTF-8, no NaN, no key twice."""
    return json.loads(body.decode(), parse_constant=_refuse_constant, object_pairs_hook=_without_duplicates)


def errors_of(schema: Schema, document: Any) -> list[str]:
    """Return what of a document breaks a schema."""
    found = sorted(_Validator(schema).iter_errors(document), key=str)
    return [f"{each.json_path}: {each.message[:300]}" for each in found]


def validated(response: httpx.Response, schema: Schema, status: int = 200) -> Any:
    """Return the body of an answer that has this status and obeys this schema to the letter."""
    assert response.status_code == status, response.text[:500]
    document = parsed(response.content)
    assert not errors_of(schema, document)
    kind = "application/problem+json" if "trace_id" in schema.get("properties", {}) else "application/json"
    assert response.headers["content-type"].partition(";")[0] == kind
    assert "grpc-status" not in response.headers
    if status >= 400:
        assert response.content.isascii()
    return document

"""Small records of every kind, as import lines, any number of one owner."""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from random import Random
from typing import Any

Line = dict[str, Any]

USER, CLIENT, TENANT = "grown-user", "grown-client", "grown-tenant"
"""Whose the records are."""
AGENT = "ri.aip-agents..agent.grown"
MESSAGES_SESSION = "messages0session0000"
"""The robot session of `robot_messages`."""
MESSAGES_A_LINE = 1000
_START = datetime(2020, 1, 1, tzinfo=UTC)
_NEVER = "9999-12-31T23:59:59Z"
_XID_DIGITS = "0123456789abcdefghijklmnopqrstuv"
TEXT = "What was said at the desk, and what came of it. " * 6


def user_sessions(count: int, user: str = USER, text: str = TEXT) -> Iterator[Line]:
    """Yield user sessions of one user, each with a text of the caller's choice."""
    for identifier, moment in _records(count):
        body = {
            "uuid": str(uuid.UUID(int=identifier, version=4)),
            "sessionId": f"s-{identifier % 10**9}",
            "name": "A lesson",
            "dialogue": None,
            "quickReplies": ["yes", "no"],
            "isReplying": False,
            "workspace": {"note": TEXT},
            "isVMRunning": False,
            "clients": None,
            "language": "en",
            "easyMode": None,
            "responseMode": "text",
            "llmContext": text,
            "tutorial": {"isTutorial": False, "tutorialId": None, "progress": 0},
            "stats": {
                "totalConnectingTime": 1,
                "currentNumOfBlocks": 2,
                "totalInvokedLLM": 3,
                "totalUserMessages": 4,
                "totalCodeExecutions": 5,
            },
            "audios": None,
            "userAudio": None,
            "screenshot": None,
            "clicks": None,
            "userInfo": None,
            "createdAt": moment,
            "updatedAt": moment,
        }
        yield {"kind": "user_session", "owner": {"user_id": user}, "body": body}


def sessions(count: int, tenant: str = TENANT, text: str = TEXT) -> Iterator[Line]:
    """Yield sessions of one tenant."""
    for identifier, moment in _records(count):
        body = {
            "situation": text,
            "system_template": None,
            "summary": None,
            "render_templates": False,
            "token_budget": None,
            "context_overflow": None,
            "auto_run_tools": False,
            "forward_tool_calls": False,
            "recall_options": None,
            "id": str(uuid.UUID(int=identifier, version=4)),
            "metadata": {"plan": "pro"},
            "created_at": moment,
            "updated_at": moment,
            "kind": None,
        }
        yield {"kind": "session", "owner": {"developer_id": tenant}, "body": body}


def robots(count: int, text: str = TEXT) -> Iterator[Line]:
    """Yield robots."""
    for identifier, moment in _records(count):
        body = {
            "id": xid(identifier),
            "createdAt": moment,
            "updatedAt": moment,
            "name": "Robot",
            "description": text,
            "playbook": "",
            "model": "m",
            "author": _account(1),
            "tools": [],
        }
        yield {"kind": "robot", "owner": {}, "body": body}


def robot_sessions(count: int, messages: int = 0, text: str = TEXT) -> Iterator[Line]:
    """Yield robot sessions, each with messages."""
    for identifier, moment in _records(count):
        body = _robot_session(xid(identifier), moment, text)
        if messages:
            body["messages"] = [_message(number, at, text) for number, at in _records(messages)]
        yield {"kind": "robot_session", "owner": {}, "body": body}


def robot_messages(count: int, text: str = TEXT) -> Iterator[Line]:
    """Yield one robot session, again and again, until it has so many messages."""
    numbered = _records(count)
    while messages := [_message(*each, text) for each in islice(numbered, MESSAGES_A_LINE)]:
        body = _robot_session(MESSAGES_SESSION, messages[0]["created_at"], text) | {"messages": messages}
        yield {"kind": "robot_session", "owner": {}, "body": body}


def _robot_session(identifier: str, moment: str, text: str) -> dict[str, Any]:
    return {
        "id": identifier,
        "createdAt": moment,
        "updatedAt": moment,
        "name": text,
        "created_by": _account(1),
    }


def _message(number: int, moment: str, text: str) -> dict[str, Any]:
    return {"id": xid(number), "role": "user", "parts": [{"text": text}], "created_at": moment}


def agent_sessions(count: int, text: str = TEXT) -> Iterator[Line]:
    """Yield an agent that all may see, and sessions with it."""
    yield _agent(AGENT)
    for identifier, moment in _records(count):
        body = {
            "rid": f"ri.aip-agents..session.{identifier:x}",
            "agentRid": AGENT,
            "agentVersion": "1.0",
            "metadata": {
                "title": text,
                "createdTime": moment,
                "updatedTime": moment,
                "estimatedExpiresTime": _NEVER,
                "messageCount": 1,
            },
        }
        yield {"kind": "agent_session", "owner": {"user_id": USER, "client_id": CLIENT}, "body": body}


def agents(count: int) -> Iterator[Line]:
    """Yield agents that all may see, with ids as long as the texts of other kinds."""
    return (_agent(f"{AGENT}.{number}.{'x' * len(TEXT)}") for number in range(count))


def _agent(rid: str) -> Line:
    return {"kind": "agent", "owner": {"viewers": ["*"]}, "body": {"rid": rid}}


def xid(number: int) -> str:
    """Return an xid."""
    number <<= 4
    return "".join(_XID_DIGITS[number >> shift & 31] for shift in range(95, -1, -5))


def _records(count: int) -> Iterator[tuple[int, str]]:
    """Yield an identifier and a time for each record."""
    dice = Random(count)
    for number in range(count):
        moment = _START + timedelta(minutes=number, milliseconds=dice.randrange(60_000))
        yield dice.getrandbits(90), moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _account(number: int) -> dict[str, Any]:
    joined = _START.isoformat().replace("+00:00", "Z")
    return {"id": xid(number), "joined": joined, "handle": f"h{number}", "name": "N", "roles": []}

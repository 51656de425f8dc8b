"""The demo data keeps its contracts' rules and shows its caller something everywhere."""

import base64
import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from server.demo import CALLER, lines
from server.records import agent, agent_session, robot, robot_message, robot_session, session, user_session
from server.records.kind import Kind, rerendered, stored

ROOT = Path(__file__).resolve().parent.parent

KINDS: dict[str, Kind] = {
    module.KIND.name: module.KIND
    for module in (agent, agent_session, robot, robot_session, session, user_session)
}
KEYS = {
    "user_session": {
        *("uuid", "sessionId", "name", "dialogue", "quickReplies", "isReplying", "workspace", "isVMRunning"),
        *("clients", "language", "easyMode", "responseMode", "llmContext", "tutorial", "stats", "audios"),
        *("userAudio", "screenshot", "clicks", "userInfo", "createdAt", "updatedAt"),
    },
    "session": {
        *("situation", "system_template", "summary", "render_templates", "token_budget", "context_overflow"),
        *("auto_run_tools", "forward_tool_calls", "recall_options", "id", "metadata", "created_at"),
        *("updated_at", "kind"),
    },
    "robot_session": {"id", "createdAt", "updatedAt", "name", "created_by"},
    "robot": {
        *("id", "createdAt", "updatedAt", "name", "description", "playbook", "model", "author", "tools"),
    },
    "agent_session": {"rid", "agentRid", "agentVersion", "metadata"},
    "agent": {"rid"},
}
METADATA = {"title", "createdTime", "updatedTime", "estimatedExpiresTime", "messageCount"}
OPTIONAL = {
    "robot_session": {"deletedAt", "misc", "messages"},
    "robot": {"deletedAt", "misc", "meta"},
}
LEAST = {
    "user_session": 200,
    "session": 200,
    "robot_session": 200,
    "agent_session": 200,
    "robot": 51,
    "agent": 8,
}

Line = dict[str, Any]
LINES: list[Line] = list(lines())


def of(kind: str) -> list[Line]:
    return [line for line in LINES if line["kind"] == kind]


def bodies(kind: str) -> list[dict[str, Any]]:
    return [line["body"] for line in of(kind)]


def messages() -> list[dict[str, Any]]:
    return [message for body in bodies("robot_session") for message in body.get("messages", ())]


def check_storable(kind: Kind, owner: dict[str, str], body: dict[str, Any], **extra: Any) -> None:
    checked = kind.schema.check(body)
    document = stored(kind, owner, checked, extra)
    assert json.loads(rerendered(kind, document["pb"])) == checked


def required_extras(kind: str) -> list[str]:
    return [name for name in KINDS[kind].extras if name not in KINDS[kind].optional_extras]


@pytest.mark.parametrize("kind", KINDS)
def test_every_record_can_be_stored_and_comes_back(kind: str) -> None:
    for line in of(kind):
        body = {
            key: value for key, value in line["body"].items() if (kind, key) != ("robot_session", "messages")
        }
        owner = {name: line["owner"][name] for name in KINDS[kind].owner}
        extra = {name: KINDS[kind].extras[name].check(line["owner"][name]) for name in required_extras(kind)}
        check_storable(KINDS[kind], owner, body, **extra)


def test_every_message_can_be_stored_and_comes_back() -> None:
    for body in bodies("robot_session"):
        for message in body.get("messages", ()):
            check_storable(robot_message.KIND, {"session_id": body["id"]}, message)


@pytest.mark.parametrize("kind", KINDS)
def test_lines_have_the_owner_and_keys_of_their_kind(kind: str) -> None:
    for line in of(kind):
        assert line.keys() == {"kind", "owner", "body"}
        assert tuple(line["owner"]) == (*KINDS[kind].owner, *required_extras(kind))
        assert all(line["owner"].values())
        assert line["body"].keys() - OPTIONAL.get(kind, set()) == KEYS[kind]


def test_metadata_of_agent_sessions_is_complete() -> None:
    for body in bodies("agent_session"):
        assert body["metadata"].keys() == METADATA
        assert None not in body["metadata"].values()


def test_messages_have_the_documented_keys() -> None:
    for message in messages():
        assert message.keys() - {"metadata", "robot", "author"} == {"id", "role", "parts", "created_at"}


def test_two_runs_are_equal() -> None:
    assert list(lines()) == LINES


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_another_process_makes_the_same_data(hash_seed: str) -> None:
    code = (
        "import hashlib, json\n"
        "from server.demo import lines\n"
        "print(hashlib.sha256(json.dumps(list(lines())).encode()).hexdigest())"
    )
    env = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, check=True)
    assert done.stdout.decode().strip() == hashlib.sha256(json.dumps(LINES).encode()).hexdigest()


def test_ids_are_unique() -> None:
    ids = Counter(
        (line["kind"], *map(str, line["owner"].values()), line["body"][KINDS[line["kind"]].key])
        for line in LINES
    )
    assert max(ids.values()) == 1
    assert max(Counter(message["id"] for message in messages()).values()) == 1


@pytest.mark.parametrize(("kind", "least"), LEAST.items())
def test_there_is_enough_of_each_kind(kind: str, least: int) -> None:
    assert len(of(kind)) >= least


@pytest.mark.parametrize(("kind", "least"), [("user_session", 6), ("session", 3), ("agent_session", 8)])
def test_there_are_several_owners(kind: str, least: int) -> None:
    assert len({tuple(line["owner"].values()) for line in of(kind)}) >= least


def test_several_accounts_begin_robot_sessions() -> None:
    assert len({body["created_by"]["id"] for body in bodies("robot_session")}) == 8


def test_caller_owns_user_sessions() -> None:
    assert sum(line["owner"]["user_id"] == CALLER.sub for line in of("user_session")) > 20


def test_callers_tenant_has_more_than_a_page_of_sessions() -> None:
    assert sum(line["owner"]["developer_id"] == CALLER.tenant for line in of("session")) > 100


def test_caller_may_use_robots() -> None:
    assert CALLER.may_use_robots


def test_caller_has_more_than_a_page_of_accessible_agent_sessions() -> None:
    accessible = {
        line["body"]["rid"]
        for line in of("agent")
        if not set(line["owner"]["viewers"]).isdisjoint(CALLER.viewers)
    }
    owner = {"user_id": CALLER.sub, "client_id": CALLER.client_id}
    mine = [line["body"] for line in of("agent_session") if line["owner"] == owner]
    lasting = [body for body in mine if body["metadata"]["estimatedExpiresTime"] > "2099"]
    assert "api:aip-agents-write" in CALLER.scopes
    assert sum(body["agentRid"] in accessible for body in lasting) > 100
    assert any(body["agentRid"] not in accessible for body in lasting)
    assert len(lasting) < len(mine)


def test_agents_have_viewers_of_each_sort() -> None:
    sorts = {viewer.partition(":")[0] for line in of("agent") for viewer in line["owner"]["viewers"]}
    assert sorts == {"*", "user", "group"}


def test_sessions_are_with_agents_on_record() -> None:
    assert {body["agentRid"] for body in bodies("agent_session")} <= {body["rid"] for body in bodies("agent")}


def test_messages_name_robots_on_record_and_are_in_order() -> None:
    names = {body["id"]: body["name"] for body in bodies("robot")}
    for body in bodies("robot_session"):
        talk = body.get("messages", [])
        assert len(talk) <= 12
        assert all(names[message["robot"]["id"]] == message["robot"]["name"] for message in talk)
        times = [instant(message["created_at"]) for message in talk]
        assert times == sorted(times)


def instant(text: str) -> tuple[datetime, int]:
    """Return a time to the nanosecond, for comparison."""
    whole, _, fraction = text.removesuffix("Z").partition(".")
    return datetime.fromisoformat(whole).replace(tzinfo=UTC), int(fraction.ljust(9, "0"))


@pytest.mark.parametrize(
    ("kind", "created", "updated"),
    [
        ("user_session", "createdAt", "updatedAt"),
        ("session", "created_at", "updated_at"),
        ("robot_session", "createdAt", "updatedAt"),
        ("robot", "createdAt", "updatedAt"),
    ],
)
def test_nothing_changes_before_it_is_made(kind: str, created: str, updated: str) -> None:
    for body in bodies(kind):
        assert instant(body[created]) <= instant(body[updated])


def test_agent_sessions_are_made_then_changed_then_expire() -> None:
    for body in bodies("agent_session"):
        created, updated, expires = (
            instant(body["metadata"][key]) for key in ("createdTime", "updatedTime", "estimatedExpiresTime")
        )
        assert created <= updated < expires


def test_times_have_every_precision() -> None:
    lengths = {len(body["updatedAt"]) for body in bodies("user_session")}
    assert lengths >= {len(f"2026-03-02T10:00:00{rest}") for rest in ("Z", ".123Z", ".123456789Z")}


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        *(("user_session", key) for key in ("name", "dialogue", "quickReplies", "workspace", "clients")),
        *(("user_session", key) for key in ("language", "easyMode", "llmContext", "audios", "userAudio")),
        *(("user_session", key) for key in ("screenshot", "clicks", "userInfo")),
        *(("session", key) for key in ("situation", "system_template", "summary", "token_budget")),
        *(("session", key) for key in ("context_overflow", "recall_options", "kind")),
    ],
)
def test_what_can_be_null_is_null_here_and_not_there(kind: str, key: str) -> None:
    assert len({body[key] is None for body in bodies(kind)}) == 2


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        *(("robot_session", key) for key in ("deletedAt", "misc", "messages")),
        *(("robot", key) for key in ("deletedAt", "misc", "meta")),
    ],
)
def test_what_can_be_left_out_is_here_and_not_there(kind: str, key: str) -> None:
    assert len({key in body for body in bodies(kind)}) == 2


def test_some_robot_sessions_have_no_name() -> None:
    assert "" in {body["name"] for body in bodies("robot_session")}


def test_pictures_and_sounds_are_real() -> None:
    for body in bodies("user_session"):
        for audio in body["audios"] or ():
            assert base64.b64decode(audio["base64"], validate=True).startswith(b"RIFF")
        if body["screenshot"] is not None:
            head, _, data = body["screenshot"].partition(",")
            assert head == "data:image/png;base64"
            assert base64.b64decode(data, validate=True).startswith(b"\x89PNG\r\n\x1a\n")


PLACEHOLDERS = ("{n}", "{area}", "{name}", "{number}", "{after}", "{before}", "{double}", "{next}")


def test_no_placeholder_is_left_in_a_text() -> None:
    for line in LINES:
        texts = json.dumps(line["body"] | {"system_template": None, "workspace": None})
        assert not [placeholder for placeholder in PLACEHOLDERS if placeholder in texts]


def test_tutor_statistics_count_the_dialogue() -> None:
    for body in bodies("user_session"):
        sorts = Counter(item["contentType"] for item in body["dialogue"] or ())
        assert body["stats"]["totalUserMessages"] == sorts["user"] + sorts["user_audio"]
        assert body["stats"]["totalInvokedLLM"] == sorts["ai"] + sorts["ai_audio"]
        assert body["stats"]["totalCodeExecutions"] == sorts["group_log"] + sorts["error"]


def test_dialogues_have_items_of_every_sort() -> None:
    sorts = {item["contentType"] for body in bodies("user_session") for item in body["dialogue"] or ()}
    assert sorts == {
        *("user", "user_audio", "ai", "ai_audio", "error", "info", "group_log", "ui", "request"),
    }
    inner = {
        item["contentType"]
        for body in bodies("user_session")
        for group in body["dialogue"] or ()
        if isinstance(group["content"], list)
        for item in group["content"]
    }
    assert inner == {"log"}

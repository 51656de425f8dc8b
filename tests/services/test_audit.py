"""Every write through the API is one line in the server's log: who, what, when; never the content."""

import json
import subprocess
import sys
from datetime import datetime
from typing import Any

import pytest
from rollcall.v1 import robot_pb2

from tests.services import kit
from tests.stack import Stack

CONTENT = "a secret that nobody may read in a log"


def lines_of(stack: Stack, who: kit.Caller) -> list[dict[str, Any]]:
    """The audit lines of a caller's writes."""
    log = (stack.folder / "server.log").read_text()
    assert CONTENT not in log
    written = [json.loads(line) for line in log.splitlines() if '"write"' in line and who.sub in line]
    assert all(datetime.fromisoformat(line["timestamp"]) for line in written)
    return [line for line in written if line["event"] == "write" and line["by"] == who.sub]


def shown(lines: list[dict[str, Any]]) -> list[tuple[str, str, str, str]]:
    return [(line["action"], line["kind"], line["key"], line["tenant"]) for line in lines]


@pytest.mark.parametrize("resource", kit.RESOURCES, ids=str)
def test_every_write_is_one_line_and_what_writes_nothing_is_none(
    stack: Stack, resource: kit.Resource
) -> None:
    who, stranger = kit.writer(stack), kit.caller(stack)
    record, other = resource.record(), resource.record()
    key, missing = resource.key_of(record), resource.new_key()
    expected: list[tuple[str, str, str, str]] = []

    def wrote(action: str, *keys: str) -> None:
        expected.extend((action, resource.name, each, who.tenant) for each in keys)
        assert shown(lines_of(stack, who)) == expected

    who(resource.create(record, "the-request"))
    wrote("create", key)
    who(resource.create(record, "the-request"))
    who.refused(resource.create(record))
    stranger.refused(resource.delete(key))
    wrote("create")
    if resource.batches:
        batch = [resource.record(), resource.record()]
        who(resource.batch(batch))
        wrote("create", *map(resource.key_of, batch))
        who.refused(resource.batch([resource.record(), record]))
    who(resource.update(resource.relabelled(key, CONTENT.replace(" ", "-")), resource.label))
    wrote("update", key)
    who(resource.update(other, allow_missing=True))
    wrote("create", resource.key_of(other))
    who(resource.delete(missing, allow_missing=True))
    who.refused(resource.delete(missing))
    who(resource.delete(key))
    wrote("delete", key)
    assert CONTENT.replace(" ", "-") not in (stack.folder / "server.log").read_text()


def test_a_message_is_one_line(stack: Stack) -> None:
    who = kit.writer(stack)
    session = who(kit.ROBOT_SESSION.create(kit.ROBOT_SESSION.record()))
    message = kit.robot_message(session_id=session.id, parts=[{"text": CONTENT}])
    made = who(robot_pb2.CreateRobotMessageRequest(robot_message=message))
    assert shown(lines_of(stack, who)) == [
        ("create", "robot_session", session.id, who.tenant),
        ("create", "robot_message", made.id, who.tenant),
    ]


def test_lines_are_written_whatever_the_log_level() -> None:
    script = "from server import audit; from server.observability import logs\n"
    script += "logs.configure('error'); audit.by_caller('create', key='k')"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    line = json.loads(ran.stdout)
    assert (line["event"], line["action"], line["key"], line["level"]) == ("write", "create", "k", "info")

"""`rollcall import`, `show` and `migrate`, as an operator types them."""

import json
import os
import pty
import shutil
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import grpc
import pytest
from rollcall.v1 import user_session_pb2, user_session_pb2_grpc

from server.commands import keys
from server.records import kind
from server.records import session as sessions
from server.records.caller import Caller
from server.records.kind import JSON
from server.records.xid import new_xid
from tests.parts import audited, user_session
from tests.stack import ROLLCALL, Stack, free_port, lines_of, running_stack


def session(**changes: Any) -> dict[str, Any]:
    return {
        "situation": None,
        "system_template": None,
        "summary": None,
        "render_templates": True,
        "token_budget": None,
        "context_overflow": None,
        "auto_run_tools": False,
        "forward_tool_calls": False,
        "recall_options": None,
        "id": str(uuid.uuid4()),
        "metadata": {},
        "created_at": "2026-01-01T00:00:00Z",
        "updated_at": "2026-01-01T00:00:00.123456789Z",
        "kind": None,
    } | changes


def text_of(*lines: Any) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def said(done: subprocess.CompletedProcess[bytes]) -> list[str]:
    """The lines for people on stderr: not those of the audit."""
    return [line for line in done.stderr.decode().splitlines() if not line.startswith("{")]


def key_of(stack: Stack, sub: str, tenant: str = "") -> str:
    """A new API key."""
    _, key = keys.add(stack.settings, Caller(sub=sub, tenant=tenant or sub), None, None)
    return key


def tenant() -> str:
    return f"tenant-{uuid.uuid4()}"


def listed(stack: Stack, owner: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = stack.get("/sessions?limit=1000", stack.token(owner)).json()["items"]
    return items


def test_files_and_stdin_are_imported(stack: Stack, tmp_path: Path) -> None:
    owner = tenant()
    bodies = [session(), session(), session()]
    lines = lines_of("session", {"developer_id": owner}, *bodies)
    for name, line in zip("ab", lines, strict=False):
        (tmp_path / name).write_bytes(text_of(line))
    done = stack.command("import", str(tmp_path / "a"), "-", str(tmp_path / "b"), stdin=text_of(lines[2]))
    assert (done.returncode, done.stdout) == (0, b"")
    assert said(done) == ["imported 3 records, refused 0 lines"]
    assert {item["id"] for item in listed(stack, owner)} == {body["id"] for body in bodies}


def test_what_is_there_is_replaced(stack: Stack) -> None:
    owner = tenant()
    body = session(situation="first")
    for situation in ("first", "second"):
        (line,) = lines_of("session", {"developer_id": owner}, body | {"situation": situation})
        assert stack.command("import", "-", stdin=text_of(line)).returncode == 0
    assert [item["situation"] for item in listed(stack, owner)] == ["second"]


def test_bad_lines_are_named_and_the_rest_goes_in(stack: Stack, tmp_path: Path) -> None:
    owner = tenant()
    good, bad, unknown = lines_of(
        "session",
        {"developer_id": owner},
        session(),
        session(recall_options={"mode": "guess"}),
        session(colour="red"),
    )
    file = tmp_path / "lines.jsonl"
    file.write_bytes(text_of(bad) + b"\n{\n" + text_of(good, unknown))
    done = stack.command("import", str(file))
    assert done.returncode == 1
    assert said(done) == [
        f"{file}:1: recall_options.mode: must be one of vector, text, hybrid",
        f"{file}:3: line: is not JSON",
        f"{file}:5: colour: is not a key of this contract",
        "imported 1 records, refused 3 lines",
    ]
    assert len(listed(stack, owner)) == 1


def test_strict_stops_at_the_first_bad_line(stack: Stack) -> None:
    owner = tenant()
    first, last = lines_of("session", {"developer_id": owner}, session(), session())
    done = stack.command("import", "--strict", "-", stdin=text_of(first, {}, last))
    assert done.returncode == 1
    assert said(done) == [
        "-:2: kind: is required",
        "imported 1 records, refused 1 lines",
    ]
    assert len(listed(stack, owner)) == 1


def test_a_file_that_is_not_there_is_named(stack: Stack) -> None:
    done = stack.command("import", "/nowhere/lines.jsonl")
    assert done.returncode == 2
    assert b"rollcall: /nowhere/lines.jsonl: No such file or directory" in done.stderr


def test_progress_shows_on_a_terminal_alone(stack: Stack, tmp_path: Path) -> None:
    file = tmp_path / "lines.jsonl"
    file.write_bytes(
        text_of(*lines_of("session", {"developer_id": tenant()}, *(session() for _ in range(2000))))
    )
    assert "━" in on_terminal(stack, "import", str(file))
    assert "━" in on_terminal(stack, "export", "--output", str(file))


def on_terminal(stack: Stack, *arguments: str) -> str:
    """What a command that goes well shows on a terminal."""
    terminal, other_end = pty.openpty()
    with subprocess.Popen(
        [ROLLCALL, *arguments], stderr=other_end, env=stack.environment | {"TERM": "xterm"}
    ) as process:
        os.close(other_end)
        shown = b""
        while True:
            try:
                part = os.read(terminal, 4096)
            except OSError:  # Linux ends a terminal so.
                break
            if not part:
                break
            shown += part
        assert process.wait() == 0
    os.close(terminal)
    return shown.decode()


def test_messages_come_with_their_session(stack: Stack) -> None:
    account = {
        "id": "cc5lnd2s1s4652adtu50",
        "joined": "2026-01-01T00:00:00Z",
        "handle": "h",
        "name": "n",
        "roles": [],
    }
    message = {"id": "m1", "role": "user", "parts": [{"text": "hi"}], "created_at": "2026-01-02T00:00:00Z"}
    body = {"id": "cc5lnd2s1s4652adtu5g", "name": "", "created_by": account, "messages": [message]}
    done = stack.command("import", "-", stdin=text_of(*lines_of("robot_session", {}, body)))
    assert done.returncode == 0, done.stderr
    answer = stack.get(f"/robots/sessions/{body['id']}", stack.token("x", permissions=["USE_ROBOTS"]))
    assert answer.json()["message_list"]["messages"] == [message]


def test_show_prints_a_record_as_its_contract_does(stack: Stack) -> None:
    owner, body = tenant(), session(metadata={"å": [1.5, None]})
    stack.load(*lines_of("session", {"developer_id": owner}, body))
    done = stack.command("show", "session", body["id"], "--owner", f"developer_id={owner}")
    assert json.loads(done.stdout) == body
    assert done.stdout.count(b"\n") > len(body)


SHOW_ERRORS: dict[str, tuple[list[str], int, str]] = {
    "another owner's": (
        ["session", str(uuid.uuid4()), "--owner", "developer_id=x"],
        1,
        "there is no session",
    ),
    "no owner": (["session", "x"], 2, "needs --owner developer_id="),
    "an owner without a name": (["session", "x", "--owner", "acme"], 2, "NAME=VALUE"),
    "no such kind": (["meeting", "x"], 2, "KIND: must be one of user_session, session,"),
}


@pytest.mark.parametrize(("arguments", "status", "text"), SHOW_ERRORS.values(), ids=SHOW_ERRORS)
def test_show_says_what_is_wrong(stack: Stack, arguments: list[str], status: int, text: str) -> None:
    done = stack.command("show", *arguments)
    assert (done.returncode, done.stdout) == (status, b"")
    assert text in done.stderr.decode()


async def test_an_old_rendering_is_made_new_on_read_and_by_migrate(stack: Stack) -> None:
    owner = tenant()
    bodies = sorted((session() for _ in range(150)), key=lambda body: str(body["id"]), reverse=True)
    stack.load(*lines_of("session", {"developer_id": owner}, *bodies))
    async with stack.database() as database:
        collection = database[sessions.KIND.collection]
        await collection.update_many({"owner.developer_id": owner}, {"$rename": {JSON: "json0"}})
        assert listed(stack, owner) == bodies
        done = stack.command("migrate")
        assert (done.returncode, done.stderr.decode()) == (0, "renewed 150 records\n")
        assert await collection.count_documents({"owner.developer_id": owner, JSON: {"$exists": True}}) == 150
        assert await collection.count_documents({"json0": {"$exists": True}}) == 0
    assert listed(stack, owner) == bodies
    assert b"renewed 0 records" in stack.command("migrate").stderr


def test_a_record_too_big_for_both_forms_is_listed_all_the_same(stack: Stack) -> None:
    owner, body = tenant(), session(situation="x" * (9 << 20))
    stack.load(*lines_of("session", {"developer_id": owner}, body, session()))
    assert body in listed(stack, owner)
    assert b"renewed 0 records" in stack.command("migrate").stderr


def test_a_new_rendering_derives_every_record_again_also_those_too_big_for_both_forms(
    stack: Stack, tmp_path: Path
) -> None:
    bodies = [session(situation="x" * (9 << 20)), session()]
    lines = text_of(*lines_of("session", {"developer_id": tenant()}, *bodies))
    own = {**stack.environment, "ROLLCALL_MONGODB_DATABASE": "renewed"}
    newer = {**own, "PYTHONPATH": str(with_rendering(2, tmp_path))}

    def command(environment: dict[str, str], *arguments: str, stdin: bytes = b"") -> bytes:
        command = [sys.executable, "-P", "-m", "server.cli", *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, env=environment, check=True)
        return done.stdout or done.stderr

    command(own, "import", "-", stdin=lines)
    exported = command(own, "export")
    for environment in (newer, own):
        assert command(environment, "migrate") == b"renewed 2 records\n"
        assert command(environment, "migrate") == b"renewed 0 records\n"
        assert command(environment, "export") == exported


def with_rendering(version: int, folder: Path) -> Path:
    """The folder of a server that renders by another version."""
    shutil.copytree(Path(kind.__file__).parents[1], folder / "server")
    copy = folder / "server" / "records" / "kind.py"
    text = copy.read_text()
    current = f"RENDERING_VERSION = {kind.RENDERING_VERSION}\n"
    assert current in text
    copy.write_text(text.replace(current, f"RENDERING_VERSION = {version}\n"))
    return folder


def test_a_record_that_no_document_can_hold_is_refused(stack: Stack) -> None:
    (line,) = lines_of("session", {"developer_id": tenant()}, session(situation="x" * (16 << 20)))
    done = stack.command("import", "-", stdin=text_of(line))
    assert done.stderr.decode().splitlines()[0] == "-:1: record: must not take more than 15 MiB"


def lines_in(export: bytes, text: str) -> list[bytes]:
    return [line for line in export.splitlines(keepends=True) if text.encode() in line]


async def test_export_and_import_give_the_same_bytes_again(tmp_path: Path) -> None:
    with running_stack(tmp_path / "data", arguments=()) as stack:
        async with stack.database() as database:
            # Some of the demo's sessions have expired: MongoDB would delete them a minute after its start.
            await database.client.admin.command("setParameter", 1, ttlMonitorEnabled=False)
        exported = stack.command("export").stdout
        stack.clear()
        assert stack.command("export").stdout == b""
        assert stack.command("import", "-", stdin=exported).returncode == 0
        again = tmp_path / "again.jsonl"
        assert stack.command("export", "--output", str(again)).returncode == 0
    assert again.read_bytes() == exported
    assert {json.loads(line)["kind"] for line in exported.splitlines()} == {
        *("user_session", "session", "robot", "robot_session", "agent", "agent_session")
    }


def test_an_export_that_fails_leaves_the_backup_from_before(stack: Stack, tmp_path: Path) -> None:
    backup = tmp_path / "backup.jsonl"
    backup.write_text("good")
    backup.chmod(0o600)
    nowhere = {"ROLLCALL_MONGODB_URI": f"mongodb://127.0.0.1:{free_port()}/?replicaSet=x"}
    environment = stack.environment | nowhere | {"ROLLCALL_MONGODB_SECONDS": "1"}
    failed = subprocess.run(
        [ROLLCALL, "export", "--output", str(backup)], env=environment, capture_output=True, check=False
    )
    assert (failed.returncode, failed.stderr) == (1, b"rollcall: The store is unavailable\n")
    assert list(tmp_path.iterdir()) == [backup]
    assert backup.read_text() == "good"

    assert stack.command("export", "--output", str(backup)).returncode == 0
    assert list(tmp_path.iterdir()) == [backup]
    assert backup.read_text() != "good"
    assert backup.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("output", ["/dev/stdout", ">(cat)"])
def test_an_export_may_go_to_what_is_no_file(stack: Stack, output: str) -> None:
    stack.load(*lines_of("session", {"developer_id": tenant()}, session()))
    command = f"{ROLLCALL} export session --output {output} | cat"
    done = subprocess.run(
        ["/bin/bash", "-c", command], env=stack.environment, capture_output=True, check=False
    )
    assert done.stdout.count(b"\n") >= 1
    assert done.stderr.startswith(b"exported")


def test_an_export_to_one_who_has_enough_ends_without_a_word(stack: Stack) -> None:
    stack.load(*lines_of("session", {"developer_id": tenant()}, *(session() for _ in range(500))))
    command = f"{ROLLCALL} export | head -n 1"
    done = subprocess.run(["/bin/sh", "-c", command], env=stack.environment, capture_output=True, check=False)
    assert done.stdout.count(b"\n") == 1
    assert done.stderr == b""


def test_an_export_of_what_has_no_line_says_whose_line_has_it(stack: Stack) -> None:
    done = stack.command("export", "robot_message")
    assert done.returncode == 2
    assert b"a robot_message is in the line of its robot_session" in done.stderr


def test_a_tenant_outlives_export_and_import(stack: Stack) -> None:
    user, owner = tenant(), tenant()
    with grpc.insecure_channel(stack.grpc) as channel:
        stub = user_session_pb2_grpc.UserSessionServiceStub(channel)
        record = user_session_pb2.UserSession(user_id=user, response_mode="text")
        writer = (("authorization", stack.token("writer", owner, scopes=["sessions:write"])),)
        stub.CreateUserSession(
            user_session_pb2.CreateUserSessionRequest(user_session=record), metadata=writer
        )
    (line,) = lines_in(stack.command("export", "user_session").stdout, user)
    assert json.loads(line)["owner"] == {"user_id": user, "developer_id": owner}
    assert stack.command("import", "-", stdin=line).returncode == 0
    assert lines_in(stack.command("export", "user_session").stdout, user) == [line]


def test_erase_deletes_what_is_a_users_and_nothing_else(stack: Stack) -> None:
    account_id = new_xid()
    account = {"id": account_id, "joined": "2026-01-01T00:00:00Z", "handle": "h", "name": "n", "roles": []}
    robot_session = {"id": new_xid(), "name": "", "created_by": account}
    stack.load(*lines_of("robot_session", {}, robot_session, robot_session | {"id": new_xid()}))
    caller = stack.token("x", permissions=["USE_ROBOTS"])
    path = f"/robots/sessions?account_id={account_id}"
    everything = stack.get("/robots/sessions", caller).json()["total_pages"]
    assert stack.get(path, caller).json()["results"] == 2
    done = stack.command("erase", "--user", account_id, "--yes")
    assert done.returncode == 0
    assert "robot_session: 2 before, 0 after" in done.stderr.decode()
    assert stack.get(path, caller).json() | {"sessions": []} == {
        "page_size": 20,
        "results": 0,
        "total_pages": 0,
        "current_page": 1,
        "sessions": [],
    }
    assert stack.get("/robots/sessions", caller).json()["total_pages"] in (everything - 1, everything)


def test_erase_deletes_a_tenants_sessions(stack: Stack) -> None:
    owner, other = tenant(), tenant()
    for each in (owner, other):
        stack.load(*lines_of("session", {"developer_id": each}, session(), session()))
    assert b"session: 2 before, 0 after" in stack.command("erase", "--tenant", owner, "--yes").stderr
    assert (listed(stack, owner), len(listed(stack, other))) == ([], 2)


def test_erase_deletes_the_keys_and_the_mention_of_a_user(stack: Stack) -> None:
    user, other = tenant(), tenant()
    held = {each: key_of(stack, each) for each in (user, other)}
    rid = f"ri.aip-agents..agent.{uuid.uuid4()}"
    viewers = [f"user:{user}", f"user:{other}", f"group:{user}"]
    stack.load({"kind": "agent", "owner": {"viewers": viewers}, "body": {"rid": rid}})

    done = stack.command("erase", "--user", user, "--yes")
    again = stack.command("erase", "--user", user, "--yes")

    assert {"api_key: 1 before, 0 after", "agent_viewer: 1 before, 0 after"} <= set(said(done))
    assert [line for line in said(again) if ": 0 before, 0 after" not in line] == []
    assert stack.get("/session", held[other]).status_code == 200
    assert stack.get("/session", held[user]).status_code == 401
    reader = stack.token("x", scopes=["sessions:read"])
    shown = stack.get(f"/v1/agents/{rid}", reader).json()["viewers"]
    assert sorted(shown) == sorted([f"user:{other}", f"group:{user}"])


def test_erase_deletes_a_tenants_keys_and_no_other(stack: Stack) -> None:
    owner, user = tenant(), tenant()
    held = [key_of(stack, owner), key_of(stack, user, owner), key_of(stack, owner, user)]
    done = stack.command("erase", "--tenant", owner, "--yes")
    assert "api_key: 2 before, 0 after" in said(done)
    assert [stack.get("/session", key).status_code for key in held] == [401, 401, 200]


def test_commands_that_write_leave_one_audit_line(stack: Stack) -> None:
    owner, key = tenant(), f"old-{uuid.uuid4()}"
    lines = lines_of("session", {"developer_id": owner}, session(situation="a secret situation"))
    imported = stack.command("import", "-", stdin=text_of(*lines, {}))
    added = stack.command("key", "add", "--sub", "lou", "--developer-id", owner, "--key", key)
    id_ = said(added)[-1].split()[-1]
    revoked = stack.command("key", "revoke", id_)
    erased = stack.command("erase", "--tenant", owner, "--yes")

    assert [audited(done.stderr) for done in (imported, added, revoked, erased)] == [
        {"action": "import", "records": 1, "refused": 1},
        {"action": "add_key", "key": id_, "user": "lou", "tenant": owner},
        {"action": "revoke_key", "key": id_},
        {
            "action": "erase",
            "tenant": owner,
            "erased": {"api_key": 0, "user_session": 0, "session": 1, "agent_session": 0},
            "complete": True,
        },
    ]
    text = b"".join(done.stderr for done in (imported, added, revoked, erased))
    assert b"a secret situation" not in text
    assert key.encode() not in text


@pytest.mark.parametrize("arguments", [(), ("--user", "u", "--tenant", "t")], ids=["neither", "both"])
def test_erase_wants_one_subject(stack: Stack, arguments: tuple[str, ...]) -> None:
    done = stack.command("erase", "--yes", *arguments)
    assert done.returncode == 2
    assert b"--tenant" in done.stderr


@pytest.mark.parametrize("subject", ["user", "tenant"])
def test_erase_refuses_an_empty_name_which_would_be_what_was_imported(stack: Stack, subject: str) -> None:
    owner = tenant()
    stack.load(*lines_of("user_session", {"user_id": owner}, user_session()))
    done = stack.command("erase", f"--{subject}", "", "--yes")
    assert done.returncode == 2
    assert f"--{subject}".encode() in done.stderr
    assert len(stack.get("/session", stack.token(owner)).json()) == 1


def test_erase_asks_first(stack: Stack) -> None:
    owner = tenant()
    stack.load(*lines_of("session", {"developer_id": owner}, session()))
    assert stack.command("erase", "--tenant", owner, stdin=b"n\n").returncode == 1
    assert len(listed(stack, owner)) == 1


async def test_mongodb_deletes_agent_sessions_that_have_expired(stack: Stack) -> None:
    async with stack.database() as database:
        indexes = await database["agent_sessions"].index_information()
    assert indexes["expiry_1"]["expireAfterSeconds"] == 0

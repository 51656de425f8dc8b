"""`rollcall pull`: a second rollcall plays each of the four systems."""

import asyncio
import io
import json
import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner, Result

from server.cli import app
from server.commands.pulling import elements as elements_module
from server.commands.pulling import source
from server.commands.pulling.elements import elements
from server.commands.pulling.target import Store
from server.store import driver
from tests import strategies
from tests.live_source import HELD, Answer, Live, live
from tests.parts import (
    FOUNDRY,
    ROBOTS,
    SCOPE,
    Body,
    agent_line,
    agent_rid,
    agent_session,
    audited,
    line,
    session,
    user_session,
    wait_until,
)
from tests.stack import ROLLCALL, Stack, lines_of, running_stack

TENANT = "acme"
"""Of the demo data, as are the owners below."""
OWNERS: dict[str, list[str]] = {
    "user_session": ["--user-id", "ada"],
    "session": ["--developer-id", TENANT],
    "robot_session": [],
    "agent_session": ["--user-id", "ada", "--client-id", "console"],
}


@pytest.fixture(scope="module")
def old(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The old system: a rollcall with demo data."""
    with running_stack(tmp_path_factory.mktemp("old") / "data", (), _database(stack, "old")) as running:
        yield running


@pytest.fixture(scope="module")
def new(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The rollcall that adopts."""
    folder = tmp_path_factory.mktemp("new") / "data"
    with running_stack(folder, environment=_database(stack, "new")) as running:
        yield running


@pytest.fixture
def front(old: Stack) -> Iterator[Live]:
    with live(old.rest) as running:
        yield running


def _database(stack: Stack, name: str) -> dict[str, str]:
    return {
        "ROLLCALL_MONGODB_URI": stack.settings.mongodb_uri.get_secret_value(),
        "ROLLCALL_MONGODB_DATABASE": name,
    }


def key_of(service: Stack, sub: str = "ada", tenant: str = TENANT) -> str:
    return service.token(
        sub, tenant, client_id="console", permissions=[ROBOTS], scopes=[SCOPE], groups=["support"]
    )


def pull(service: Stack, kind: str, url: str, token: str, *options: str) -> Result:
    """Run the command in this process, which has loaded it already."""
    arguments = ["pull", kind, "--from", url, *options]
    environment = service.environment | {"ROLLCALL_PULL_TOKEN": token}
    return CliRunner().invoke(app, arguments, env=environment)


def good(service: Stack, kind: str, url: str, token: str, *options: str) -> str:
    done = pull(service, kind, url, token, *options)
    assert done.exit_code == 0, done.output
    return done.stderr


def raw(service: Stack, path: str, sub: str = "ada") -> bytes:
    answer = service.get(path, key_of(service, sub))
    assert answer.status_code == 200, answer.text
    return answer.content


def pages(service: Stack, path: str, sub: str = "ada") -> list[bytes]:
    """Every page of a numbered list."""
    found: list[bytes] = []
    while not found or "next_page" in json.loads(found[-1]):
        found.append(raw(service, f"{path}?page={len(found) + 1}", sub))
    return found


def everything(service: Stack, kind: str) -> list[bytes]:
    """What a front door lists, as bytes: all but tokens of pages, which each installation seals itself."""
    if kind == "user_session":
        return [raw(service, "/session")]
    if kind == "session":
        return [raw(service, f"/sessions?limit=1000&sort_by={by}_at") for by in ("created", "updated")]
    if kind == "agent_session":
        first = raw(service, FOUNDRY)
        assert b"nextPageToken" in first
        token = json.loads(first)["nextPageToken"]
        rest = raw(service, f"{FOUNDRY}&pageToken={token}")
        return [first.replace(token.encode(), b""), rest.replace(token.encode(), b"")]
    listed = pages(service, "/robots") + pages(service, "/robots/sessions")
    ids = [each["id"] for page in listed for each in json.loads(page).get("sessions", ())[::10]]
    return listed + [raw(service, f"/robots/sessions/{id_}?limit=100") for id_ in ids]


@pytest.mark.parametrize("kind", OWNERS)
def test_the_whole_list_is_the_sources_byte_for_byte_however_often_it_is_pulled(
    kind: str, old: Stack, new: Stack
) -> None:
    wanted = everything(old, kind)
    assert len(b"".join(wanted)) > 10_000
    first = good(new, kind, old.rest, key_of(old), *OWNERS[kind])
    assert everything(new, kind) == wanted
    assert int(re.findall(r"pulled ([\d,]+) records, refused 0 items", first)[0].replace(",", "")) > 20
    good(new, kind, f"{old.rest}/", key_of(old), *OWNERS[kind])
    assert everything(new, kind) == wanted


# --- interruptions -----------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let pauses that the source does not ask for be short."""
    monkeypatch.setattr(source, "FIRST_PAUSE_SECONDS", 0.01)


def some_sessions(service: Stack, count: int) -> str:
    """Give a new tenant sessions; return its name."""
    tenant = f"tenant-{uuid.uuid4()}"
    bodies = (session(created_at=f"2026-01-01T00:00:00.{number:09}Z") for number in range(count))
    service.load(*lines_of("session", {"developer_id": tenant}, *bodies))
    return tenant


def sessions_of(service: Stack, tenant: str) -> bytes:
    return service.get("/sessions?limit=1000", service.token("x", tenant)).content


def asked(front: Live) -> list[str]:
    return [path for _, path, _ in front.asked]


def test_after_ctrl_c_the_same_command_goes_on(old: Stack, new: Stack, front: Live) -> None:
    tenant = some_sessions(old, 250)
    front.answers = [None, HELD]
    command = [ROLLCALL, "pull", "session", "--from", front.url, "--developer-id", tenant]
    environment = new.environment | {"ROLLCALL_PULL_TOKEN": old.token("x", tenant)}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) as process:
        wait_until(lambda: len(front.asked) == 2)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Traceback" not in said
    assert b"the same command goes on from here" in said
    assert b"pulled 100 records" in said
    front.release.set()
    front.asked.clear()
    again = good(new, "session", front.url, old.token("x", tenant), "--developer-id", tenant)
    assert "goes on after 100 records" in again
    assert "pulled 250 records, refused 0 items" in again
    assert "offset=100&" in asked(front)[0]
    assert sessions_of(new, tenant) == sessions_of(old, tenant)
    front.asked.clear()
    good(new, "session", front.url, old.token("x", tenant), "--developer-id", tenant)
    assert "offset=0&" in asked(front)[0]


def test_a_source_that_is_gone_leaves_the_place(old: Stack, new: Stack, front: Live, tmp_path: Path) -> None:
    tenant, state = some_sessions(old, 150), tmp_path / "state.json"
    options = ("--developer-id", tenant, "--tries", "1", "--state", str(state))
    token = old.token("x", tenant)
    front.answers = [None, Answer(cut=True)]
    done = pull(new, "session", front.url, token, *options)
    assert done.exit_code == 1
    assert "1 times in a row" in done.stderr
    assert state.stat().st_mode & 0o777 == 0o600
    assert token not in state.read_text() + done.output
    assert "pulled 150 records" in good(new, "session", front.url, token, *options)
    assert not state.exists()
    assert sessions_of(new, tenant) == sessions_of(old, tenant)


def test_every_pull_leaves_one_audit_line_of_what_it_stored_itself(
    old: Stack, new: Stack, front: Live
) -> None:
    tenant = some_sessions(old, 150)
    token, options = old.token("x", tenant), ("--developer-id", tenant, "--tries", "1")
    front.answers = [None, Answer(cut=True)]
    stopped = pull(new, "session", front.url, token, *options)
    gone_on = pull(new, "session", front.url, token, *options)
    assert [stopped.exit_code, gone_on.exit_code] == [1, 0]
    what = {"action": "pull", "kind": "session", "source": front.url, "refused": 0}
    assert audited(stopped.stderr) == {**what, "records": 100}
    assert audited(gone_on.stderr) == {**what, "records": 50}


def test_a_state_goes_with_its_pull_alone(old: Stack, new: Stack, front: Live, tmp_path: Path) -> None:
    tenant, state = some_sessions(old, 150), tmp_path / "state.json"
    options = ("--tries", "1", "--state", str(state), "--developer-id")
    front.answers = [None, Answer(503)]
    assert pull(new, "session", front.url, old.token("x", tenant), *options, tenant).exit_code == 1
    other = pull(new, "session", front.url, old.token("x", tenant), *options, "another")
    assert other.exit_code == 2
    assert "is of another pull" in other.stderr
    kept = json.loads(state.read_text())
    positions: list[Any] = [1, [], {}, {"offset": "x"}]
    for text in ("{", *(json.dumps(kept | {"position": position}) for position in positions)):
        state.write_text(text)
        damaged = pull(new, "session", front.url, old.token("x", tenant), *options, tenant)
        assert damaged.exit_code == 2
        assert "is not the state of a pull" in damaged.stderr


def test_a_place_that_the_source_has_forgotten_means_the_beginning(
    old: Stack, new: Stack, front: Live, tmp_path: Path
) -> None:
    state = tmp_path / "state.json"
    options = (*OWNERS["agent_session"], "--tries", "1", "--state", str(state))
    front.answers = [None, Answer(503)]
    assert pull(new, "agent_session", front.url, key_of(old), *options).exit_code == 1
    kept = json.loads(state.read_text())
    kept["position"]["token"] = "v1.of-another-key"
    state.write_text(json.dumps(kept))
    front.asked.clear()
    said = good(new, "agent_session", front.url, key_of(old), *options)
    assert "from the beginning" in said
    assert "pageToken" in asked(front)[0]
    assert "pageToken" not in asked(front)[1]
    assert everything(new, "agent_session") == everything(old, "agent_session")


def test_retry_after_is_waited_for(old: Stack, new: Stack, front: Live) -> None:
    tenant = some_sessions(old, 3)
    front.answers = [
        Answer(429, headers={"retry-after": "1"}),
        Answer(503, headers={"retry-after": formatdate(0, usegmt=True)}),
    ]
    said = good(new, "session", front.url, old.token("x", tenant), "--developer-id", tenant)
    times = [moment for moment, _, _ in front.asked]
    assert times[1] - times[0] >= 1
    assert "the source answers 429; again in 1 s" in said
    assert "the source answers 503; again in 0 s" in said
    assert sessions_of(new, tenant) == sessions_of(old, tenant)


def test_a_wait_of_hours_is_left_to_the_operator(new: Stack, front: Live) -> None:
    front.answers = [Answer(429, headers={"retry-after": "7200"})]
    done = pull(new, "session", front.url, "t", "--developer-id", "d")
    assert done.exit_code == 1
    assert "asks to wait 7,200 s" in done.stderr


@pytest.mark.parametrize(
    "answer",
    [Answer(500), Answer(503), Answer(429), Answer(cut=True), Answer(body=b'{"items":['), Answer(body=b"[]")],
    ids=["500", "503", "429", "cut", "half", "not an object"],
)
def test_what_may_pass_is_tried_again(answer: Answer, old: Stack, new: Stack, front: Live) -> None:
    tenant = some_sessions(old, 2)
    front.answers = [answer, answer, None, answer]
    said = good(new, "session", front.url, old.token("x", tenant), "--developer-id", tenant)
    assert said.count("again in") == 3
    assert sessions_of(new, tenant) == sessions_of(old, tenant)


# --- what the source answers -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", OWNERS)
def test_a_wrong_token_is_named_and_not_shown(kind: str, new: Stack, front: Live) -> None:
    done = pull(new, kind, front.url, "wrong-token", *OWNERS[kind])
    assert done.exit_code == 1
    assert re.search(r"rollcall: /\S+: the source refuses the token \(40[13]\)\n", done.stderr)
    assert "pulled 0 records, refused 0 items" in done.stderr
    assert "wrong-token" not in done.output
    assert len(front.asked) == 1


ANSWERS: dict[str, tuple[Answer, str]] = {
    "a page for people": (Answer(body=b"<html>", headers={"content-type": "text/html"}), "is not JSON"),
    "no such path": (Answer(404), "has none (404): is --from its API's base URL?"),
    "a redirection": (Answer(302, headers={"location": "http://elsewhere.invalid/"}), "redirects (302)"),
    "a refusal": (Answer(400), "the source answers 400"),
    "another system": (Answer(body=b'{"data":[]}'), "has no array 'items'"),
}


@pytest.mark.parametrize(("answer", "text"), ANSWERS.values(), ids=ANSWERS)
def test_what_will_not_pass_ends_the_pull_at_once(answer: Answer, text: str, new: Stack, front: Live) -> None:
    front.answers = [answer]
    done = pull(new, "session", front.url, "t", "--developer-id", "d")
    assert done.exit_code == 1
    assert text in done.stderr
    assert len(front.asked) == 1


def page_of(items: Sequence[Body]) -> Answer:
    return Answer(body=json.dumps({"items": items}).encode())


def test_a_page_that_ends_early_is_not_the_end(old: Stack, new: Stack, front: Live) -> None:
    tenant = some_sessions(old, 5)
    oldest_first = old.get(
        "/sessions?limit=2&sort_by=created_at&direction=asc", old.token("x", tenant)
    ).json()
    front.answers = [page_of(oldest_first["items"])]
    good(new, "session", front.url, old.token("x", tenant), "--developer-id", tenant)
    assert sessions_of(new, tenant) == sessions_of(old, tenant)


def test_a_source_that_does_not_get_ahead_ends_the_pull(new: Stack, front: Live) -> None:
    front.answers = [page_of([session()])] * 2
    done = pull(new, "session", front.url, "t", "--developer-id", f"{uuid.uuid4()}")
    assert done.exit_code == 1
    assert "repeats its page: it does not heed 'offset'" in done.stderr


def test_an_empty_list_is_pulled(old: Stack, new: Stack, front: Live) -> None:
    nobody = f"{uuid.uuid4()}"
    for kind, owner in {"session": "--developer-id", "user_session": "--user-id"}.items():
        said = good(new, kind, front.url, old.token(nobody, nobody), owner, nobody)
        assert said.endswith("}\npulled 0 records, refused 0 items\n")


def test_a_bad_item_is_named_and_the_rest_goes_in(new: Stack, front: Live) -> None:
    tenant = f"{uuid.uuid4()}"
    bad = session(recall_options={"mode": "guess"})
    odd: Any = "not \x1b[2J an object"
    long = "x" * 5000
    front.answers = [page_of([session(), bad, odd, session(**{f"\x1b[2J{long}": 1})]), page_of([])]
    done = pull(new, "session", front.url, "t", "--developer-id", tenant)
    assert done.exit_code == 1
    first, second, third, _, count = done.stderr.splitlines()
    assert first == f"/sessions:2 ({bad['id']}): recall_options.mode: must be one of vector, text, hybrid"
    assert second.startswith("/sessions:3: ")
    assert "\x1b" not in third
    assert long not in third
    assert count == "pulled 1 records, refused 3 items"
    assert len(json.loads(sessions_of(new, tenant))["items"]) == 1


def test_nothing_of_half_a_users_list_is_stored(new: Stack, front: Live) -> None:
    user = f"{uuid.uuid4()}"
    body = json.dumps([user_session(), user_session()]).encode()
    for half in (body[:-1], body[:-2], body + b"]", body.replace(b"}, {", b"}, , {")):
        front.answers = [Answer(body=half)]
        done = pull(new, "user_session", front.url, "t", "--user-id", user, "--tries", "1")
        assert done.exit_code == 1
        assert "pulled 0 records" in done.stderr
    assert new.get("/session", new.token(user)).content == b"[]"


def test_a_deleted_session_comes_without_its_messages(new: Stack, front: Live) -> None:
    robots = Answer(body=b'{"robots":[],"total_pages":0}')
    body = strategies.example("robot_session")
    sessions = Answer(body=json.dumps({"sessions": [body], "total_pages": 1}).encode())
    front.answers = [robots, sessions, Answer(404)]
    assert "pulled 1 records" in good(new, "robot_session", front.url, "t")


def test_an_id_that_is_none_asks_for_no_other_path(new: Stack, front: Live) -> None:
    body = strategies.example("robot_session") | {"id": "../../admin"}
    sessions = Answer(body=json.dumps({"sessions": [body], "total_pages": 1}).encode())
    front.answers = [Answer(body=b'{"robots":[]}'), sessions]
    assert pull(new, "robot_session", front.url, "t").exit_code == 1
    assert asked(front) == ["/robots?page=1", "/robots/sessions?page=1"]


def test_who_could_see_an_agent_still_can(old: Stack, new: Stack) -> None:
    user = f"{uuid.uuid4()}"
    names = [f"{name}-{user}" for name in ("new", "known", "public")]
    new.load(agent_line(names[1], "group:g"), agent_line(names[2], "*"))
    old.load(*(agent_line(name, "*") for name in names))
    owner = {"user_id": user, "client_id": "c"}
    old.load(*(line("agent_session", agent_session(name, name), **owner) for name in names))
    token = old.token(user, scopes=[SCOPE], client_id="c")
    good(new, "agent_session", old.rest, token, "--user-id", user, "--client-id", "c")
    assert len(new.get(FOUNDRY, new.token(user, scopes=[SCOPE], client_id="c")).json()["data"]) == 3
    exported = map(json.loads, new.command("export", "agent").stdout.splitlines())
    viewers = {each["body"]["rid"]: each["owner"]["viewers"] for each in exported}
    assert [viewers[agent_rid(name)] for name in names] == [
        [f"user:{user}"],
        ["group:g", f"user:{user}"],
        ["*"],
    ]


async def test_pulls_at_once_lose_no_viewer_of_an_agent(stack: Stack) -> None:
    rid, viewers = agent_rid(f"{uuid.uuid4()}"), [f"user:{number}" for number in range(8)]
    async with stack.database() as database:
        connection = driver.connect(stack.settings)
        target = Store(connection)
        await asyncio.gather(*(target.admit(rid, viewer) for viewer in viewers))
        await connection.close()
        found = await database["agents"].find_one({"id": rid})
    assert found is not None
    assert found["viewers"] == viewers


# --- options -----------------------------------------------------------------------------------------


def test_a_dry_run_judges_and_stores_nothing(old: Stack, front: Live, tmp_path: Path) -> None:
    tenant = some_sessions(old, 120)
    arguments = ["pull", "session", "--from", front.url, "--developer-id", tenant, "--dry-run"]
    environment = {"ROLLCALL_PULL_TOKEN": old.token("x", tenant), "ROLLCALL_DATA_DIR": str(tmp_path / "none")}
    done = CliRunner().invoke(app, arguments, env=environment)
    assert (done.exit_code, done.stderr) == (0, "would pull 120 records, refused 0 items\n")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("kind", ["user_session", "robot_session"])
def test_the_token_may_go_as_the_systems_cookie(kind: str, old: Stack, new: Stack, front: Live) -> None:
    front.answers = [None, Answer(400)]
    token = key_of(old)
    done = pull(new, kind, front.url, token, "--cookie", *OWNERS[kind])
    assert ", refused 0 items" in done.stderr
    assert "pulled 0 " not in done.stderr
    _, _, headers = front.asked[0]
    assert list(headers) == ["cookie"]
    assert token in headers["cookie"]


def test_the_token_may_come_from_a_file_or_stdin(old: Stack, new: Stack, front: Live, tmp_path: Path) -> None:
    tenant = some_sessions(old, 1)
    token, file = old.token("x", tenant), tmp_path / "token"
    file.write_text(f"{token}\n")
    command = ["pull", "session", "--from", front.url, "--developer-id", tenant]
    for options, stdin in {("--token-file", str(file)): "", ("--token", "-"): f"{token}\n"}.items():
        done = CliRunner().invoke(app, [*command, *options], env=new.environment, input=stdin)
        assert done.exit_code == 0, done.output


def test_an_open_line_to_another_host_is_warned_of(new: Stack) -> None:
    options = ("--developer-id", "d", "--tries", "1")
    for url in (
        "http://source.invalid",
        "https://source.invalid",
        "http://localhost:1",
        "http://127.0.0.9:1",
    ):
        done = pull(new, "session", url, "t", *options)
        assert done.exit_code == 1
        assert ("in the clear" in done.stderr) == (url == "http://source.invalid")


OPTIONS: dict[str, tuple[list[str], str]] = {
    "no such system": (["note"], "must be one of user_session, session, robot_session, agent_session"),
    "no owner": (["session"], "--developer-id"),
    "half an owner": (["agent_session", "--user-id", "u"], "--client-id"),
    "an owner too many": (["robot_session", "--user-id", "u"], "does not go with robot_session"),
    "an owner that is none": (["session", "--developer-id", "x" * 5000], "--developer-id"),
    "a cookie that is none": (["session", "--developer-id", "d", "--cookie"], "takes no cookie"),
    "two tokens": (["robot_session", "--token", "a", "--token-file", "b"], "one of --token and"),
    "a token of two words": (["robot_session", "--token", "a b"], "must be one word"),
    "no token": (["robot_session", "--token", ""], "is required, or --token-file, or ROLLCALL_PULL_TOKEN"),
    "no token file": (["robot_session", "--token-file", "/nowhere"], "/nowhere: No such file"),
    "no CA": (["robot_session", "--token", "a", "--ca", "/nowhere"], "--ca: /nowhere: No such file"),
    "a CA that is none": (["robot_session", "--token", "a", "--ca", "Makefile"], "--ca: Makefile: "),
}


@pytest.mark.parametrize(("arguments", "text"), OPTIONS.values(), ids=OPTIONS)
def test_a_wrong_option_is_named(arguments: list[str], text: str, new: Stack) -> None:
    command = ["pull", *arguments, "--from", "http://127.0.0.1:1"]
    done = CliRunner().invoke(app, command, env=new.environment)
    assert done.exit_code == 2
    assert text in re.sub(r"\s+", " ", done.stderr)


@pytest.mark.parametrize(
    "url",
    [
        "old.example",
        "ftp://old.example",
        "http://",
        "https://me:secret@old.example",
        "https://old.example/?a=b",
    ],
)
def test_a_wrong_address_is_refused(url: str, new: Stack) -> None:
    done = pull(new, "robot_session", url, "t")
    assert done.exit_code == 2
    assert "--from" in done.stderr
    assert "secret" not in done.output


def test_help_of_every_command_keeps_its_lines() -> None:
    def helps(command: Any, name: str) -> Iterator[str]:
        yield CliRunner().invoke(app, [*name.split(), "--help"]).output
        for child in getattr(command, "commands", {}).values():
            yield from helps(child, f"{name} {child.name}")

    texts = list(helps(get_command(app), ""))
    assert len(texts) > 10
    assert not [text for text in texts if "\\b" in text or "\b" in text]


# --- long lists --------------------------------------------------------------------------------------


MEASURED = r"""
import contextlib, pathlib, re
from server.cli import app
with contextlib.suppress(SystemExit):
    app()
print(re.search(r"VmHWM:\s+(\d+) kB", pathlib.Path("/proc/self/status").read_text())[1])
"""
"""A command that prints the most kilobytes that it has had."""


PAGES = int(os.environ.get("ROLLCALL_TEST_PAGES", "12"))


def test_memory_does_not_grow_with_a_list(front: Live) -> None:
    few, many = (peak(front, pages) for pages in (2, PAGES))
    assert many < few + 10_000


def peak(front: Live, pages: int) -> int:
    """Return the most kilobytes that a pull takes, of pages of 1.6 MB."""
    made = [page_of([session(situation="x" * 16_000) for _ in range(100)]) for _ in range(2)]
    front.answers = [*(made * pages)[:pages], page_of([])]
    options = ["--from", front.url, "--developer-id", "d", "--dry-run"]
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, "pull", "session", *options],
        env=os.environ | {"ROLLCALL_PULL_TOKEN": "t"},
        capture_output=True,
        check=True,
    )
    assert f"would pull {pages * 100:,} records, refused 0 items" in done.stderr.decode()
    return int(done.stdout)


NASTY: list[list[Any]] = [
    [],
    [1],
    ["", "a\\", '\\"', '"],[{', "\n,\u2028\\\\", "\\n"],
    [[], {}, [[]], {"a": [1, {"]": "}"}]}, None, -1.5e-7],
]


@pytest.mark.parametrize("items", NASTY)
def test_elements_are_those_of_the_array_wherever_it_is_cut(
    items: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for size in range(1, 60):
        monkeypatch.setattr(elements_module, "CHUNK_BYTES", size)
        for indent in (None, 1):
            text = json.dumps(items, indent=indent).encode()
            assert [json.loads(element) for element in elements(io.BytesIO(text))] == items


@pytest.mark.parametrize(
    "text", ["", "{}", "[", "[1", "[1,]", "[,1]", "[,]", "[1]]", "[1] 2", '["]', '["\\"]', "[1}"]
)
def test_what_is_not_one_whole_array_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"array|comma"):
        list(elements(io.BytesIO(text.encode())))

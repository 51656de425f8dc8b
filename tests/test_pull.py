"""`rollcall pull`: a second rollcall plays each of the four systems."""

import io
import json
import re
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any


import httpx
import pytest
from typer.testing import CliRunner, Result

from server.cli import app
from server.commands.pulling import elements as pulling
from server.commands.pulling.elements import elements
from server.page_tokens import PageTokens
from tests.live_source import Answer, Live, live
from tests.parts import FOUNDRY, ROBOTS, SCOPE, agent_line, agent_session, fetch, line, session, user_session
from tests.stack import ROLLCALL, Stack, running_stack

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
    answer = fetch(service, path, key_of(service, sub))
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
    ids = [each["id"] for page in listed for each in json.loads(page).get("sessions", ())]
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

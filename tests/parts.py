"""What tests are put together from: records of every kind, and the service's parts one by one."""

import contextlib
import getpass
import json
import os
import secrets
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import psutil

from server.embedded import child, envoy, mongod
from server.settings import PREFIX, load
from tests.stack import START_SECONDS, Stack, free_port, frozen

Body = dict[str, Any]

FOUNDRY = "/api/v2/aipAgents/agents/allSessions?preview=true"
SCOPE = "api:aip-agents-write"
ROBOTS = "USE_ROBOTS"

LONG_AGO = "2026-01-01T00:00:00Z"
NEVER = "2099-01-01T00:00:00Z"


def xid(number: int) -> str:
    """Return an xid; a greater number has a greater one."""
    return f"{number:020}"


def uid(number: int) -> str:
    """Return a UUID; a greater number has a greater one."""
    return str(uuid.UUID(int=number))


def moment(second: int) -> str:
    """Return a time of 2026-01-02; a greater number is later."""
    minutes, seconds = divmod(second, 60)
    hours, minutes = divmod(minutes, 60)
    return f"2026-01-02T{hours:02}:{minutes:02}:{seconds:02}Z"


def user_session(**changes: Any) -> Body:
    return {
        "uuid": str(uuid.uuid4()),
        "sessionId": "s",
        "name": None,
        "dialogue": None,
        "quickReplies": None,
        "isReplying": False,
        "workspace": None,
        "isVMRunning": False,
        "clients": None,
        "language": None,
        "easyMode": None,
        "responseMode": "text",
        "llmContext": None,
        "tutorial": {"isTutorial": False, "tutorialId": None, "progress": 0},
        "stats": {
            "totalConnectingTime": 0,
            "currentNumOfBlocks": 0,
            "totalInvokedLLM": 0,
            "totalUserMessages": 0,
            "totalCodeExecutions": 0,
        },
        "audios": None,
        "userAudio": None,
        "screenshot": None,
        "clicks": None,
        "userInfo": None,
        "createdAt": LONG_AGO,
        "updatedAt": LONG_AGO,
    } | changes


def session(**changes: Any) -> Body:
    return {
        "situation": None,
        "system_template": None,
        "summary": None,
        "render_templates": False,
        "token_budget": None,
        "context_overflow": None,
        "auto_run_tools": False,
        "forward_tool_calls": False,
        "recall_options": None,
        "id": str(uuid.uuid4()),
        "metadata": {},
        "created_at": LONG_AGO,
        "updated_at": LONG_AGO,
        "kind": None,
    } | changes


def account(number: int = 1) -> Body:
    return {"id": xid(number), "joined": LONG_AGO, "handle": f"h{number}", "name": "N", "roles": []}


def robot(**changes: Any) -> Body:
    return {
        "id": xid(1),
        "createdAt": LONG_AGO,
        "updatedAt": LONG_AGO,
        "name": "Robot",
        "description": "",
        "playbook": "",
        "model": "m",
        "author": account(),
        "tools": [],
    } | changes


def robot_session(**changes: Any) -> Body:
    return {
        "id": xid(1),
        "createdAt": LONG_AGO,
        "updatedAt": LONG_AGO,
        "name": "",
        "created_by": account(),
    } | changes


def message(**changes: Any) -> Body:
    return {"id": xid(1), "role": "user", "parts": [{"text": "hi"}], "created_at": LONG_AGO} | changes


def agent_rid(name: str) -> str:
    return f"ri.aip-agents..agent.{name}"


def session_rid(name: str) -> str:
    return f"ri.aip-agents..session.{name}"


def agent_session(name: str, agent: str, updated: str = LONG_AGO, expires: str = NEVER) -> Body:
    return {
        "rid": session_rid(name),
        "agentRid": agent_rid(agent),
        "agentVersion": "1.0",
        "metadata": {
            "title": "",
            "createdTime": LONG_AGO,
            "updatedTime": updated,
            "estimatedExpiresTime": expires,
            "messageCount": 0,
        },
    }


def audited(stderr: str | bytes) -> dict[str, Any]:
    """Return the one audit line of a command, without its time."""
    said: dict[str, Any]
    (said,) = [json.loads(each) for each in stderr.splitlines() if each[:1] in {"{", b"{"}]
    assert (said.pop("event"), said.pop("level"), said.pop("by")) == ("write", "info", getpass.getuser())
    assert datetime.fromisoformat(said.pop("timestamp"))
    return said


def line(kind: str, body: Body, **owner: Any) -> Body:
    """Return an import line."""
    return {"kind": kind, "owner": owner, "body": body}


def agent_line(name: str, *viewers: str) -> Body:
    return line("agent", {"rid": agent_rid(name)}, viewers=list(viewers))


class Parts:
    """mongod, server and Envoy, each a process of its own to stop, kill and start again.

    `service` is the whole of them, as other tests know it.
    """

    def __init__(self, folder: Path) -> None:
        mongo_port = free_port()
        self._secrets = {name: secrets.token_urlsafe(48) for name in ("jwt_secret", "page_token_keys")}
        self._settings = settings = load(
            data_dir=folder,
            rest_port=free_port(),
            grpc_port=free_port(),
            mongo_port=mongo_port,
            mongodb_uri=mongod.uri(mongo_port),
            **self._secrets,
        )
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._commands = {
            "mongod": mongod.command(mongod.find(), settings.mongo_port, folder / "mongo"),
            "serve": [sys.executable, "-P", "-m", "server.cli", "serve"],
            "envoy": [
                str(Path(sys.executable).with_name("envoy")),
                *("-c", str(folder / "envoy.yaml"), "--use-dynamic-base-id"),
                *("--concurrency", "1", "-l", "warning"),
            ],
        }
        (folder / "mongo").mkdir(parents=True)
        envoy.write_config(self._settings, folder / "envoy.yaml")
        for name in self._commands:
            self.start(name)
        self.service = Stack(folder, self._running["serve"], self._settings)
        self.await_answer()

    def start(self, name: str) -> None:
        """Start a part by its one command line; it dies with this process."""
        command: Sequence[str] = self._commands[name]
        with (self._settings.data_dir / f"{name}.log").open("ab") as output:
            self._running[name] = subprocess.Popen(
                [sys.executable, "-I", "-S", child.__file__, str(os.getpid()), *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment(),
            )
        if name == "mongod":
            wait_until(lambda: mongod.become_primary(self._settings.mongo_port))

    def kill(self, name: str) -> None:
        """End a part by SIGKILL, its workers with it."""
        members = self.processes(name)
        process = self._running.pop(name)
        for member in members:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
        process.wait()
        _, alive = psutil.wait_procs(members, timeout=START_SECONDS)
        assert not alive, f"left behind: {alive}"

    @contextlib.contextmanager
    def stopped(self, name: str) -> Iterator[None]:
        """Freeze a part in the block, its workers too: it keeps its connections and answers nothing."""
        with frozen(*self.processes(name)):
            yield

    def processes(self, name: str) -> list[psutil.Process]:
        """Return the processes of a part: the one that was started, and its workers."""
        first = psutil.Process(self._running[name].pid)
        return [first, *first.children(recursive=True)]

    def memory(self, name: str) -> int:
        """Return the resident bytes of all processes of a part."""
        return sum(process.memory_info().rss for process in self.processes(name))

    def answers(self) -> bool:
        """Return whether a list comes from the store through all parts."""
        try:
            return self.service.get("/session", self.service.token("probe")).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def await_answer(self, seconds: float = START_SECONDS) -> None:
        wait_until(self.answers, seconds)

    def close(self) -> None:
        for name in list(self._running):
            self.kill(name)

    def _environment(self) -> Mapping[str, str]:
        settings = self._settings
        kept = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        return kept | {
            f"{PREFIX}GRPC_PORT": str(settings.grpc_port),
            f"{PREFIX}MONGODB_URI": settings.mongodb_uri.get_secret_value(),
            **{f"{PREFIX}{name}".upper(): secret for name, secret in self._secrets.items()},
        }


@contextlib.contextmanager
def running_parts(folder: Path) -> Iterator[Parts]:
    """Run the parts in the block."""
    parts = Parts(folder)
    try:
        yield parts
    finally:
        parts.close()


def wait_until(ready: Callable[[], bool], seconds: float = START_SECONDS) -> None:
    """Wait for something; fail when the time is over."""
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, f"not within {seconds:.0f} s"
        time.sleep(0.05)

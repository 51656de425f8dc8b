"""The whole service, run as an operator runs it: `rollcall up` on free ports and a fresh folder."""

import asyncio
import contextlib
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import orjson
import psutil
from pymongo.asynchronous.database import AsyncDatabase

from server.app import KINDS
from server.commands import tokens
from server.commands.import_lines import Line, Report, import_lines
from server.embedded.service import find_service
from server.records.caller import Caller
from server.records.violation import FieldError
from server.settings import Settings
from server.store import driver
from server.store.writes import Writes

ROLLCALL = str(Path(sys.executable).with_name("rollcall"))
START_SECONDS = 60
PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For calls of plain HTTP: httpx would read every CA of the machine for each, 50 ms of a core."""


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@contextlib.contextmanager
def frozen(*processes: psutil.Process) -> Iterator[None]:
    """Stop processes in the block by SIGSTOP: they keep their connections and answer nothing."""
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            process.resume()


class Stack:
    """A running service and its front doors."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes], settings: Settings) -> None:
        self.folder = folder
        self.process = process
        self.settings = settings
        self.rest = f"http://127.0.0.1:{settings.rest_port}"
        self.grpc = f"127.0.0.1:{settings.grpc_port}"
        self.envoy_grpc = f"127.0.0.1:{settings.rest_port}"
        self.environment = _environment(settings)

    def token(self, sub: str, tenant: str | None = None, **claims: Any) -> str:
        """Return a token that lasts an hour; `claims` as of Caller, and `expires_in`."""
        lifetime = claims.pop("expires_in", timedelta(hours=1))
        sets: dict[str, Any] = {
            name: frozenset(claims.pop(name, ())) for name in ("permissions", "scopes", "groups")
        }
        caller = Caller(sub=sub, tenant=tenant or sub, **sets, **claims)
        return tokens.sign(self.settings, caller, lifetime)

    def command(self, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run a `rollcall` command against this service."""
        return subprocess.run(
            [ROLLCALL, *arguments], input=stdin, capture_output=True, env=self.environment, check=False
        )

    def load(self, *lines: Mapping[str, Any]) -> None:
        """Import lines, in this process; every one must be good."""

        def refuse(line: Line, error: FieldError) -> None:
            raise AssertionError(f"{error}: {line.text[:200]!r}")

        async def run() -> None:
            connection = driver.connect(self.settings)
            kinds = {kind.name: kind for kind in KINDS}
            numbered = (Line("test", number, orjson.dumps(line)) for number, line in enumerate(lines, 1))
            await import_lines(Writes(connection), kinds, numbered, refuse, Report())
            await connection.close()

        _in_own_loop(run())

    def clear(self) -> None:
        """Delete every record."""

        async def run() -> None:
            connection = driver.connect(self.settings)
            for name in await connection.database.list_collection_names():
                await connection.database[name].delete_many({})
            await connection.close()

        _in_own_loop(run())

    @contextlib.asynccontextmanager
    async def database(self) -> AsyncIterator[AsyncDatabase[dict[str, Any]]]:
        """Open the service's database in the caller's event loop."""
        connection = driver.connect(self.settings)
        try:
            yield connection.database
        finally:
            await connection.close()

    def part(self, name: str) -> psutil.Process:
        """Return the running mongod, envoy or server ("serve")."""
        for child in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if any(Path(word).name == name for word in child.cmdline()):
                    return child
        raise LookupError(name)

    def get(self, path: str, token: str | None = None, **options: Any) -> httpx.Response:
        """Call a path through Envoy."""
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        headers |= options.pop("headers", {})
        return httpx.get(self.rest + path, headers=headers, timeout=30, verify=PLAIN, **options)


def _in_own_loop(work: Any) -> None:
    """Run a coroutine although the tests' own event loop may be running."""
    import threading  # noqa: PLC0415

    failures: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(work)
        except BaseException as error:  # noqa: BLE001 # raised again below, in the caller's thread
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]


def _environment(settings: Settings) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ROLLCALL_")}
    return kept | {
        "ROLLCALL_REST_PORT": str(settings.rest_port),
        "ROLLCALL_GRPC_PORT": str(settings.grpc_port),
        "ROLLCALL_MONGO_PORT": str(settings.mongo_port),
        "ROLLCALL_DATA_DIR": str(settings.data_dir),
        # One server process, which a test can watch, stop and kill.
        "ROLLCALL_WORKERS": "1",
    }


@contextlib.contextmanager
def running_stack(
    folder: Path, arguments: Sequence[str] = ("--no-demo",), environment: Mapping[str, str] | None = None
) -> Iterator[Stack]:
    """Run `rollcall up` in the block; it must end without leaving a process behind."""
    ports = {name: free_port() for name in ("rest_port", "grpc_port", "mongo_port")}
    settings = Settings(data_dir=folder, **ports)  # type: ignore[arg-type] # pydantic judges them
    output = folder.parent / f"{folder.name}.out"
    with output.open("wb") as sink:
        process = subprocess.Popen(
            [ROLLCALL, "up", *arguments],
            stdout=sink,
            stderr=subprocess.STDOUT,
            env=_environment(settings) | dict(environment or {}),
        )
    try:
        _await_start(process, output)
        yield Stack(folder, process, find_service(settings))
    finally:
        children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.send_signal(signal.SIGTERM)
        status = process.wait(START_SECONDS)
        _, alive = psutil.wait_procs(children, timeout=1)
    assert not alive, f"left behind: {alive}"
    assert status == 0, output.read_text()


def _await_start(process: subprocess.Popen[bytes], output: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while b"curl" not in output.read_bytes():
        assert process.poll() is None, output.read_text()
        assert time.monotonic() < end, output.read_text()
        time.sleep(0.05)


def lines_of(kind: str, owner: Mapping[str, Any], *bodies: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return import lines of one kind and owner."""
    return [{"kind": kind, "owner": owner, "body": body} for body in bodies]

"""The processes that faults happen to: each can be killed, frozen, and started again."""

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from server.embedded import child, mongod
from server.settings import PREFIX
from tests.faults.waiting import START_SECONDS, until
from tests.stack import frozen


class Process:
    """A program and how it is started; it dies with this process."""

    def __init__(self, name: str, command: Sequence[str], folder: Path, **environment: str) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self._command = command
        self._environment = {
            name: value for name, value in os.environ.items() if not name.startswith(PREFIX)
        } | environment
        self._running: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._running is not None, f"{self.name} does not run"
        return self._running.pid

    def start(self, *before: str, **environment: str) -> None:
        """Start it, behind the words `before`, if any."""
        with self.log.open("ab") as output:
            self._running = subprocess.Popen(
                [sys.executable, "-I", "-S", child.__file__, str(os.getpid()), *before, *self._command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment | environment,
            )

    def members(self) -> list[psutil.Process]:
        """Return what was started, and its workers."""
        first = psutil.Process(self.pid)
        return [first, *first.children(recursive=True)]

    async def kill(self) -> None:
        """End it by SIGKILL, its workers with it."""
        members = self.members() if self.runs() else []
        for member in members:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
        await self.ended()
        _, alive = await asyncio.to_thread(psutil.wait_procs, members, START_SECONDS)
        assert not alive, f"left behind: {alive}"

    def terminate(self) -> None:
        """Ask it to stop, by SIGTERM."""
        assert self._running is not None
        self._running.terminate()

    async def ended(self) -> int:
        """Wait until it has ended; return its exit status."""
        assert self._running is not None
        return await asyncio.to_thread(self._running.wait, START_SECONDS)

    def runs(self) -> bool:
        return self._running is not None and self._running.poll() is None

    @contextlib.asynccontextmanager
    async def running(self, *before: str, **environment: str) -> AsyncIterator[None]:
        self.start(*before, **environment)
        try:
            yield
        finally:
            await self.kill()

    @contextlib.asynccontextmanager
    async def frozen(self) -> AsyncIterator[None]:
        """Stop it in the block by SIGSTOP: it keeps its connections and answers nothing."""
        with frozen(*self.members()):
            yield


class Mongod(Process):
    """One node. `shown` is the port that it is known by, if there is a proxy before it."""

    def __init__(self, folder: Path, port: int, shown: int | None = None, *options: str) -> None:
        command = [*mongod.command(mongod.find(), port, folder / "db"), *options]
        command[command.index("--wiredTigerCacheSizeGB") + 1] = "0.25"
        super().__init__("mongod", command, folder)
        (folder / "db").mkdir(parents=True, exist_ok=True)
        self.port = port
        self.host = f"{mongod.HOST}:{shown or port}"

    async def hello(self) -> dict[str, Any]:
        """Return what it says of itself; nothing if it does not answer."""

        def ask() -> dict[str, Any]:
            try:
                with self.client() as client:
                    return dict(client.admin.command("hello"))
            except PyMongoError:
                return {}

        return await asyncio.to_thread(ask)

    async def is_primary(self) -> bool:
        return bool((await self.hello()).get("isWritablePrimary"))

    async def await_primary(self) -> float:
        return await until(self.is_primary)

    async def initiate(self, members: Sequence["Mongod"] = (), **settings: int) -> None:
        """Make a replica set of this node and others."""
        for node in (self, *members):
            await until(node.answers)
        config = {
            "_id": mongod.REPLICA_SET,
            "members": [{"_id": index, "host": node.host} for index, node in enumerate((self, *members))],
            "settings": settings,
        }

        def initiate() -> None:
            with self.client() as client, contextlib.suppress(OperationFailure):
                client.admin.command("replSetInitiate", config)

        await asyncio.to_thread(initiate)

    async def step_down(self) -> None:
        """Have another node be the primary."""

        def ask() -> None:
            with self.client() as client:
                client.admin.command("replSetStepDown", 30, secondaryCatchUpPeriodSecs=10)

        await asyncio.to_thread(ask)

    async def answers(self) -> bool:
        return bool(await self.hello())

    def client(self) -> MongoClient[dict[str, Any]]:
        return MongoClient(
            f"mongodb://{mongod.HOST}:{self.port}/?directConnection=true",
            serverSelectionTimeoutMS=2000,
            connectTimeoutMS=2000,
        )


def environment_of(**settings: object) -> Mapping[str, str]:
    """Return settings as the server's environment has them."""
    return {f"{PREFIX}{name}".upper(): str(value) for name, value in settings.items()}

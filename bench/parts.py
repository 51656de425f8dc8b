"""Running programs: started with this one, ended with it, their CPU time read from /proc."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from server.embedded import child, envoy, mongod
from server.settings import PREFIX, Settings, load

START_SECONDS = 60.0
ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".build" / "bench"
"""Holds the data, the logs and every run's figures."""

SECRETS = {
    "ROLLCALL_JWT_SECRET": "a secret that only the benchmark uses for tokens",
    "ROLLCALL_PAGE_TOKEN_KEYS": "a secret that only the benchmark uses for pages",
}
_TICKS = os.sysconf("SC_CLK_TCK")
_PPID, _UTIME, _STIME = 1, 11, 12
"""Fields of /proc/PID/stat behind the name."""


class BenchError(Exception):
    """The benchmark cannot go on; the text says why."""


@dataclass(frozen=True, slots=True)
class Part:
    """A running program and what it has started."""

    name: str
    process: "subprocess.Popen[bytes]"
    log: Path

    def cpu_seconds(self) -> float:
        """Return the CPU time that it and its children have used."""
        stats = dict(_stats())
        family = {self.process.pid}
        while grown := {pid for pid, stat in stats.items() if int(stat[_PPID]) in family} - family:
            family |= grown
        found = [stats[pid] for pid in family & stats.keys()]
        return sum(int(stat[_UTIME]) + int(stat[_STIME]) for stat in found) / _TICKS

    def check(self) -> None:
        """Raise BenchError if it has ended."""
        if self.process.poll() is not None:
            tail = self.log.read_text(errors="replace")[-2000:]
            raise BenchError(f"{self.name} has ended with {self.process.returncode}:\n{tail}")


def _stats() -> Iterator[tuple[int, list[str]]]:
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                text = Path(entry.path, "stat").read_text()
            except OSError:  # it has just ended
                continue
            yield int(entry.name), text.rpartition(")")[2].split()


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Parts:
    """Starts programs; `close` stops them, the last one first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._stack = ExitStack()
        self.running: list[Part] = []

    def start(
        self, name: str, command: Sequence[str], env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> Part:
        """Start a program that dies with this one; its output goes to `NAME.log`."""
        log = self.folder / f"{name}.log"
        part = Part(name, self._stack.enter_context(_running(command, env or {}, cwd or ROOT, log)), log)
        self.running.append(part)
        return part

    def wait_until(self, ready: Callable[[], bool]) -> None:
        """Wait for what was started last; raise BenchError if a part has ended or the time is over."""
        end = time.monotonic() + START_SECONDS
        while not ready():
            for part in self.running:
                part.check()
            if time.monotonic() > end:
                raise BenchError(f"{self.running[-1].name} does not answer within {START_SECONDS:.0f} s")
            time.sleep(0.05)

    def close(self) -> None:
        """Stop all programs."""
        self._stack.close()


@contextmanager
def _running(
    command: Sequence[str], env: Mapping[str, str], cwd: Path, log: Path
) -> Iterator["subprocess.Popen[bytes]"]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", child.__file__, str(os.getpid()), *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=kept | dict(env),
            cwd=cwd,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def is_open(port: int) -> bool:
    """Return whether something listens on a port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def say(text: str) -> None:
    """Print how far it is."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def memory_gb() -> float:
    """Return how much memory the machine has."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30


def start_mongod(parts: Parts, folder: Path) -> tuple[Part, int]:
    """Start mongod as `rollcall up` does, but with its own default cache; return it and its port."""
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    command = list(mongod.command(mongod.find(), port, folder))
    command[command.index("--wiredTigerCacheSizeGB") + 1] = str(max(0.25, round((memory_gb() - 1) / 2, 1)))
    part = parts.start("mongod", command)
    parts.wait_until(lambda: mongod.become_primary(port))
    return part, port


def settings_of(
    mongo_port: int, database: str, driver: str = "motor", workers: int = 1
) -> tuple[Settings, dict[str, str]]:
    """Return settings of a server on free ports, and the environment that says the same."""
    chosen = {
        "GRPC_PORT": free_port(),
        "REST_PORT": free_port(),
        "MONGODB_URI": mongod.uri(mongo_port),
        "MONGODB_DATABASE": database,
        "MONGODB_DRIVER": driver,
        "WORKERS": workers,
        "METRICS_PORT": free_port(),
        "LOG_LEVEL": "info",
        "DRAIN_SECONDS": 0,
    }
    environment = {f"{PREFIX}{name}": str(value) for name, value in chosen.items()} | SECRETS
    overrides = {name.removeprefix(PREFIX).lower(): value for name, value in environment.items()}
    return load(**overrides), environment


def start_rollcall(
    parts: Parts, name: str, settings: Settings, environment: Mapping[str, str]
) -> dict[str, Part]:
    """Start a server and its Envoy as `rollcall up` does: everything on, logs at info."""
    command = [sys.executable, "-P", "-m", "server.cli", "serve"]
    server = parts.start(f"{name}-server", command, environment)
    parts.wait_until(lambda: is_open(settings.grpc_port))
    return {"server": server, "envoy": start_envoy(parts, name, settings)}


def start_envoy(parts: Parts, name: str, settings: Settings) -> Part:
    """Start Envoy with the product's configuration."""
    config = parts.folder / f"{name}-envoy.yaml"
    envoy.write_config(settings, config)
    binary = Path(sys.executable).with_name("envoy")
    command = [
        str(binary) if binary.exists() else "envoy",
        *("-c", str(config), "--use-dynamic-base-id", "--concurrency", "1", "-l", "warning"),
    ]
    part = parts.start(f"{name}-envoy", command)
    parts.wait_until(lambda: is_open(settings.rest_port))
    return part

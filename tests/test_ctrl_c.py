"""Ctrl-C ends a command at any moment: without a traceback, and with nothing half-done."""

import contextlib
import json
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.parts import line, session, wait_until
from tests.stack import ROLLCALL, Stack, lines_of

ENDED = {130, -signal.SIGINT}
"""A shell says 130 of both."""

INTERRUPTING = """
import os, signal, sys, threading

def interrupt(event, arguments, first=[True]):
    if first and event == "import" and arguments[0] == os.environ["INTERRUPTED_IMPORT"]:
        first.clear()
        seconds = float(os.environ["INTERRUPTED_AFTER"])
        if seconds:
            timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT))
            timer.daemon = True
            timer.start()
        else:
            os.kill(os.getpid(), signal.SIGINT)

sys.addaudithook(interrupt)
"""
"""Ctrl-C where a module begins to load, or so much later."""


@pytest.fixture(scope="module", autouse=True)
def _sessions(stack: Stack) -> None:
    """Let an export take a while."""
    bodies = (session(situation="x" * 500) for _ in range(5000))
    stack.load(*lines_of("session", {"developer_id": f"tenant-{uuid.uuid4()}"}, *bodies))


def interrupted(
    stack: Stack, tmp_path: Path, module: str, seconds: float, *arguments: str
) -> subprocess.CompletedProcess[bytes]:
    """Run a command that Ctrl-C meets so long after it begins to load a module."""
    folder = tmp_path / "hook"
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(INTERRUPTING)
    hook = {
        "PYTHONPATH": str(folder),
        "INTERRUPTED_IMPORT": module,
        "INTERRUPTED_AFTER": str(seconds),
    }
    return subprocess.run(
        [ROLLCALL, *arguments], env=stack.environment | hook, capture_output=True, check=False
    )


@pytest.mark.parametrize(
    "module", ["typer", "server.settings", "server.commands.exporting", "pymongo", "rich.progress", "motor"]
)
def test_ctrl_c_while_a_command_loads_ends_it(module: str, stack: Stack, tmp_path: Path) -> None:
    lines = tmp_path / "lines.jsonl"
    done = interrupted(stack, tmp_path, module, 0, "export", "--output", str(lines))
    assert done.returncode in ENDED
    assert (done.stdout, done.stderr) == (b"", b"")
    assert not list(tmp_path.glob("lines.jsonl*"))


def test_ctrl_c_at_any_moment_leaves_the_old_backup_or_a_whole_new_one(stack: Stack, tmp_path: Path) -> None:
    backup = tmp_path / "backup.jsonl"
    begin = time.monotonic()
    whole = stack.command("export").stdout
    seconds = time.monotonic() - begin
    for part in range(1, 16):
        backup.write_text("old")
        done = interrupted(
            stack, tmp_path, "server.cli", seconds * part / 15, "export", "--output", str(backup)
        )
        assert b"Traceback" not in done.stderr
        assert done.returncode in {0, *ENDED}
        assert backup.read_bytes() in ((whole,) if done.returncode == 0 else (b"old", whole))
        assert list(tmp_path.glob("backup*")) == [backup]


@contextlib.contextmanager
def started(stack: Stack, *arguments: str, folder: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command during the block, at most."""
    with subprocess.Popen(
        [ROLLCALL, *arguments],
        cwd=folder,
        env=stack.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def said_by(process: subprocess.Popen[bytes]) -> bytes:
    """What is left to read of its stderr."""
    assert process.stderr is not None
    return process.stderr.read()


def await_rest(process: subprocess.Popen[bytes]) -> None:
    """Wait until a process has worked and no longer does, as it waits for its input or output."""
    seen = psutil.Process(process.pid)

    def rests() -> bool:
        before = seen.cpu_times()
        time.sleep(0.5)
        return before.user > 0 and seen.cpu_times() == before

    wait_until(rests)


@pytest.mark.parametrize("command", ["export", "import", "migrate", "erase", "key add"])
def test_ctrl_c_after_the_work_changes_nothing(command: str, stack: Stack, tmp_path: Path) -> None:
    name, file = f"tenant-{uuid.uuid4()}", tmp_path / "lines.jsonl"
    file.write_text(json.dumps(line("session", session(), developer_id=name)))
    arguments = {
        "export": ("--output", str(tmp_path / "new.jsonl")),
        "import": (str(file),),
        "erase": ("--tenant", name, "--yes"),
        "key add": ("--sub", name),
    }
    with started(stack, *command.split(), *arguments.get(command, ())) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        said = process.stderr.readline()
        while process.poll() is None:
            process.send_signal(signal.SIGINT)
            time.sleep(0.001)
        said += said_by(process)
        shown = process.stdout.read()
    assert process.returncode == 0
    assert b"Traceback" not in said
    assert said.endswith(b"\n")
    assert bool(shown) == (command == "key add")


def test_ctrl_c_ends_an_import_that_waits_for_its_input(stack: Stack) -> None:
    good = json.dumps(line("session", session(), developer_id=f"tenant-{uuid.uuid4()}")).encode()
    with started(stack, "import", "-") as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(good + b"\n{\n")
        process.stdin.flush()
        refusal = process.stderr.readline()
        await_rest(process)
        process.send_signal(signal.SIGINT)
        said = said_by(process)
        assert process.wait() == 130
    assert refusal == b"-:2: line: is not JSON\n"
    assert b"Traceback" not in said
    assert said.endswith(b"\nimported 1 records, refused 1 lines\n")


@pytest.mark.parametrize("output", ["-", "fifo"])
def test_ctrl_c_ends_an_export_that_nobody_reads(output: str, stack: Stack, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with started(stack, "export", "--output", output, folder=tmp_path) as process:
        await_rest(process)
        process.send_signal(signal.SIGINT)
        assert (process.wait(), said_by(process)) == (130, b"")

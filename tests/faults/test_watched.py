"""The watchdog notices a loop that stands, and does not bark at one that waits."""

import asyncio
import hashlib
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

from tests.faults.watched import BLOCKED_SECONDS, Watchdog

RUNS = {"asyncio": asyncio.run, "uvloop": uvloop.run}
loops = pytest.mark.parametrize("loop", RUNS)


def watch(status: Path, act: Callable[[], None], loop: str) -> dict[str, Any]:
    """Return what is seen of a loop that waits, acts, and waits."""

    async def run() -> None:
        watchdog = Watchdog(asyncio.get_running_loop(), status)
        watchdog.start()
        await asyncio.sleep(0.3)
        act()
        await asyncio.sleep(0.3)
        watchdogs.append(watchdog)

    watchdogs: list[Watchdog] = []
    thread = threading.Thread(target=lambda: RUNS[loop](run()))
    thread.start()
    thread.join()
    watchdogs[0].join()
    seen: dict[str, Any] = json.loads(status.read_text())
    return seen


def stand() -> None:
    time.sleep(3 * BLOCKED_SECONDS)


def work_in_c() -> None:
    end = time.thread_time() + 3 * BLOCKED_SECONDS
    while time.thread_time() < end:
        hashlib.pbkdf2_hmac("sha256", b"", b"", 100_000)


@loops
def test_a_loop_that_waits_is_not_blocked(tmp_path: Path, loop: str) -> None:
    assert watch(tmp_path / "status", lambda: None, loop)["blocked"] < BLOCKED_SECONDS


@loops
def test_a_loop_that_stands_is_seen_and_where(tmp_path: Path, loop: str) -> None:
    seen = watch(tmp_path / "status", stand, loop)
    assert seen["blocked"] > BLOCKED_SECONDS
    assert Path(__file__).name in seen["where"]


@loops
def test_a_loop_that_works_too_long_is_seen(tmp_path: Path, loop: str) -> None:
    assert watch(tmp_path / "status", work_in_c, loop)["blocked"] > BLOCKED_SECONDS

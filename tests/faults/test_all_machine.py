"""What the machine does to the service: a full disk, a wrong clock, names without addresses."""

import asyncio
import contextlib
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import NoReturn

import grpc
import pytest
from pymongo.errors import PyMongoError

from tests.faults import report
from tests.faults.fronts import CleanError, stub_at
from tests.faults.house import HEALTHY, Server, Store, health_at, running_store
from tests.faults.trial import survive
from tests.faults.waiting import until
from tests.faults.watched import NAME

AWAY_SECONDS = 4.0
MEGABYTE = 1 << 20
DISK_MEGABYTES = 400
FULL_SECONDS = 8.0
UNMOUNT = ("umount", "--lazy")
FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")
SMALL_LOGS = (
    *("--oplogSize", "50", "--setParameter", "diagnosticDataCollectionEnabled=false"),
    *("--wiredTigerEngineConfigString", "log=(file_max=1MB)"),
)


def cannot(fault: str, why: str) -> NoReturn:
    """Skip a fault loudly: in the report, and on stderr."""
    report.rows.append(report.Row(fault, note=f"SKIPPED: {why}"))
    os.write(2, f"\nSKIPPED {fault}: {why}\n".encode())
    pytest.skip(why)


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MEGABYTES}m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False, text=True)
    except FileNotFoundError:
        cannot("disk full", "there is no mount")
    if mounted.returncode:
        cannot("disk full", f"mount of a tmpfs refused: {mounted.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run([*UNMOUNT, str(folder)], check=True)


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        for size in (MEGABYTE, 4096, 1):
            with contextlib.suppress(OSError):
                while file.write(bytes(size)):
                    pass


def has_faketime() -> bool:
    """Return whether Debian's faketime is there, installed now if need be."""
    if not FAKETIME.exists():
        install = ["apt-get", "install", "--yes", "faketime"]
        with contextlib.suppress(FileNotFoundError):
            subprocess.run(install, capture_output=True, check=False)
    return FAKETIME.exists()


def grow(store: Store, megabytes: int) -> None:
    """Write somebody else's data, as long as MongoDB takes it."""
    with contextlib.suppress(PyMongoError), store.mongod.client() as client:
        for _ in range(megabytes):
            client["other"]["junk"].insert_one({"junk": os.urandom(MEGABYTE)})


async def test_a_full_disk_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    disk = tmp_path / "db"

    @contextlib.asynccontextmanager
    async def full(store: Store) -> AsyncIterator[None]:
        await asyncio.to_thread(grow, store, 1)
        fill(disk / "filler")
        growing = asyncio.create_task(asyncio.to_thread(grow, store, 2 * DISK_MEGABYTES))
        try:
            yield
            await growing
        finally:
            (disk / "filler").unlink()
            if not store.mongod.runs():  # As it does without its journal.
                await store.mongod.kill()
                store.mongod.start()
            await store.mongod.await_primary()

    with small_disk(disk):
        async with (
            running_store(tmp_path, *SMALL_LOGS) as store,
            Server(tmp_path, store.uri).serving() as server,
        ):
            await survive(server, "disk full", full(store), FULL_SECONDS)


@pytest.mark.parametrize("offset", ["+1h", "-1h"])
async def test_a_clock_that_is_an_hour_off_changes_no_answer(tmp_path: Path, offset: str) -> None:
    if not has_faketime():
        cannot(f"clock {offset}", "Debian's faketime cannot be installed")
    clock = tmp_path / "clock"
    clock.write_text("+0")

    @contextlib.asynccontextmanager
    async def off() -> AsyncIterator[None]:
        clock.write_text(offset)
        try:
            yield
        finally:
            clock.write_text("+0")

    faked = {
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }
    async with (
        running_store(tmp_path) as store,
        Server(tmp_path, store.uri).serving(**faked) as server,
    ):
        await survive(server, f"clock jumps {offset}, and back", off(), AWAY_SECONDS)


async def test_a_store_without_an_address_is_an_error_until_it_has_one(tmp_path: Path) -> None:
    async with running_store(tmp_path) as store:
        server = Server(tmp_path, f"mongodb://{NAME}:{store.proxy.port}/?directConnection=true")
        server.unresolved.touch()
        async with server.running(), stub_at(server.port, "t") as stub:
            await until(lambda: refuses(server))
            with pytest.raises(CleanError, match=grpc.StatusCode.UNAVAILABLE.name):
                await stub.page("", None)
            server.unresolved.unlink()
            await until(server.healthy)

            @contextlib.asynccontextmanager
            async def unresolved() -> AsyncIterator[None]:
                server.unresolved.touch()
                store.proxy.cut()
                try:
                    yield
                finally:
                    server.unresolved.unlink()

            await survive(server, "DNS failure of the URI", unresolved(), AWAY_SECONDS, away=True)


async def refuses(server: Server) -> bool:
    """Return whether a server says that it is not healthy."""

    return await health_at(server.port) not in {None, HEALTHY}

"""Worker processes: one port, one service."""

import asyncio
import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from rollcall.v1 import session_pb2, session_pb2_grpc

from server.sources import environment_of
from tests.faults.waiting import until
from tests.parts import wait_until
from tests.stack import ROLLCALL, Stack, free_port, frozen, running_stack

WORKERS = 3


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("workers") / "data"
    with running_stack(folder, environment={"ROLLCALL_WORKERS": str(WORKERS)}) as stack:
        yield stack


def workers(stack: Stack) -> list[psutil.Process]:
    return stack.part("serve").children()


def serving(stack: Stack) -> bool:
    with grpc.insecure_channel(stack.grpc, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        answer = health.Check(health_pb2.HealthCheckRequest(), timeout=5)
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def await_workers(stack: Stack, gone: int) -> None:
    end = time.monotonic() + 30
    while gone in (pids := [worker.pid for worker in workers(stack)]) or len(pids) < WORKERS:
        assert time.monotonic() < end
        time.sleep(0.05)


def listens(worker: psutil.Process) -> set[int]:
    return {c.laddr[1] for c in worker.net_connections("tcp") if c.status == psutil.CONN_LISTEN}


def test_every_worker_takes_calls(several: Stack) -> None:
    assert len(workers(several)) == WORKERS
    # The service is up with the first of them.
    wait_until(lambda: all(map(listens, workers(several))))
    assert [listens(worker) for worker in workers(several)] == [{several.settings.grpc_port}] * WORKERS


def connections(stack: Stack) -> list[int]:
    """Return how many connections each worker has."""
    served = [worker.net_connections("tcp") for worker in workers(stack)]
    return [
        sum(c.status == psutil.CONN_ESTABLISHED and c.laddr[1] == stack.settings.grpc_port for c in each)
        for each in served
    ]


async def test_calls_at_once_through_envoy_spread_over_the_workers(several: Stack) -> None:
    headers = {"authorization": f"Bearer {several.token('ada')}"}
    client = httpx.AsyncClient(base_url=several.rest, headers=headers, timeout=30)
    async with client, asyncio.TaskGroup() as calls:
        # Calls that wait for the store are calls at once.
        with frozen(several.part("mongod")):
            for _ in range(80):
                calls.create_task(client.get("/sessions"))
            await until(lambda: all(counts := connections(several)) and sum(counts) > WORKERS * 3)


def test_a_worker_that_dies_is_replaced_and_callers_of_envoy_see_nothing(several: Stack) -> None:
    token = several.token("ada")
    victim = workers(several)[0]
    victim.kill()
    victim.wait(10)  # What it was asked the moment before may be a 503: a started answer is not asked twice.
    statuses = [several.get("/session", token).status_code for _ in range(50)]
    await_workers(several, victim.pid)
    assert set(statuses) == {200}
    assert all(serving(several) for _ in range(20))


def test_all_workers_stop_together(tmp_path: Path) -> None:
    with running_stack(tmp_path / "data", environment={"ROLLCALL_WORKERS": str(WORKERS)}) as stack:
        ends = workers(stack)
    assert not any(worker.is_running() for worker in ends)


def test_a_port_in_use_stops_the_start(stack: Stack) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        port = str(sock.getsockname()[1])
        environment = stack.environment | {"ROLLCALL_GRPC_PORT": port, "ROLLCALL_WORKERS": "2"}
        done = subprocess.run(
            [ROLLCALL, "serve"], env=environment, capture_output=True, check=False, timeout=30
        )
    assert done.returncode == 2
    assert f"ROLLCALL_GRPC_PORT: cannot listen on 127.0.0.1:{port}" in done.stderr.decode()


def test_settings_that_no_worker_can_use_stop_the_start(stack: Stack) -> None:
    environment = stack.environment | {"ROLLCALL_GRPC_PORT": "1024", "ROLLCALL_WORKERS": "2"}
    done = subprocess.run([ROLLCALL, "serve"], env=environment, capture_output=True, check=False, timeout=30)
    assert done.returncode == 2
    assert done.stderr.decode().count("ROLLCALL_JWT_SECRET, ") == 1, "each worker says it"


@contextlib.contextmanager
def two_workers(stack: Stack, stderr: int, **changes: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run two workers, and nobody reads the pipe of their stdout."""
    port = free_port()
    environment = environment_of(stack.settings.given()) | {
        "ROLLCALL_GRPC_PORT": str(port),
        "ROLLCALL_METRICS_PORT": "0",
        "ROLLCALL_WORKERS": "2",
    }
    with subprocess.Popen(
        [ROLLCALL, "serve"],
        env=stack.environment | environment | changes,
        stdout=subprocess.PIPE,
        stderr=stderr,
    ) as process:
        try:
            wait_until(lambda: len([worker for worker in serve(process) if listening(worker)]) == 2)
            yield f"127.0.0.1:{port}", process
        finally:
            process.kill()


def serve(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children()


def listening(worker: psutil.Process) -> bool:
    return any(c.status == psutil.CONN_LISTEN for c in worker.net_connections("tcp"))


def call(address: str, token: str) -> None:
    with grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        session_pb2_grpc.SessionServiceStub(channel).ListSessions(
            session_pb2.ListSessionsRequest(), metadata=(("authorization", f"Bearer {token}"),), timeout=10
        )


def expect_all_as_before(address: str, process: subprocess.Popen[bytes], token: str) -> None:
    """Calls are answered, by the same workers as before, and all end at SIGTERM."""
    before = serve(process)
    for _ in range(20):
        call(address, token)
    assert serve(process) == before
    process.terminate()
    assert process.wait(30) == 0
    assert not any(worker.is_running() for worker in before)


def test_workers_go_on_when_nobody_reads_what_they_say(stack: Stack) -> None:
    # As of `rollcall serve 2>&1 | reader`.
    with two_workers(stack, stderr=subprocess.STDOUT) as (address, process):
        assert process.stdout
        process.stdout.close()
        expect_all_as_before(address, process, stack.token("ada"))


def test_workers_go_on_when_the_reader_of_their_stderr_stalls(stack: Stack) -> None:
    with two_workers(stack, stderr=subprocess.PIPE) as (address, process):
        assert process.stdout
        process.stdout.close()
        with Path(f"/proc/{process.pid}/fd/2").open("wb", buffering=0) as pipe:
            os.set_blocking(pipe.fileno(), False)
            while pipe.write(bytes(4096)):
                pass
        expect_all_as_before(address, process, stack.token("ada"))


def test_settings_that_a_later_worker_cannot_use_end_no_other(stack: Stack, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("k" * 32)
    with two_workers(stack, subprocess.DEVNULL, ROLLCALL_PAGE_TOKEN_KEYS_FILE=str(keys)) as (
        address,
        process,
    ):
        wait_until(lambda: [listening(worker) for worker in serve(process)] == [True, True])
        keys.write_text("half of them")
        victim, other = serve(process)
        victim.kill()
        wait_until(lambda: victim not in serve(process))
        # Long enough for two that take its place, one after the other, to refuse the file.
        time.sleep(6)
        assert other in serve(process)
        call(address, stack.token("ada"))
        keys.write_text("k" * 32)
        wait_until(lambda: len([worker for worker in serve(process) if listening(worker)]) == 2)


def test_workers_die_with_their_supervisor(tmp_path: Path) -> None:
    orphans: list[psutil.Process] = []

    def kill() -> None:
        with running_stack(tmp_path / "data", environment={"ROLLCALL_WORKERS": str(WORKERS)}) as stack:
            orphans.extend(workers(stack))
            stack.part("serve").kill()
            stack.process.wait(30)

    with pytest.raises(AssertionError, match="server has ended"):
        kill()
    _, alive = psutil.wait_procs(orphans, timeout=10)
    assert not alive

"""Worker processes: one port, one service."""

import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.parts import wait_until
from tests.stack import ROLLCALL, Stack, running_stack

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

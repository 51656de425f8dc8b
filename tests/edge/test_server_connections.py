"""The server's own port: strangers cannot take the files that it needs for MongoDB."""

import contextlib
from pathlib import Path

import psutil

from server.app import SPARE_FILES
from tests.edge.wire import connect
from tests.faults.house import SECRETS, health_at
from tests.faults.processes import Process, environment_of
from tests.faults.waiting import until
from tests.stack import ROLLCALL, Stack, free_port

FILES = SPARE_FILES + 100
LIMITED = ("sh", "-c", f'ulimit -n {FILES}; exec "$@"', "sh")
MANY = 400


async def test_connections_leave_files_for_all_else_and_are_taken_again(stack: Stack, tmp_path: Path) -> None:
    port = free_port()
    settings = {
        "grpc_port": port,
        "mongodb_uri": stack.settings.mongodb_uri.get_secret_value(),
        "workers": 1,
        "drain_seconds": 0,
        **SECRETS,
    }
    server = Process("serve", [ROLLCALL, "serve"], tmp_path, **environment_of(**settings))

    async def is_healthy() -> bool:
        return await health_at(port) == 1

    async with server.running(*LIMITED):
        await until(is_healthy)
        with contextlib.ExitStack() as held:
            for _ in range(MANY):
                with contextlib.suppress(ConnectionError):
                    held.enter_context(connect(port))
            await until(lambda: connections_of(server, port) >= 90)
            assert connections_of(server, port) <= FILES - SPARE_FILES
            assert sum(member.num_fds() for member in server.members()[:1]) < FILES
        await until(is_healthy)


def connections_of(server: Process, port: int) -> int:
    """Return how many callers' connections a server has."""
    found = psutil.Process(server.pid).net_connections("tcp")
    return sum(each.laddr.port == port and each.status == psutil.CONN_ESTABLISHED for each in found)

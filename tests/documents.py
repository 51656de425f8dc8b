"""The documents as tests read them: their commands, run as a reader would, and their links."""

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from deploy.reference.markdown import anchor
from tests.stack import Stack

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
SECONDS = 60
WIDTH = 124

_BLOCK = re.compile(r"^ *```(\w+)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)]+)\)")


def blocks(document: str) -> list[tuple[str, str]]:
    """Return the fenced blocks of a document, each with its language before it."""
    return _BLOCK.findall(document)


def here(text: str, stack: Stack) -> str:
    """Return a block with this machine's ports and paths."""
    replaced = text.replace("127.0.0.1:8080", f"127.0.0.1:{stack.settings.rest_port}")
    return replaced.replace("127.0.0.1:50051", stack.grpc).replace(".venv/bin/", f"{BIN}/")


def run(command: list[str], environment: Mapping[str, str], stdin: str = "", folder: Path = ROOT) -> str:
    """Return what a command prints; it must succeed."""
    ran = subprocess.run(
        command,
        input=stdin,
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr + ran.stdout
    return ran.stdout or ran.stderr


def long_lines(document: str) -> list[str]:
    """Return the lines of prose that are not wrapped."""
    lines = _BLOCK.sub("", document).splitlines()
    return [line for line in lines if len(line) > WIDTH and not line.startswith("|")]


def make_targets(document: str) -> set[str]:
    """Return the targets of make that a document names."""
    return set(re.findall(r"(?:`|^)make ([a-z-]+)", document, re.MULTILINE))


def broken_links(path: Path) -> list[str]:
    """Return the links of a document that lead nowhere within the repository."""
    return [
        target
        for target in _LINK.findall(_without_code(path.read_text()))
        if not target.startswith("https://") and not _leads(path, target)
    ]


def _leads(path: Path, target: str) -> bool:
    name, _, place = target.partition("#")
    found = path.parent / name if name else path
    if not found.exists():
        return False
    return not place or found.suffix != ".md" or place in _anchors(found.read_text())


def _anchors(document: str) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", _BLOCK.sub("", document), re.MULTILINE)
    return {anchor(heading) for heading in headings}


def _without_code(document: str) -> str:
    return re.sub(r"`[^`\n]*`", "", _BLOCK.sub("", document))

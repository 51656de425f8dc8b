"""SECURITY.md says what is checked where: every file and test that it names is there."""

import ast
import re
from pathlib import Path

import pytest

from server.settings import PREFIX, Settings

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "SECURITY.md").read_text()
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in TEXT.partition("| promise | code | test |")[2].partition("\n\n")[0].splitlines()[2:]
]


def quoted(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def functions(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize(("promise", "code", "tests"), ROWS, ids=lambda cell: cell[:40])
def test_every_promise_has_its_code_and_a_test_that_keeps_it(promise: str, code: str, tests: str) -> None:
    assert promise
    paths = [path for path in quoted(code) if not path.startswith("make ")]
    named = [name.split("::") for name in quoted(tests)]
    assert paths
    assert named
    assert [path for path in paths if not (ROOT / path).is_file()] == []
    assert [name for path, name in named if name not in functions(ROOT / path)] == []


def test_every_path_and_setting_exists() -> None:
    paths = re.findall(r"`((?:server|tests|deploy)/[\w./-]+)", TEXT)
    assert [path for path in paths if not (ROOT / path).exists()] == []
    known = {f"{PREFIX}{name}".upper() for name in Settings.model_fields}
    assert set(re.findall(rf"{PREFIX}[A-Z_]+[A-Z]", TEXT)) <= known


def test_every_secret_has_its_row() -> None:
    text = (ROOT / "docs/how-to/rotate-secrets.md").read_text()
    rows = text.partition("| what |")[2].partition("\n\n")[0]
    secrets = {name for name in Settings.model_fields if f"{name}_file" in Settings.model_fields}
    assert {f"{PREFIX}{name}".upper() for name in secrets} <= set(quoted(rows))

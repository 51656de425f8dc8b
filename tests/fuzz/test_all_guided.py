"""Inputs that coverage leads to: only in `make fuzz`, and where atheris is installed."""

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import orjson
import pytest

from tests.fuzz import report
from tests.fuzz.test_import_reader import GOOD

RUNS = {"tokens": 10_000, "lines": 10_000}
SEEDS = {"tokens": (b"v1.", b"v1." + b"A" * 80), "lines": tuple(map(orjson.dumps, GOOD))}
SECONDS = 600


@pytest.mark.skipif(find_spec("atheris") is None, reason="atheris has no wheel for this Python: NOT FUZZED")
@pytest.mark.parametrize("target", RUNS)
def test_no_input_that_coverage_leads_to_breaks_a_reader(target: str, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(SEEDS[target]):
        (corpus / str(number)).write_bytes(seed)
    command = [sys.executable, "-m", "tests.fuzz.guided", target, str(RUNS[target])]
    with report.fuzzing(f"coverage-guided: {target}") as row:
        run = subprocess.run(
            [*command, f"-artifact_prefix={tmp_path}/", str(corpus)],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
            cwd=Path(__file__).parents[2],
        )
        done = re.search(r"Done (\d+) runs", run.stderr)
        assert run.returncode == 0, run.stderr[-3000:]
        assert done is not None, run.stderr[-3000:]
        row.inputs += int(done[1])

"""A plugin: a whole run fails that tried fewer inputs than are promised, in however many processes."""

from pathlib import Path
from typing import Any

import pytest

from tests.fuzz import report

KEY = "fuzz"
inputs_of_workers: list[int] = []


def pytest_sessionfinish(session: pytest.Session) -> None:
    inputs = sum(row.inputs for row in report.rows)
    if hasattr(session.config, "workeroutput"):  # a process of several
        session.config.workeroutput[KEY] = inputs if _is_whole(session) else None
    elif (inputs_of_workers or _is_whole(session)) and not session.testsfailed:
        judge(session, inputs + sum(inputs_of_workers))


@pytest.hookimpl(optionalhook=True)  # one of pytest-xdist
def pytest_testnodedown(node: Any) -> None:
    inputs = getattr(node, "workeroutput", {}).get(KEY)
    if inputs is not None:
        inputs_of_workers.append(inputs)


def judge(session: pytest.Session, inputs: int) -> None:
    """Fail a run without failures that tried too little."""
    if inputs < report.MIN_INPUTS:
        reporter = session.config.pluginmanager.get_plugin("terminalreporter")
        assert isinstance(reporter, pytest.TerminalReporter)
        reporter.write_line(
            f"\nfuzz: {inputs:,} inputs, fewer than the {report.MIN_INPUTS:,} promised", red=True
        )
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _is_whole(session: pytest.Session) -> bool:
    modules = {path for path in Path(__file__).parent.glob("test_*.py") if report.ALL or not _is_long(path)}
    return modules <= {item.path for item in session.items} and not session.config.option.keyword


def _is_long(path: Path) -> bool:
    return path.name.startswith("test_all_")

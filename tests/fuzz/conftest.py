"""A few inputs run by themselves; `make fuzz`, by ROLLCALL_FUZZ=all, tries all and ends with a table."""

from pathlib import Path

import pytest

from tests.fuzz import report
from tests.summary import conclude

collect_ignore_glob = [] if report.ALL else ["test_all_*.py"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if report.ALL and report.rows:
        conclude(terminalreporter, "fuzz", report.table(), report.PATH)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a whole run that tried less than is promised."""
    tried = {item.path for item in session.items}
    modules = {path for path in Path(__file__).parent.glob("test_*.py") if report.ALL or not _is_long(path)}
    whole = modules <= tried and not session.config.option.keyword and not session.testsfailed
    if whole and sum(row.inputs for row in report.rows) < report.MIN_INPUTS:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _is_long(path: Path) -> bool:
    return path.name.startswith("test_all_")

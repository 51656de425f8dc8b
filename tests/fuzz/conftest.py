"""A few inputs run by themselves; `make fuzz`, by ROLLCALL_FUZZ=all, tries all and ends with a table."""

import pytest

from tests.fuzz import report

collect_ignore_glob = [] if report.ALL else ["test_all_*.py"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not report.ALL or not report.rows:
        return
    report.PATH.parent.mkdir(exist_ok=True)
    report.PATH.write_text(f"{report.table()}\n")
    terminalreporter.section("fuzz")
    terminalreporter.write_line(report.table())


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a whole run that tried less than is promised."""
    whole = report.ALL and not session.config.option.keyword and not session.testsfailed
    if whole and sum(row.inputs for row in report.rows) < report.MIN_INPUTS:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED

"""The quick half runs by itself; `make faults`, by ROLLCALL_FAULTS=all, runs all and ends with a table."""

import pytest

from tests.faults import report

collect_ignore_glob = [] if report.ALL else ["all_*.py", "test_all_*.py"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not report.ALL or not report.rows:
        return
    report.PATH.parent.mkdir(exist_ok=True)
    report.PATH.write_text(f"{report.table()}\n")
    terminalreporter.section("faults")
    terminalreporter.write_line(report.table())

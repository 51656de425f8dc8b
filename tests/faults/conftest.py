"""The quick half runs by itself; `make faults`, by ROLLCALL_FAULTS=all, runs all and ends with a table."""

import pytest

from tests.faults import report
from tests.summary import conclude

collect_ignore_glob = [] if report.ALL else ["all_*.py", "test_all_*.py"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if report.ALL and report.rows:
        conclude(terminalreporter, "faults", report.table(), report.PATH)

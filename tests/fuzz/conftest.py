"""A few inputs run by themselves; `make fuzz`, by ROLLCALL_FUZZ=all, tries all and ends with a table."""

import pytest

from tests.fuzz import report
from tests.summary import conclude

collect_ignore_glob = [] if report.ALL else ["test_all_*.py"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if report.ALL and report.rows:
        conclude(terminalreporter, "fuzz", report.table(), report.PATH)

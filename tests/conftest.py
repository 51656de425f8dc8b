"""Fixtures that several tests share."""

import signal
from collections.abc import Iterator

import pytest

from tests.stack import Stack, running_stack

pytest_plugins = ["tests.fuzz.minimum"]


def pytest_configure() -> None:
    """Ignore for pytest alone what nohup and `&` ignore: the processes that tests start must hear it."""
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            # A handler is not inherited.
            signal.signal(number, lambda *_: None)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A running service without data; shared: a test uses owners of its own."""
    with running_stack(tmp_path_factory.mktemp("up") / "data") as running:
        yield running

"""Fixtures that several tests share."""

from collections.abc import Iterator

import pytest

from tests.stack import Stack, running_stack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A running service without data; shared: a test uses owners of its own."""
    with running_stack(tmp_path_factory.mktemp("up") / "data") as running:
        yield running

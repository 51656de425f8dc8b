"""An Envoy that may be attacked, in front of the shared server."""

from collections.abc import Iterator

import pytest

from tests.edge import documented
from tests.edge.proxies import Edge, running_edge
from tests.stack import Stack


@pytest.fixture(scope="session")
def edge(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """An Envoy as shipped that closes connections early; one worker: whatever holds it up holds up all."""
    with running_edge(stack, tmp_path_factory.mktemp("edge")) as running:
        yield running


@pytest.fixture(scope="module")
def served(edge: Edge) -> Iterator[Edge]:
    """The same, with a record behind each documented path."""
    documented.load(edge.stack)
    yield edge
    edge.stack.clear()

"""A transaction that its store does not end holds up nobody."""

import contextlib
import inspect
import time
from pathlib import Path
from typing import Any

import pytest
from pymongo.errors import OperationFailure

from server.errors import UnavailableError
from server.settings import load
from server.store import driver, sessions
from server.store.failures import translated
from server.store.sessions import ended
from tests.faults.house import running_store
from tests.faults.proxy import PASS, Refuse
from tests.faults.waiting import until

LONG_SECONDS = 3.0
"""How long the driver looks for a node."""


@pytest.mark.parametrize("name", ["motor", "pymongo"])
async def test_a_transaction_whose_store_has_gone_is_left_at_once(tmp_path: Path, name: str) -> None:
    async with running_store(tmp_path) as store:
        settings = load(mongodb_driver=name, mongodb_seconds=LONG_SECONDS, mongodb_uri=store.uri)
        connection = driver.connect(settings)
        begun = 0.0
        with contextlib.suppress(LookupError):
            async with ended(await connection.start_session()) as session:
                transaction: Any = session.start_transaction()
                _ = await transaction if inspect.isawaitable(transaction) else transaction
                await connection.database["any"].insert_one({}, session=session)
                await store.proxy.set(Refuse())
                begun = time.monotonic()
                raise LookupError
        assert time.monotonic() - begun < LONG_SECONDS / 2
        await store.proxy.set(PASS)
        await until(lambda: not sessions._ending)  # noqa: SLF001 # what it ends outlives the block
        await connection.close()


@pytest.mark.parametrize("code", [239, 246], ids=["SnapshotTooOld", "SnapshotUnavailable"])
def test_a_snapshot_that_cannot_be_had_is_no_fault_of_ours(code: int) -> None:
    with pytest.raises(UnavailableError), translated():
        raise OperationFailure("no snapshot", code)

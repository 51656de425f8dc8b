"""Work that must not be cancelled."""

import asyncio
import gc
from typing import Any

import pytest

from server.shielded import shielded


async def test_work_goes_on_when_its_caller_is_cancelled() -> None:
    done = asyncio.Event()

    async def work() -> None:
        await asyncio.sleep(0.05)
        done.set()

    caller = asyncio.create_task(shielded(work()))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    await asyncio.wait_for(done.wait(), 5)


async def test_a_result_and_an_error_are_the_works() -> None:
    async def work(error: Exception | None) -> int:
        await asyncio.sleep(0)
        if error is not None:
            raise error
        return 7

    assert await shielded(work(None)) == 7
    with pytest.raises(LookupError):
        await shielded(work(LookupError()))


async def test_an_error_that_nobody_waits_for_is_no_line_in_the_log() -> None:
    reported: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: reported.append(context))

    async def work() -> None:
        await asyncio.sleep(0.01)
        raise LookupError

    try:
        caller = asyncio.create_task(shielded(work()))
        await asyncio.sleep(0)
        caller.cancel()
        await asyncio.wait([caller])
        await asyncio.sleep(0.05)
        gc.collect()
    finally:
        loop.set_exception_handler(None)
    assert reported == []

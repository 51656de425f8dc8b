"""What a list call does for each of its items: counted, so that it is the same on every machine.

A list is ready-made bytes: one find, one concatenation.  Whoever adds work for each item, such as
a message, a dict or a function call, makes one of these grow with the number of items:

- `calls`: Python functions called;
- `steps`: bytecode instructions run;
- `peak`: bytes that are allocated at once.

The event loop, grpc and the driver do not count: how often they run depends on how bytes arrive.
"""

import asyncio
import gc
import inspect
import selectors
import sys
import threading
import tracemalloc
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

Call = Callable[[], Awaitable[object]]

WARM_UPS = 3
COUNTED = 3

_NOT_COUNTED = ("grpc", "pymongo", "bson", "motor", "concurrent", "_pytest", "pluggy")
_RESUMED = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR


@dataclass(frozen=True, slots=True)
class Work:
    """What one call takes, or, as a difference, each further item."""

    calls: float
    steps: float
    peak: float


async def per_item(few: Call, many: Call, items: int) -> Work:
    """Return what each further item takes, where `many` answers `items` more than `few`."""
    less, more = await work_of(few), await work_of(many)
    return Work(
        (more.calls - less.calls) / items,
        (more.steps - less.steps) / items,
        (more.peak - less.peak) / items,
    )


async def work_of(call: Call) -> Work:
    """Return the least that a call takes in several tries."""
    for _ in range(WARM_UPS):
        # Counted too: Python 3.13 sees the steps of a function only once it has been traced before.
        await _counted(call)
    counts = [await _counted(call) for _ in range(COUNTED)]
    gc.collect()
    # What is left is not looked at again: that takes long in a process that has run many tests.
    gc.freeze()
    try:
        peak = min([await _peak(call) for _ in range(COUNTED)])
    finally:
        gc.unfreeze()
    return Work(min(calls for calls, _ in counts), min(steps for _, steps in counts), peak)


async def _counted(call: Call) -> tuple[int, int]:
    calls = steps = 0
    counted: dict[CodeType, bool] = {}

    def begin(frame: FrameType, _: str, __: Any) -> Any:
        nonlocal calls
        code = frame.f_code
        if code not in counted:
            counted[code] = _counts(code)
        if not counted[code]:
            return None
        # A generator's frame begins again at each item: its steps count, but it is not a call.
        calls += not code.co_flags & _RESUMED
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        return step

    def step(_: FrameType, event: str, __: Any) -> Any:
        nonlocal steps
        steps += event == "opcode"
        return step

    before = sys.gettrace()
    sys.settrace(begin)
    try:
        await call()
    finally:
        sys.settrace(before)
    return calls, steps


def _counts(code: CodeType) -> bool:
    path = Path(code.co_filename)
    return path.parent != _ASYNCIO and path not in _LOOP and not set(_NOT_COUNTED) & set(path.parts)


_ASYNCIO = Path(asyncio.__file__).parent
_LOOP = {Path(__file__), *(Path(str(module.__file__)) for module in (selectors, threading))}


async def _peak(call: Call) -> int:
    gc.collect()
    tracemalloc.start()
    try:
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        await call()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()

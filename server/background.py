"""Tasks that nobody awaits."""

import asyncio
import logging
from functools import partial
from typing import Any

log = logging.getLogger(__name__)


def told(task: asyncio.Task[Any], failure: str) -> asyncio.Task[Any]:
    """Have an unexpected end of a task logged when it comes, as `failure`; return the task."""
    task.add_done_callback(partial(_tell, failure))
    return task


def _tell(failure: str, task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error(failure, exc_info=error)

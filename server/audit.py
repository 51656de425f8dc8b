"""Audit lines: who wrote what, and when; never what is in it."""

import getpass
import logging
import os
import sys
from datetime import UTC, datetime
from functools import cache
from typing import Any

import orjson


def by_caller(action: str, **what: Any) -> None:
    """Write the line of a call's write into the server's log."""
    _log().info("write", action=action, **what)


@cache
def _log() -> Any:
    import structlog  # noqa: PLC0415 # slow to load, and commands do without it

    # Whatever ROLLCALL_LOG_LEVEL leaves out, these lines are written.
    return structlog.wrap_logger(None, wrapper_class=structlog.make_filtering_bound_logger(logging.NOTSET))


def by_operator(action: str, **what: Any) -> None:
    """Write the line of a command's write on stderr, a JSON object as the server's log has them."""
    at = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    line = {"event": "write", "action": action, **what, "by": _operator(), "level": "info", "timestamp": at}
    sys.stderr.write(orjson.dumps(line).decode() + "\n")


def _operator() -> str:
    """Return the name of this process's user, in a container perhaps only its number."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())

"""Logs: JSON lines on stdout, of our own and of the libraries'."""

import contextlib
import logging
import sys
from typing import Any, BinaryIO

import orjson
import structlog

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def _serialized(event: Any, **_: Any) -> bytes:
    return orjson.dumps(event, default=str)


class _Lines:
    """Writes lines to a stream; one whose reader has gone loses them, and fails no call for it."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = structlog.BytesLogger(stream)

    def msg(self, line: bytes) -> None:
        with contextlib.suppress(OSError):
            self._stream.msg(line)

    debug = info = warning = error = critical = msg


_SHARED: tuple[Any, ...] = (
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
)


def configure(level: str, *, traced: bool = False) -> None:
    """Send this process's logs from `level` up to stdout, a JSON object a line.

    With `traced`, what is said about a call has its `trace_id`; raises SettingsError without the extra.
    """
    shared = _SHARED
    if traced:
        from server.observability.traces import add_trace_id  # noqa: PLC0415 # the extra `otel`

        shared = (add_trace_id, *_SHARED)
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer(serializer=_serialized)],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=lambda *_: _Lines(sys.stdout.buffer),
        cache_logger_on_first_use=True,
    )
    # The libraries', and ours where a call is not at stake, come through the standard library.
    handler = logging.StreamHandler(sys.stdout)
    render = structlog.processors.JSONRenderer(serializer=lambda event, **_: _serialized(event).decode())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
        )
    )
    logging.basicConfig(handlers=[handler], level=LEVELS[level], force=True)

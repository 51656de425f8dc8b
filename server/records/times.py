"""Times: RFC 3339 in and out, nine digits of a second, years 1 to 9999."""

import re
from datetime import MAXYEAR, UTC, datetime, timedelta, timezone
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from server.records.violation import FieldError

_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(?:[Zz]|([+-])(\d\d):(\d\d))", re.ASCII
)
_RULE = "must be an RFC 3339 time, such as 2026-01-31T23:59:59.123456789Z"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
_NANOS = range(10**9)
SECONDS_LENGTH = len("2026-01-31T23:59:59Z")


def canonical(value: Any) -> str:
    """Return an RFC 3339 time in UTC, with 0, 3, 6 or 9 digits after the second."""
    match = _RFC3339.fullmatch(value) if type(value) is str else None
    if match is None:
        raise FieldError(_RULE)
    date, clock, fraction, sign, hours, minutes = match.groups()
    try:
        moment = datetime.fromisoformat(f"{date}T{clock}")
        if sign is not None:
            offset = timedelta(hours=int(hours), minutes=int(minutes))
            moment = moment.replace(tzinfo=timezone(offset if sign == "+" else -offset)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise FieldError(_RULE) from None
    return _printed(moment, int((fraction or "0").ljust(9, "0")))


def _printed(moment: datetime, nanos: int) -> str:
    second = moment.replace(tzinfo=None).isoformat()
    if not nanos:
        return f"{second}Z"
    digits = f"{nanos:09}"
    while digits.endswith("000"):
        digits = digits[:-3]
    return f"{second}.{digits}Z"


def to_proto(text: str) -> Timestamp:
    """Return the Timestamp of a canonical time."""
    return Timestamp(seconds=(to_datetime(text) - _EPOCH) // _SECOND, nanos=_nanos(text))


def _nanos(text: str) -> int:
    return int(text[20:-1].ljust(9, "0"))


def to_datetime(text: str) -> datetime:
    """Return the second of a canonical time."""
    return datetime.fromisoformat(f"{text[:19]}+00:00")


def not_before(text: str) -> datetime:
    """Return the second that a canonical time does not come after, as far as there are years."""
    second = to_datetime(text)
    return second if len(text) == SECONDS_LENGTH or second.year == MAXYEAR else second + _SECOND


def from_proto(timestamp: Timestamp) -> str:
    """Return the canonical time of a Timestamp."""
    try:
        moment = _EPOCH + timedelta(seconds=timestamp.seconds)
    except OverflowError:
        raise FieldError("must be a time in the years 1 to 9999") from None
    if timestamp.nanos not in _NANOS:
        raise FieldError("must have nanos from 0 to 999,999,999")
    return _printed(moment, timestamp.nanos)


def sortable(text: str) -> str:
    """Return a canonical time with all nine digits: 30 characters that sort as the times do."""
    return f"{text[:19]}.{text[20:-1]:0<9}Z"


def now() -> str:
    """Return the current time, canonical."""
    moment = datetime.now(UTC)
    return _printed(moment.replace(microsecond=0), moment.microsecond * 1000)


def plus(text: str, delta: timedelta) -> str:
    """Return a canonical time moved by `delta`, which has whole seconds."""
    moment = to_datetime(text)
    try:
        moment += delta
    except OverflowError:
        moment = datetime.max.replace(tzinfo=UTC)
    return _printed(moment.replace(microsecond=0), _nanos(text))

"""xids: 12 bytes as 20 of 0-9 and a-v; a time, then randomness (github.com/rs/xid)."""

import secrets
import time

_DIGITS = "0123456789abcdefghijklmnopqrstuv"


def new_xid() -> str:
    """Return a fresh xid."""
    return xid_of(int(time.time()), secrets.randbits(64))


def xid_of(seconds: int, bits: int) -> str:
    """Return the xid of a time, in seconds since 1970, and 64 random bits."""
    number = (seconds << 64 | bits) << 4
    return "".join(_DIGITS[number >> shift & 31] for shift in range(95, -1, -5))

"""xids: 12 bytes as 20 of 0-9 and a-v; a time, then randomness (github.com/rs/xid)."""

import secrets
import time

_DIGITS = "0123456789abcdefghijklmnopqrstuv"


def new_xid() -> str:
    """Return a fresh xid: seconds of the epoch, then 8 random bytes."""
    raw = int(time.time()).to_bytes(4, "big") + secrets.token_bytes(8)
    number = int.from_bytes(raw, "big") << 4
    return "".join(_DIGITS[number >> shift & 31] for shift in range(95, -1, -5))

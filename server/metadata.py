"""Metadata of a call: what its caller, and the proxy before us, sent beside the request."""

import re
from collections.abc import Sequence

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

Metadata = Sequence[tuple[str, str | bytes]]


def header(metadata: Metadata, name: str) -> str | None:
    """Return the first value of a header, None if there is none."""
    for key, value in metadata:
        if key == name:
            return value if isinstance(value, str) else value.decode("latin-1")
    return None


def request_id(metadata: Metadata) -> str | None:
    """Return the id that the proxy gave the request; None for what a caller made up."""
    found = header(metadata, "x-request-id") or ""
    return found if _UUID.fullmatch(found) else None

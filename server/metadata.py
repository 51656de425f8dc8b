"""Metadata of a call: what its caller, and the proxy before us, sent beside the request."""

import uuid
from collections.abc import Sequence

Metadata = Sequence[tuple[str, str | bytes]]


def header(metadata: Metadata, name: str) -> str | None:
    """Return the first value of a header, None if there is none."""
    for key, value in metadata:
        if key == name:
            return value if isinstance(value, str) else value.decode("latin-1")
    return None


def request_id(metadata: Metadata) -> str | None:
    """Return the id that the proxy gave the request; None for what a caller made up."""
    try:
        return str(uuid.UUID(header(metadata, "x-request-id") or ""))
    except ValueError:
        return None

"""What every RPC of ours has in common, whichever surface it is on."""

from typing import Any, TypeAlias, cast

import grpc

from server.credentials import Metadata

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


def metadata_of(context: Context) -> Metadata:
    """Return what the caller sent beside the message."""
    return cast("Metadata", context.invocation_metadata() or ())


def time_limit(context: Context, seconds: float) -> float:
    """Return how long a call may still take: its own deadline, at most `seconds`."""
    remaining = context.time_remaining()
    return seconds if remaining is None else max(0.0, min(seconds, remaining))

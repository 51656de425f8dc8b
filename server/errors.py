"""What can go wrong, told once: gRPC code, reason, and google.rpc details.

Typed services send an error as it is; a REST module turns it into its contract's
status and body.  The texts are for callers: no exception's own text gets in.
"""

import math
import time
from collections.abc import Mapping
from typing import ClassVar

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

DOMAIN = "rollcall"


MAX_ECHO = 200
"""How many characters of a caller's own input an error repeats: errors travel in headers."""


def shortened(text: str) -> str:
    """Return the caller's input as an error may repeat it."""
    return text if len(text) <= MAX_ECHO else f"{text[:MAX_ECHO]}…"


class RollcallError(Exception):
    """The root of all deliberate errors; itself the one for everything unexpected.

    `reason` is a name in capitals (AIP-193); `metadata` says more to programs;
    `retry_after` is in seconds.
    """

    code: ClassVar[grpc.StatusCode] = grpc.StatusCode.INTERNAL
    reason: str = "INTERNAL"

    def __init__(
        self,
        message: str = "Internal server error",
        *,
        reason: str | None = None,
        metadata: Mapping[str, str] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or self.reason
        self.metadata = dict(metadata or {})
        self.retry_after = retry_after

    def headers(self) -> dict[str, str]:
        """Return the HTTP headers that go with the error, whatever its body."""
        return {} if self.retry_after is None else {"retry-after": str(math.ceil(self.retry_after))}

    def details(self) -> list[Message]:
        """Return the google.rpc details: an ErrorInfo, and what else the error knows."""
        details: list[Message] = [
            error_details_pb2.ErrorInfo(reason=self.reason, domain=DOMAIN, metadata=self.metadata)
        ]
        if self.retry_after is not None:
            delay = Duration()
            delay.FromMilliseconds(round(self.retry_after * 1000))
            details.append(error_details_pb2.RetryInfo(retry_delay=delay))
        return details

    def status(self) -> status_pb2.Status:
        """Return the error as a google.rpc.Status."""
        status = status_pb2.Status(code=self.code.value[0], message=self.message)
        for detail in self.details():
            packed = Any()
            packed.Pack(detail)
            status.details.append(packed)
        return status


class InvalidArgumentError(RollcallError):
    """A field of the request breaks a rule."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "INVALID_FIELD"

    def __init__(self, field: str, rule: str, *, reason: str | None = None) -> None:
        field = shortened(field)
        super().__init__(f"{field}: {rule}", reason=reason, metadata={"field": field})
        self.field = field
        self.rule = rule

    def details(self) -> list[Message]:
        """Return them, with the field's violation."""
        violation = error_details_pb2.BadRequest.FieldViolation(field=self.field, description=self.rule)
        return [*super().details(), error_details_pb2.BadRequest(field_violations=[violation])]


class UnauthenticatedError(RollcallError):
    """The caller gave no credentials, or none that hold."""

    code = grpc.StatusCode.UNAUTHENTICATED
    reason = "CREDENTIALS_INVALID"


MISSING = "CREDENTIALS_MISSING"
EXPIRED = "CREDENTIALS_EXPIRED"
REVOKED = "CREDENTIALS_REVOKED"


class PermissionDeniedError(RollcallError):
    """The caller is known and may not do this."""

    code = grpc.StatusCode.PERMISSION_DENIED
    reason = "PERMISSION_DENIED"


class _ResourceError(RollcallError):
    """An error about one record, which it names."""

    def __init__(self, message: str, *, resource_type: str = "", resource_name: str = "") -> None:
        resource_name = shortened(resource_name)
        super().__init__(message, metadata={"resource": resource_name} if resource_name else None)
        self.resource_type = resource_type
        self.resource_name = resource_name

    def details(self) -> list[Message]:
        """Return them, with the record's type and key."""
        info = error_details_pb2.ResourceInfo(
            resource_type=self.resource_type, resource_name=self.resource_name, description=self.message
        )
        return [*super().details(), info]


class NotFoundError(_ResourceError):
    """There is no such record, or the caller may not see it."""

    code = grpc.StatusCode.NOT_FOUND
    reason = "RECORD_NOT_FOUND"


class AlreadyExistsError(_ResourceError):
    """A record with this key is there."""

    code = grpc.StatusCode.ALREADY_EXISTS
    reason = "RECORD_EXISTS"


class AbortedError(_ResourceError):
    """The record changed since the caller read it."""

    code = grpc.StatusCode.ABORTED
    reason = "ETAG_STALE"


class UnavailableError(RollcallError):
    """The store does not answer; a later try may succeed."""

    code = grpc.StatusCode.UNAVAILABLE
    reason = "STORE_UNAVAILABLE"

    def __init__(self, message: str = "The store is unavailable", *, retry_after: float = 1) -> None:
        super().__init__(message, retry_after=retry_after)


class IssuerUnavailableError(UnavailableError):
    """Who signs or knows the credentials does not answer; a later try may succeed."""

    reason = "ISSUER_UNAVAILABLE"

    def __init__(self, message: str = "The issuer of the credentials is unavailable") -> None:
        super().__init__(message)


class StoppingError(UnavailableError):
    """The server is about to stop; another one, or a new connection, answers."""

    reason = "SERVER_STOPPING"

    def __init__(self, message: str = "The server is stopping") -> None:
        super().__init__(message)

    def headers(self) -> dict[str, str]:
        """Return them, with the pause that gRPC's own retries make: until then this connection is closed."""
        return {**super().headers(), "grpc-retry-pushback-ms": "1000"}


class RateLimitedError(RollcallError):
    """The caller or its tenant has called too often; after `retry_after` seconds it may again.

    `limit` is how often, `remaining` how often still, `reset` when that is more, in seconds since 1970.
    """

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "RATE_LIMITED"

    def __init__(
        self,
        message: str = "Too many requests",
        *,
        limit: int = 0,
        remaining: int = 0,
        reset: float = 0,
    ) -> None:
        now = time.time()
        seconds = max(1, math.ceil(reset - now))
        super().__init__(message, retry_after=seconds)
        self.limit = limit
        self.remaining = remaining
        # Headers tell whole seconds, and no time that is too early.
        self.reset = math.ceil(now + seconds)


class OverloadedError(RateLimitedError):
    """More calls came than the server can answer in time; nothing was done for this one.

    `limit` is how many it works at.
    """

    reason = "OVERLOADED"

    def __init__(self, message: str = "The server is overloaded", *, limit: int = 0) -> None:
        super().__init__(message, limit=limit)


class DeadlineExceededError(RollcallError):
    """The call's time is over."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED
    reason = "DEADLINE_EXCEEDED"

    def __init__(self, message: str = "The deadline was exceeded") -> None:
        super().__init__(message)

"""What a REST module answers: a body, its chunks, or an error in its contract's words."""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

import grpc

from server.records.kind import JSON
from server.records.query import Query
from server.store.reads import Reads, at_once

JSON_TYPE = "application/json"

HTTP_STATUS = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}
"""The status of a code where a contract has no other; of codes that are not here, 500."""

Chunks = AsyncGenerator[tuple[bytes, bool], None]
"""A body that is too long for the memory, in parts, each with whether it is the last."""


@dataclass(frozen=True, slots=True)
class Document:
    """A body that is not a contract's JSON, and the headers that go with it."""

    data: bytes
    content_type: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    """An error as the contract prints it; `headers` are those that it names."""

    status: int
    body: Mapping[str, Any]
    content_type: str = JSON_TYPE
    headers: Mapping[str, str] = field(default_factory=dict)

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Return the trailing metadata that the proxy turns into an HTTP answer; ASCII."""
        return (
            ("x-error-body", json.dumps(self.body, separators=(",", ":"))),
            ("x-http-status", str(self.status)),
            ("x-error-type", self.content_type),
            *self.headers.items(),
        )


class ContractError(Exception):
    """A row of one contract's error table that no other contract has."""

    def __init__(self, answer: ErrorAnswer) -> None:
        super().__init__(answer.status)
        self.answer = answer


async def array(reads: Reads, query: Query, opening: bytes, closing: bytes) -> bytes | Chunks:
    """Return a list as one JSON array between `opening` and `closing`: whole if it is short."""
    if at_once(query, JSON):
        rows = await reads.find(query, JSON)
        return _joined(list(map(itemgetter(JSON), rows)), opening, closing)
    return _chunks(reads.stream(query, JSON), opening, closing)


async def _chunks(batches: AsyncIterator[tuple[list[bytes], bool]], opening: bytes, closing: bytes) -> Chunks:
    """Yield stored items; `closing` goes out only when the store has said that there is no more."""
    before = opening
    async for items, last in batches:
        if items:
            yield _joined(items, before, closing if last else b""), last
            before = b","
        elif last:
            yield (opening if before == opening else b"") + closing, last


def _joined(items: list[bytes], opening: bytes, closing: bytes) -> bytes:
    """Return items in a row, taking them from their list: a page is copied once, and not kept."""
    if not items:
        return opening + closing
    items[0] = opening + items[0]
    items[-1] += closing
    joined = b",".join(items)
    items.clear()
    return joined

"""Pages of typed records: sizes, sealed tokens, ready-made items (AIP-158)."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import replace
from operator import itemgetter
from typing import Any

from google.protobuf.message import Message
from rollcall.v1 import view_pb2

from server.errors import InvalidArgumentError
from server.page_tokens import PageTokenError, PageTokens
from server.records.caller import Caller
from server.records.kind import BASIC, PB, Document, Kind
from server.records.query import Position, Query
from server.store.reads import Reads, Rows

MAX_PAGE = 1000
PAGE_BYTES = 3_000_000
"""Where a page ends early, so that it fits well into a message."""


class Pages:
    """Answers List calls."""

    def __init__(self, reads: Reads, tokens: PageTokens) -> None:
        self.reads = reads
        self._tokens = tokens

    async def answer(
        self, query: Query, request: Any, caller: Caller, response: Any, *, numbered: bool = False
    ) -> bytes:
        """Return a serialized List response: the page behind the request's token, and `response`.

        A numbered page is whole, and is followed by the next number, not by a token.
        """
        query = self.resumed(query, request, caller)
        form = form_of(query.kind, request.view)
        order = [name for name, _ in query.order]
        rows, more = await self.reads.page(query, form, math.inf if numbered else PAGE_BYTES, *order)
        if more and not numbered:
            response.next_page_token = self.token(query, rows[-1], request, caller)
        return joined(rows, form, response)

    def resumed(self, query: Query, request: Any, caller: Caller) -> Query:
        """Return the query from where the request's token says."""
        if not request.page_token:
            return query
        try:
            position: Position = self._tokens.open(request.page_token, *_binding(request, caller))
        except PageTokenError:
            raise InvalidArgumentError(
                "page_token",
                "must be the token of a page before, of this caller and these arguments, and not too old",
                reason="PAGE_TOKEN_INVALID",
            ) from None
        return replace(query, after=position, skip=0)

    def token(self, query: Query, last: Document, request: Message, caller: Caller) -> str:
        """Return the token of the page behind a row, which has the fields of the query's order."""
        return self._tokens.seal([last[name] for name, _ in query.order], *_binding(request, caller))


def joined(rows: Rows, form: str, response: Message) -> bytes:
    """Return the rows, framed as field 1, and the rest of their List response behind them."""
    return b"".join(map(itemgetter(form), rows)) + bytes(response.SerializeToString())


def form_of(kind: Kind, view: int) -> str:
    """Return which stored form a view is: FULL, or BASIC for all else."""
    return BASIC if kind.heavy and view != view_pb2.VIEW_FULL else PB


def page_size(asked: int, default: int, field: str = "page_size") -> int:
    """Return how many records a page has; raise InvalidArgumentError if negative."""
    not_negative(asked, field)
    return min(asked or default, MAX_PAGE)


def not_negative(value: int, field: str) -> int:
    """Return `value`; raise InvalidArgumentError if it is negative."""
    if value < 0:
        raise InvalidArgumentError(field, "must not be negative")
    return value


def _binding(request: Message, caller: Caller) -> Sequence[str]:
    arguments = type(request)()
    arguments.CopyFrom(request)
    for field in ("page_token", "page_size", "limit"):
        if field in arguments.DESCRIPTOR.fields_by_name:
            arguments.ClearField(field)
    digest = hashlib.sha256(arguments.SerializeToString(deterministic=True)).hexdigest()
    return request.DESCRIPTOR.full_name, caller.sub, caller.tenant, caller.client_id, digest

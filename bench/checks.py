"""Every server must answer the same items, before and after it is measured."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import grpc
import httpx
from rollcall.v1 import session_pb2 as pb

from bench.contestants import GRPC, LIMIT, REST, Contestant
from bench.load import Owner
from bench.parts import BenchError

METHOD = "rollcall.v1.SessionService/ListSessions"
SECONDS = 30


def path(page: int) -> str:
    """Return the REST path of a page."""
    return f"/sessions?limit={page}"


def request(page: int) -> bytes:
    """Return the serialized gRPC request of a page."""
    return pb.ListSessionsRequest(page_size=page).SerializeToString()


def check(row: Contestant, owners: Sequence[Owner], page: int, expected: Mapping[str, Sequence[str]]) -> None:
    """Raise BenchError unless a server gives each owner the sessions `expected`, as `items` has them."""
    for owner in owners:
        canned = row.role == LIMIT and row.protocol == REST
        found = items(row, owner, page)
        if (len(found) != page) if canned else (found != expected[owner.name][:page]):
            raise BenchError(f"{row.protocol} {row.name}: other items than expected for {owner.name}: {found[:1]}")


def items(row: Contestant, owner: Owner, page: int) -> list[Any]:
    """Return a page in a form in which equal items of one protocol are equal."""
    if row.protocol == GRPC:
        return [_plain_message(message) for message in pb.ListSessionsResponse.FromString(raw_grpc(row, owner, page)).sessions]
    headers = {"authorization": f"Bearer {owner.token}", "x-developer-id": owner.name}
    response = httpx.get(f"http://127.0.0.1:{row.port}{path(page)}", headers=headers, timeout=SECONDS)
    if response.status_code != httpx.codes.OK:
        raise BenchError(f"{row.name}: {response.status_code} {response.text[:300]}")
    return [plain_json(item) for item in response.json()["items"]]

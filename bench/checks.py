"""Every server must answer the same items, before and after it is measured."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.request import Request, urlopen

import grpc
import orjson
from rollcall.v1 import session_pb2 as pb

from bench import data
from bench.contestants import GRPC, REST, Contestant
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


def expected_items(protocol: str, body: Mapping[str, Any], owner: str) -> Any:
    """Return what a server of a protocol must give for a session."""
    if protocol == REST:
        return _plain_json(body)
    return _plain_message(pb.Session(**data.grpc_document(owner, dict(body))))


def check(row: Contestant, owner: Owner, page: int, expected: Sequence[Any]) -> None:
    """Raise BenchError unless a server gives an owner the items `expected`, in their order.

    The canned limit gives everybody the same.
    """
    found = items(row, owner, page)
    same = len(found) == page if "canned" in row.name else found == list(expected[:page])
    if not same:
        begins = f"{found[:1]} instead of {expected[:1]}"
        raise BenchError(f"{row.protocol} {row.name} gives {owner.name} other items: {begins}")


def items(row: Contestant, owner: Owner, page: int) -> list[Any]:
    """Return a page in a form in which equal items of one protocol are equal."""
    if row.protocol == GRPC:
        answer = pb.ListSessionsResponse.FromString(raw_grpc(row.port, [owner], page)[0])
        return [_plain_message(message) for message in answer.sessions]
    return [_plain_json(item) for item in orjson.loads(raw_rest(row.port, owner, page))["items"]]


def raw_rest(port: int, owner: Owner, page: int) -> bytes:
    """Return the body of a page."""
    headers = {"authorization": f"Bearer {owner.token}", "x-developer-id": owner.name}
    call = Request(f"http://127.0.0.1:{port}{path(page)}", headers=headers)
    with urlopen(call, timeout=SECONDS) as response:  # noqa: S310 # always http
        body: bytes = response.read()
    return body


def raw_grpc(port: int, owners: Sequence[Owner], page: int) -> list[bytes]:
    """Return the serialized page of each owner; what a grpc client takes for an error is one."""
    options = [("grpc.max_receive_message_length", -1), ("grpc.enable_http_proxy", 0)]
    with grpc.insecure_channel(f"127.0.0.1:{port}", options) as channel:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"/{METHOD}")
        headers = [
            (("authorization", f"Bearer {owner.token}"), ("x-developer-id", owner.name)) for owner in owners
        ]
        try:
            return [call(request(page), timeout=SECONDS, metadata=each) for each in headers]
        except grpc.RpcError as error:
            raise BenchError(f"a call failed: {error}") from None


def _plain_json(item: Mapping[str, Any]) -> dict[str, Any]:
    times = {name: datetime.fromisoformat(item[name]) for name in ("created_at", "updated_at")}
    return {**item, **times}


def _plain_message(message: pb.Session) -> bytes:
    message.ClearField("etag")
    return message.SerializeToString(deterministic=True)

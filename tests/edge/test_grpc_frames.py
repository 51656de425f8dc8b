"""Native gRPC that no stub would send ends in a gRPC status, through Envoy and at the server's own port."""

import gzip
import struct
from collections.abc import Mapping
from typing import Any

import grpc
import pytest

from tests.edge.http2 import Http2, data
from tests.edge.proxies import Edge, manager_of, shipped

LIST = "/rollcall.v1.SessionService/ListSessions"
DOCUMENTED = "/rollcall.v1.RestService/ListRobots"
OK, INVALID, LATE, TOO_LARGE, UNIMPLEMENTED, INTERNAL = "0", "3", "4", "8", "12", "13"
FRAME = 16384
GROWTH_MB = 100


def message(content: bytes = b"", flag: int = 0, length: int | None = None) -> bytes:
    return struct.pack(">BI", flag, len(content) if length is None else length) + content


PACKED = ("grpc-encoding", "gzip")

BOMB = message(gzip.compress(bytes(40 << 20)), 1)

CALLS: dict[str, tuple[str, str, bytes, tuple[tuple[str, str], ...]]] = {
    "as it should be": (OK, LIST, message(), ()),
    "no time": (LATE, LIST, message(), (("grpc-timeout", "0n"),)),
    "the most time": (OK, LIST, message(), (("grpc-timeout", "99999999H"),)),
    "more time than digits": (OK, LIST, message(), (("grpc-timeout", "999999999999H"),)),
    "time that is none": (INTERNAL, LIST, message(), (("grpc-timeout", "abc"),)),
    "negative time": (INTERNAL, LIST, message(), (("grpc-timeout", "-1S"),)),
    "time without a unit": (INTERNAL, LIST, message(), (("grpc-timeout", "1"),)),
    "gzip": (OK, LIST, message(gzip.compress(b""), 1), (PACKED,)),
    "40 MB of zeros in 40 KB": (TOO_LARGE, LIST, BOMB, (PACKED,)),
    "10 MB of zeros in 10 KB": (INVALID, LIST, message(gzip.compress(bytes(10 << 20)), 1), (PACKED,)),
    "not gzip": (INTERNAL, LIST, message(b"nope", 1), (PACKED,)),
    "unknown encoding": (INTERNAL, LIST, message(b"nope", 1), (("grpc-encoding", "nope"),)),
    "packed, without an encoding": (INTERNAL, LIST, message(b"", 1), ()),
    "no message": (INVALID, LIST, b"", ()),
    "a part of a message": (INVALID, LIST, message(b"abc")[:6], ()),
    "a part of a message's length": (INVALID, LIST, message(b"abc")[:3], ()),
    "no message of a documented path's": (INVALID, DOCUMENTED, b"", ()),
    "no message of health's": (INVALID, "/grpc.health.v1.Health/Check", b"", ()),
    "no message of a watch's": (INVALID, "/grpc.health.v1.Health/Watch", b"", ()),
    "not a message of health's": (INVALID, "/grpc.health.v1.Health/Check", message(b"\xff\xff"), ()),
    "a length of 4 GB": (TOO_LARGE, LIST, message(b"x", 0, 0xFFFFFFFF), ()),
    "not a message": (INVALID, LIST, message(b"\xff\xff\xff\xff"), ()),
    "unknown method": (UNIMPLEMENTED, "/rollcall.v1.SessionService/Nope", message(), ()),
    "unknown service": (UNIMPLEMENTED, "/rollcall.v1.Nope/ListSessions", message(), ()),
    "a method with a query": (UNIMPLEMENTED, f"{LIST}?x=1", message(), ()),
    "a method in small letters": (UNIMPLEMENTED, LIST.lower(), message(), ()),
    "a documented path": (UNIMPLEMENTED, "/sessions", message(), ()),
    "a path of /v1": (UNIMPLEMENTED, "/v1/sessions", message(), ()),
}


def called(
    port: int, path: str, body: bytes, *headers: tuple[str, str], kind: str = "application/grpc"
) -> Mapping[str, str]:
    """Make a native call of any form; return headers and trailers of its answer."""
    with Http2(port) as client:
        native = [("content-type", kind), ("te", "trailers")]
        client.send(client.opening(path, *native, *headers, method="POST", ends=False))
        pieces = [body[start : start + FRAME] for start in range(0, len(body), FRAME)] or [b""]
        for number, piece in enumerate(pieces, 1):
            client.send(data(client.stream, piece, ends=number == len(pieces)))
        return client.fields(client.stream)


@pytest.mark.parametrize("front", ["Envoy", "server"])
@pytest.mark.parametrize("name", CALLS)
def test_a_strange_call_ends_in_a_status(edge: Edge, name: str, front: str) -> None:
    status, path, body, headers = CALLS[name]
    port = edge.port if front == "Envoy" else edge.stack.settings.grpc_port
    answer = called(port, path, body, edge.authorization(), *headers)
    assert (answer[":status"], answer["grpc-status"]) == ("200", status)
    assert "Traceback" not in answer.get("grpc-message", "")


def test_packed_zeros_leave_nothing_in_the_servers_memory(edge: Edge) -> None:
    server = edge.stack.part("serve")
    parts = [server, *server.children(recursive=True)]
    before = sum(part.memory_info().rss for part in parts)
    for _ in range(5):
        assert called(edge.port, LIST, BOMB, PACKED)["grpc-status"] == TOO_LARGE
    assert sum(part.memory_info().rss for part in parts) < before + (GROWTH_MB << 20)


@pytest.mark.parametrize(
    "kind",
    [
        "application/grpc-web",
        "application/grpc-web+proto",
        "application/grpc-web-text",
        "application/grpcx",
        "",
    ],
)
def test_what_is_not_grpc_is_not_passed_on_as_grpc(edge: Edge, kind: str) -> None:
    answer = called(edge.port, LIST, message(), edge.authorization(), kind=kind)
    assert (answer[":status"], answer["content-type"]) == ("404", "application/json")


@pytest.mark.parametrize("front", ["Envoy", "server"])
@pytest.mark.parametrize("megabytes", [17, 20])
def test_a_message_over_the_limit_is_exhausted(edge: Edge, megabytes: int, front: str) -> None:
    port = edge.port if front == "Envoy" else edge.stack.settings.grpc_port
    with grpc.insecure_channel(
        f"127.0.0.1:{port}", options=[("grpc.max_send_message_length", -1)]
    ) as channel:
        call: Any = channel.unary_unary(LIST)
        with pytest.raises(grpc.RpcError) as refusal:
            call(bytes(megabytes << 20), metadata=(edge.authorization(),))
    assert refusal.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_native_call_that_is_never_answered_ends() -> None:
    routes = manager_of(shipped())["route_config"]["virtual_hosts"][0]["routes"]
    endless = [
        route["match"]["prefix"] for route in routes if route.get("route", {}).get("idle_timeout") == "0s"
    ]
    # As gRPC's own services have watches; all else ends by `stream_idle_timeout`.
    assert endless == ["/grpc."]

"""What strangers hold open for nothing takes no place from a call that could be answered."""

import contextlib
from collections.abc import Iterator

import grpc
import pytest
from rollcall.v1 import session_pb2, session_pb2_grpc

from tests.edge.documented import PATHS, ask
from tests.edge.http2 import Http2, data
from tests.edge.proxies import ROOT, Edge, shipped
from tests.edge.test_grpc_frames import LIST, OK, called, message
from tests.parts import wait_until

STREAMS = 250
"""About as many as a connection may have."""
NATIVE = (("content-type", "application/grpc"), ("te", "trailers"))
WATCH = "/grpc.health.v1.Health/Watch"
CONFIG = (ROOT / "generated/rollcall/v1/service_config.json").read_text()
SECONDS = 20
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"

UNFINISHED = {
    "nothing": b"",
    "a part of a message": message(b"abc")[:4],
    "a message without an end": message(),
}


def bound(cluster: str) -> int:
    """Return how many calls the shipped file lets wait for an answer at a time."""
    [found] = [one for one in shipped()["static_resources"]["clusters"] if one["name"] == cluster]
    return int(found["circuit_breakers"]["thresholds"][0]["max_requests"])


@contextlib.contextmanager
def held(edge: Edge, path: str, body: bytes, number: int, *, ends: bool) -> Iterator[None]:
    """Have so many native calls open in the block, without credentials."""
    with contextlib.ExitStack() as connections:
        for start in range(0, number, STREAMS):
            client = connections.enter_context(Http2(edge.port))
            for _ in range(start, min(start + STREAMS, number)):
                client.send(client.opening(path, *NATIVE, method="POST", ends=False))
                client.send(data(client.stream, body, ends=ends))
        yield
    wait_until(lambda: edge.stat("http.rest.downstream_rq_active") == 0)


def expect_answers(edge: Edge) -> None:
    """Every documented path is answered, and a typed call."""
    assert {path: ask(edge, path).status for path in PATHS.values()} == dict.fromkeys(PATHS.values(), 200)
    assert called(edge.port, LIST, message(), edge.authorization())["grpc-status"] == OK


@pytest.mark.parametrize("body", UNFINISHED.values(), ids=UNFINISHED)
def test_calls_that_never_end_keep_nobody_out(served: Edge, body: bytes) -> None:
    number = 2 * bound("rollcall")
    with held(served, LIST, body, number, ends=False):
        wait_until(lambda: served.stat("http.rest.downstream_rq_active") >= number)
        expect_answers(served)


@pytest.mark.parametrize(("path", "ends"), [(WATCH, True), (WATCH, False), (REFLECTION, False)])
def test_watches_keep_nothing_out_but_watches(served: Edge, path: str, ends: bool) -> None:
    number = bound("watches")
    with held(served, path, message(), number + STREAMS, ends=ends):
        wait_until(lambda: served.stat("cluster.watches.upstream_rq_active") >= number)
        expect_answers(served)


def test_a_new_client_with_the_shipped_config_is_served_while_watches_are_held(served: Edge) -> None:
    number = bound("watches")
    options = [("grpc.service_config", CONFIG), ("grpc.use_local_subchannel_pool", 1)]
    with held(served, WATCH, message(), number + STREAMS, ends=True):
        wait_until(lambda: served.stat("cluster.watches.upstream_rq_active") >= number)
        refused = served.stat("cluster.watches.upstream_rq_active_overflow")
        with grpc.insecure_channel(f"127.0.0.1:{served.port}", options) as channel:
            answer = session_pb2_grpc.SessionServiceStub(channel).ListSessions(
                session_pb2.ListSessionsRequest(), metadata=(served.authorization(),), timeout=SECONDS
            )
        assert answer.sessions
        assert served.stat("cluster.watches.upstream_rq_active_overflow") > refused, "it has not watched"

"""Frames that no gRPC client sends: cut, false lengths, false flags, compression that lies or explodes."""

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import grpc
import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rollcall.v1 import session_pb2

from tests.fuzz.report import Row, fuzzing, tries
from tests.fuzz.verdict import quiet_log, unmasked
from tests.services import kit
from tests.stack import Stack

METHOD = "/rollcall.v1.SessionService/ListSessions"
DOCUMENTED = "/rollcall.v1.RestService/ListSessions"
SECONDS = 30

GOOD = session_pb2.ListSessionsRequest(page_size=3, order_by="updated_at").SerializeToString()


def frame(data: bytes, flag: int = 0, length: int | None = None) -> bytes:
    return bytes((flag,)) + (len(data) if length is None else length).to_bytes(4, "big") + data


@dataclass(frozen=True)
class Wire:
    """A client that sends whatever bytes it is given, and where to: the server, Envoy."""

    client: httpx.Client
    addresses: tuple[str, str]


@pytest.fixture(scope="module")
def wire(stack: Stack) -> Iterator[Wire]:
    headers = {
        "content-type": "application/grpc",
        "te": "trailers",
        "authorization": f"Bearer {kit.writer(stack).token}",
    }
    with quiet_log(stack), httpx.Client(http1=False, http2=True, headers=headers, timeout=SECONDS) as client:
        yield Wire(client, (stack.grpc, stack.envoy_grpc))


WHOLE = st.one_of(
    st.builds(frame, st.binary(max_size=40), st.integers(0, 1)),
    st.builds(frame, st.just(GOOD), st.just(0), st.integers(0, len(GOOD) - 1)),
    st.integers(1, 4).map(lambda times: frame(GOOD) * times),
    st.sampled_from((gzip.compress(GOOD), zlib.compress(GOOD), b"\x1f\x8b")).map(lambda data: frame(data, 1)),
)
PARTIAL = st.one_of(
    st.integers(0, len(GOOD)).map(lambda size: frame(GOOD)[:size]),
    st.builds(frame, st.just(GOOD), st.integers(2, 255)),
    st.builds(frame, st.just(GOOD), st.integers(0, 1), st.integers(len(GOOD) + 1, 1000)),
)
ENCODINGS = st.sampled_from((None, "identity", "gzip", "deflate", "br", ""))
BOMB = frame(gzip.compress(bytes(20 << 20)), 1)


def judged(row: Row, answer: httpx.Response) -> None:
    status, text = answer.headers.get("grpc-status", "0"), answer.headers.get("grpc-message", "")
    row.count(refused=status != "0" or answer.is_client_error)
    row.unmasked += unmasked(text) is not None
    assert unmasked(text) is None, text
    row.unexpected += answer.is_server_error
    assert not answer.is_server_error
    # INTERNAL is grpc's own word for what it cannot decompress.
    assert int(status) != grpc.StatusCode.UNKNOWN.value[0], text


@tries(20, 1500)
@given(st.sampled_from((0, 1)), st.sampled_from((METHOD, DOCUMENTED)), ENCODINGS, WHOLE)
@example(0, METHOD, "gzip", BOMB)
@example(1, METHOD, "gzip", BOMB)
@example(0, METHOD, None, frame(b"", 0, 2**32 - 1))
@example(1, METHOD, None, frame(b"", 0, 2**32 - 1))
def test_false_frames_are_an_error_of_the_call_and_of_no_handler(
    wire: Wire, door: int, path: str, encoding: str | None, body: bytes
) -> None:
    headers = {} if encoding is None else {"grpc-encoding": encoding}
    with fuzzing("frames") as row:
        judged(row, wire.client.post(f"http://{wire.addresses[door]}{path}", content=body, headers=headers))


@tries(20, 1500)
@given(st.sampled_from((0, 1)), st.sampled_from((METHOD, DOCUMENTED)), PARTIAL)
def test_a_call_without_a_whole_message_is_answered(wire: Wire, door: int, path: str, body: bytes) -> None:
    with fuzzing("frames") as row:
        answer = wire.client.post(f"http://{wire.addresses[door]}{path}", content=body)
        judged(row, answer)
        assert len(body) == len(frame(GOOD)) or answer.headers["grpc-status"] != "0"


@pytest.mark.parametrize("name", ["%", "a!b", "'`^|~#$&*+", "x-bin", "a_b", "a.b"])
def test_a_header_that_cannot_be_metadata_is_nothing_to_a_documented_path(stack: Stack, name: str) -> None:
    answer = stack.get("/session", stack.token(f"u-{name}"), headers={name: "!!!"})
    assert (answer.status_code, answer.json()) == (200, [])

"""Frames that no gRPC client sends: cut, false lengths, false flags, compression that lies or explodes."""

import gzip
import zlib
from collections.abc import Iterator

import grpc
import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rollcall.v1 import session_pb2

from tests.fuzz.report import fuzzing, tries
from tests.fuzz.verdict import quiet_log, unmasked
from tests.services import kit
from tests.stack import Stack

METHOD = "/rollcall.v1.SessionService/ListSessions"
DOCUMENTED = "/rollcall.v1.RestService/ListSessions"
SECONDS = 30

GOOD = session_pb2.ListSessionsRequest(page_size=3, metadata_filter={"a": "b"}).SerializeToString()


def frame(data: bytes, flag: int = 0, length: int | None = None) -> bytes:
    return bytes((flag,)) + (len(data) if length is None else length).to_bytes(4, "big") + data


@pytest.fixture(scope="module")
def wire(stack: Stack) -> Iterator[tuple[httpx.Client, tuple[str, str]]]:
    token = kit.writer(stack).token
    headers = {"te": "trailers", "authorization": f"Bearer {token}"}
    with quiet_log(stack), httpx.Client(http1=False, http2=True, headers=headers, timeout=SECONDS) as client:
        yield client, (stack.grpc, stack.envoy_grpc)


FRAMES = st.one_of(
    st.builds(frame, st.binary(max_size=40), st.integers(0, 255)),
    st.builds(frame, st.just(GOOD), st.integers(0, 255)),
    st.builds(frame, st.just(GOOD), st.just(0), st.integers(0, 60)),
    st.builds(lambda size: frame(GOOD)[:size], st.integers(0, 20)),
    st.builds(lambda times: frame(GOOD) * times, st.integers(0, 4)),
    st.sampled_from((gzip.compress(GOOD), zlib.compress(GOOD), b"\x1f\x8b")).map(lambda data: frame(data, 1)),
    st.binary(max_size=40),
)
TYPES = ("application/grpc", "application/grpc+proto", "application/grpc+json", "application/grpc-web")


@tries(100, 4000)
@given(
    st.sampled_from((0, 1)),
    st.sampled_from((METHOD, DOCUMENTED)),
    st.sampled_from((*TYPES[:1] * 6, *TYPES)),
    st.sampled_from((None, "identity", "gzip", "deflate", "br", "")),
    FRAMES,
)
@example(0, METHOD, TYPES[0], "gzip", frame(gzip.compress(bytes(64 << 20)), 1))
@example(1, METHOD, TYPES[0], "gzip", frame(gzip.compress(bytes(64 << 20)), 1))
@example(0, METHOD, TYPES[0], None, frame(b"", 0, 2**32 - 1))
@example(1, METHOD, TYPES[0], None, frame(b"", 0, 2**32 - 1))
def test_false_frames_are_an_error_of_the_call_and_of_no_handler(  # noqa: PLR0913, PLR0917 # what is drawn
    wire: tuple[httpx.Client, tuple[str, str]],
    door: int,
    path: str,
    content_type: str,
    encoding: str | None,
    body: bytes,
) -> None:
    client, addresses = wire
    headers = {"content-type": content_type} | ({} if encoding is None else {"grpc-encoding": encoding})
    with fuzzing("frames") as row:
        try:
            answer = client.post(f"http://{addresses[door]}{path}", content=body, headers=headers)
        except httpx.RemoteProtocolError:
            row.count(refused=True)  # grpc resets the stream of a call without a message.
            return
        status = answer.headers.get("grpc-status", "0")
        text = answer.headers.get("grpc-message", "")
        row.count(refused=status != "0" or answer.is_client_error)
        row.unmasked += unmasked(text) is not None
        assert unmasked(text) is None, text
        row.unexpected += answer.is_server_error
        assert not answer.is_server_error
        assert int(status) != grpc.StatusCode.UNKNOWN.value[0], text
        print(door, answer.status_code, status, text, body[:10])

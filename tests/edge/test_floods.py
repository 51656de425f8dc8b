"""HTTP/2 frames that cost their sender nothing: they end the sender's connection, and nobody else's."""

from collections.abc import Callable

import pytest
from hpack import Encoder
from hyperframe.frame import ContinuationFrame, PingFrame, PriorityFrame, SettingsFrame, WindowUpdateFrame

from tests.edge.http2 import Http2, data, reset
from tests.edge.proxies import Edge, manager_of, shipped
from tests.parts import wait_until

ROUNDS = 200
GROWTH_MB = 50
"""What a flood may leave behind in Envoy: pools that grow once, and the machine's moods."""

Credentials = tuple[str, str]
Round = Callable[[Http2, Credentials], bytes]


def rapid_reset(client: Http2, credentials: Credentials) -> bytes:
    return b"".join(client.opening("/session", credentials) + reset(client.stream) for _ in range(50))


def made_to_reset(client: Http2, credentials: Credentials) -> bytes:
    """Let the other side do the resetting, by frames that break a rule (CVE-2025-8671)."""
    nothing = WindowUpdateFrame
    return b"".join(
        client.opening("/session", credentials) + nothing(client.stream, window_increment=0).serialize()
        for _ in range(50)
    )


def data_after_the_end(client: Http2, credentials: Credentials) -> bytes:
    return b"".join(client.opening("/session", credentials) + data(client.stream, b"x") for _ in range(50))


def broken_headers(client: Http2, credentials: Credentials) -> bytes:
    return b"".join(client.opening("/session", credentials, ("a b", "c")) for _ in range(50))


def settings(_: Http2, __: Credentials) -> bytes:
    return bytes(SettingsFrame(0, settings={SettingsFrame.MAX_CONCURRENT_STREAMS: 1}).serialize()) * 500


def pings(_: Http2, __: Credentials) -> bytes:
    return bytes(PingFrame(0, b"12345678").serialize()) * 500


def priorities(_: Http2, __: Credentials) -> bytes:
    return bytes(PriorityFrame(1, depends_on=0, stream_weight=1).serialize()) * 500


def connection_windows(_: Http2, __: Credentials) -> bytes:
    return bytes(WindowUpdateFrame(0, window_increment=1).serialize()) * 500


def upload(client: Http2, credentials: Credentials) -> bytes:
    """Open a stream, once, that takes a body."""
    opened = client.stream > 0
    return b"" if opened else client.opening("/v1/sessions", credentials, method="POST", ends=False)


def stream_windows(client: Http2, credentials: Credentials) -> bytes:
    start = upload(client, credentials)
    return start + bytes(WindowUpdateFrame(client.stream, window_increment=1).serialize()) * 500


def empty_data(client: Http2, credentials: Credentials) -> bytes:
    return upload(client, credentials) + data(client.stream) * 500


def empty_continuations(client: Http2, _: Credentials) -> bytes:
    start = b"" if client.stream > 0 else client.block(b"", whole=False)
    return start + bytes(ContinuationFrame(client.stream, b"").serialize()) * 500


def full_continuations(client: Http2, _: Credentials) -> bytes:
    start = b"" if client.stream > 0 else client.block(b"", whole=False)
    header = b"\x00\x01a\x7f\x01" + b"x" * 128
    return start + bytes(ContinuationFrame(client.stream, header * 20).serialize()) * 10


def unopened_streams(_: Http2, __: Credentials) -> bytes:
    return b"".join(reset(stream) for stream in range(1, 1001, 2))


FLOODS: dict[str, Round] = {
    "rapid reset": rapid_reset,
    "made to reset": made_to_reset,
    "DATA after the end": data_after_the_end,
    "headers that break a rule": broken_headers,
    "SETTINGS": settings,
    "PING": pings,
    "PRIORITY": priorities,
    "WINDOW_UPDATE of the connection": connection_windows,
    "WINDOW_UPDATE of a stream": stream_windows,
    "empty DATA": empty_data,
    "empty CONTINUATION": empty_continuations,
    "CONTINUATION with headers": full_continuations,
    "RST_STREAM of streams that are not open": unopened_streams,
}


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_ends_its_own_connection_and_no_other(edge: Edge, name: str) -> None:
    credentials = edge.authorization()
    with Http2(edge.port) as neighbour, Http2(edge.port) as flooding:
        assert neighbour.answered("/session", credentials) == 200
        before = edge.megabytes()
        for _ in range(ROUNDS):
            if not flooding.send(FLOODS[name](flooding, credentials)):
                break
        assert neighbour.answered("/session", credentials) == 200
        assert flooding.is_ended()
        assert edge.megabytes() < before + GROWTH_MB
    # What was begun for it has ended too.
    wait_until(lambda: edge.stat("cluster.rollcall.upstream_rq_active") == 0)


def test_a_rapid_reset_reaches_the_server_with_few_of_its_calls(edge: Edge) -> None:
    credentials = edge.authorization()
    before = edge.stat("cluster.rollcall.upstream_rq_total")
    with Http2(edge.port) as flooding:
        for _ in range(ROUNDS):
            if not flooding.send(rapid_reset(flooding, credentials)):
                break
        opened = flooding.stream // 2
        assert flooding.is_ended()
    assert opened > 200
    # Sixteen; two hundred, if all that one read brings were begun at once.
    assert edge.stat("cluster.rollcall.upstream_rq_total") - before < 100


def test_more_streams_than_a_connection_may_have_are_refused(edge: Edge) -> None:
    credentials = edge.authorization()
    with Http2(edge.port) as client:
        for _ in range(300):
            client.send(client.opening("/v1/sessions", credentials, method="POST", ends=False))
        assert client.status(client.stream) is None
        assert not client.closed
        client.send(reset(1))
        assert client.answered("/session", credentials) == 200


def test_headers_that_unpack_to_megabytes_are_refused(edge: Edge) -> None:
    credentials = edge.authorization()
    pseudo = [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/session")]
    large = [("x-large", "a" * 3500)]
    encoder = Encoder()
    with Http2(edge.port) as client:
        client.send(client.block(encoder.encode(pseudo + large)))
        assert client.status(client.stream) == 401
        before = edge.megabytes()
        for _ in range(50):
            # A byte for each: 14 MB.
            client.send(client.block(encoder.encode(pseudo + large * 4000)))
        assert client.status(client.stream) in {None, 431}
        assert edge.megabytes() < before + GROWTH_MB
    with Http2(edge.port) as client:
        assert client.answered("/session", credentials) == 200


def test_the_shipped_file_names_its_limits() -> None:
    config = shipped()
    options = manager_of(config)["http2_protocol_options"]
    assert {name: value for name, value in options.items() if name.startswith("max_")} == {
        "max_concurrent_streams": 256,
        "max_outbound_frames": 10000,
        "max_outbound_control_frames": 1000,
        "max_consecutive_inbound_frames_with_empty_payload": 1,
        "max_inbound_priority_frames_per_stream": 100,
        "max_inbound_window_update_frames_per_data_frame_sent": 10,
    }
    [layer] = config["layered_runtime"]["layers"]
    assert layer["static_layer"] == {
        "overload.premature_reset_total_stream_count": 500,
        "overload.premature_reset_min_stream_lifetime_seconds": 1,
        "http.max_requests_per_io_cycle": 16,
    }

"""Raw HTTP/2: frames of any kind, in any order and number."""

import contextlib
import select
import socket
import time
from collections.abc import Iterator
from typing import Self

from hpack import Decoder, Encoder
from hyperframe.frame import DataFrame, Frame, GoAwayFrame, HeadersFrame, RstStreamFrame, SettingsFrame

from tests.edge.wire import SECONDS, connect

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
FRAME_HEAD = 9
SETTINGS_ACK = SettingsFrame(0, flags=["ACK"]).serialize()
NO_ERROR, ENHANCE_YOUR_CALM = 0, 11

Headers = list[tuple[str, str]]


class Http2:
    """A connection of a client that knows no rules. It opens streams 1, 3, 5 and so on."""

    def __init__(self, port: int) -> None:
        self._sock: socket.socket = connect(port)
        self._encoder = Encoder()
        self._decoder = Decoder()
        self._buffer = b""
        self._next = 1
        self.closed = False
        self.goaway: int | None = None
        """The error code of the other side's GOAWAY."""
        self.send(PREFACE + SettingsFrame(0).serialize())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._sock.close()

    def opening(self, path: str, *more: tuple[str, str], method: str = "GET", ends: bool = True) -> bytes:
        """Return the HEADERS frame that opens the next stream."""
        headers: Headers = [
            (":method", method),
            (":scheme", "http"),
            (":authority", "a"),
            (":path", path),
            *more,
        ]
        return self.block(self._encoder.encode(headers), ends=ends)

    def block(self, fragment: bytes, *, ends: bool = True, whole: bool = True) -> bytes:
        """Return the HEADERS frame of a header block, which is complete if `whole`."""
        flags = [name for name, on in (("END_HEADERS", whole), ("END_STREAM", ends)) if on]
        frame = HeadersFrame(self._next, fragment, flags=flags)
        self._next += 2
        return bytes(frame.serialize())

    @property
    def stream(self) -> int:
        """The stream that was opened last."""
        return self._next - 2

    def send(self, data: bytes) -> bool:
        """Send, reading meanwhile what comes; return whether the other side is still there."""
        with contextlib.suppress(ConnectionError):
            self._sock.settimeout(SECONDS)
            view = memoryview(data)
            while view and not self.closed:
                readable, writable, _ = select.select([self._sock], [self._sock], [], SECONDS)
                if readable:
                    self._read()
                if writable:
                    view = view[self._sock.send(view[: 1 << 16]) :]
            return not self.closed
        self.closed = True
        return False

    def frames(self, seconds: float = SECONDS) -> Iterator[Frame]:
        """Yield frames as they come, until the other side closes or `seconds` are over."""
        end = time.monotonic() + seconds
        while True:
            yield from self._parsed()
            if self.closed or time.monotonic() > end:
                return
            if select.select([self._sock], [], [], max(0.0, end - time.monotonic()))[0]:
                self._read()

    def fields(self, stream: int, *, until_the_end: bool = True) -> dict[str, str]:
        """Return headers and trailers of an answer; empty if the stream or the connection is reset before."""
        found: dict[str, str] = {}
        for frame in self.frames():
            if frame.stream_id != stream:
                continue
            if isinstance(frame, RstStreamFrame):
                break
            if isinstance(frame, HeadersFrame):
                found |= {str(name): str(value) for name, value in self._decoder.decode(frame.data)}
                if not until_the_end:
                    break
            if "END_STREAM" in frame.flags:
                break
        return found

    def status(self, stream: int) -> int | None:
        """Return the status that a stream is answered with; None if it or the connection is reset."""
        status = self.fields(stream, until_the_end=False).get(":status")
        return None if status is None else int(status)

    def answered(self, path: str, *more: tuple[str, str]) -> int | None:
        """Make a call; return its status."""
        self.send(self.opening(path, *more))
        return self.status(self.stream)

    def is_ended(self, seconds: float = SECONDS) -> bool:
        """Return whether the other side closes the connection."""
        for _ in self.frames(seconds):
            pass
        return self.closed

    def _read(self) -> None:
        try:
            data = self._sock.recv(1 << 16)
        except ConnectionError:
            data = b""
        self.closed = not data
        self._buffer += data

    def _parsed(self) -> Iterator[Frame]:
        while len(self._buffer) >= FRAME_HEAD:
            frame, length = Frame.parse_frame_header(memoryview(self._buffer[:FRAME_HEAD]))
            if len(self._buffer) < FRAME_HEAD + length:
                return
            frame.parse_body(memoryview(self._buffer[FRAME_HEAD : FRAME_HEAD + length]))
            self._buffer = self._buffer[FRAME_HEAD + length :]
            if isinstance(frame, GoAwayFrame):
                self.goaway = frame.error_code
            if isinstance(frame, SettingsFrame) and "ACK" not in frame.flags:
                self.send(SETTINGS_ACK)
            yield frame


def data(stream: int, payload: bytes = b"", *, ends: bool = False) -> bytes:
    return bytes(DataFrame(stream, payload, flags=["END_STREAM"] if ends else []).serialize())


def reset(stream: int) -> bytes:
    return bytes(RstStreamFrame(stream, error_code=8).serialize())

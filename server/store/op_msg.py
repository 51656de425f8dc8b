"""A connection to MongoDB that carries one command at a time: one write, one read.

The driver has opened it, with TLS and credentials as the URI says, and lets go of its transport.
The wire format is MongoDB's OP_MSG: a header, flags, and one BSON document.
"""

import asyncio
import struct
from collections.abc import Mapping
from typing import Any

import bson

_OP_MSG = 2013
_HEADER = struct.Struct("<iiiiIB")
"""Length, request, the request that it answers, opcode, flags, kind of the section."""
_LENGTH_BYTES = 4
_BODY = 0
MAX_MESSAGE_BYTES = 48_000_000
"""MongoDB's own limit."""
BUFFER_BYTES = 64 << 10
KEPT_BYTES = 256 << 10
"""A larger buffer is not kept for the next reply."""
_MAX_REQUEST = 2**31 - 1
_NO_BYTES = memoryview(bytearray(1))
"""Where a connection that ends puts what still comes."""


class OpMsg(asyncio.BufferedProtocol):
    """The protocol of such a connection."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._buffer = memoryview(bytearray(BUFFER_BYTES))
        self._filled = 0
        self._wanted = 0
        self._request = 0
        self._reply: asyncio.Future[None] | None = None
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        """Done when the connection has ended."""
        transport.set_protocol(self)
        transport.resume_reading()

    async def ask(self, command: Mapping[str, Any], end: float) -> dict[str, Any]:
        """Return the reply to a command, if it comes before the event loop's time `end`.

        Raises TimeoutError if not, OSError if the connection ends, InvalidBSON if the reply is
        damaged.  After an error, and after a cancellation, the connection cannot be used any more.
        """
        if self._transport.is_closing():
            raise ConnectionResetError
        self._request = self._request % _MAX_REQUEST + 1
        timer = self._loop.call_at(end, self._expire)
        try:
            body = bson.encode(command)
            header = _HEADER.pack(_HEADER.size + len(body), self._request, 0, _OP_MSG, 0, _BODY)
            self._reply = self._loop.create_future()
            self._transport.write(header + body)
            await self._reply
            return self._taken()
        except BaseException:
            self._transport.abort()
            self._filled, self._buffer = 0, _NO_BYTES
            raise
        finally:
            timer.cancel()
            self._reply = None

    def close(self) -> None:
        """End the connection at once."""
        self._transport.abort()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 # asyncio's signature
        """Return where the next bytes go."""
        return self._buffer[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        """Take note of bytes; the last ones of a reply wake whoever waits for it."""
        if self._transport.is_closing():
            return
        self._filled += nbytes
        if not self._wanted:
            if self._filled < _LENGTH_BYTES:
                return
            self._wanted = int.from_bytes(self._buffer[:_LENGTH_BYTES], "little", signed=True)
            if not _HEADER.size < self._wanted <= MAX_MESSAGE_BYTES:
                self._fail(ConnectionResetError("a reply of an impossible length"))
                return
            if self._wanted >= len(self._buffer):
                # An event loop may ask where the next bytes would go when all are there.
                grown = memoryview(bytearray(self._wanted + 1))
                grown[: self._filled] = self._buffer[: self._filled]
                self._buffer = grown
        if self._filled < self._wanted:
            return
        if self._filled > self._wanted or self._reply is None or self._reply.done():
            self._fail(ConnectionResetError("a reply that nobody has asked for"))
            return
        self._reply.set_result(None)

    def eof_received(self) -> None:
        """Let the transport close."""

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 # asyncio's signature
        """Wake whoever waits for a reply."""
        self._fail(ConnectionResetError())
        if not self.ended.done():
            self.ended.set_result(None)

    def _taken(self) -> dict[str, Any]:
        """Return the reply in the buffer, which is then free for the next one."""
        size, self._wanted, self._filled = self._wanted, 0, 0
        _, _, answers, opcode, flags, section = _HEADER.unpack_from(self._buffer)
        if (answers, opcode, flags, section) != (self._request, _OP_MSG, 0, _BODY):
            raise ConnectionResetError("a reply of another form")
        found: dict[str, Any] = bson.decode(self._buffer[_HEADER.size : size])
        if len(self._buffer) > KEPT_BYTES:
            self._buffer = memoryview(bytearray(BUFFER_BYTES))
        return found

    def _expire(self) -> None:
        self._fail(TimeoutError())

    def _fail(self, error: Exception) -> None:
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(error)
        self._transport.abort()

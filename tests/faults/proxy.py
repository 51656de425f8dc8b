"""A TCP proxy that does to a connection what networks and dying machines do."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from typing import Self

HOST = "127.0.0.1"
_CHUNK = 1 << 16
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_LENGTH_BYTES = 4


class Fault:
    """What happens to the bytes; this one lets them pass."""

    accepts = True
    """Whether there is somebody who listens."""
    cuts = False
    """Whether it ends the connections that are there."""

    async def request(self, pipe: "Pipe", data: bytes) -> None:
        await pipe.send(data)

    async def reply(self, pipe: "Pipe", data: bytes) -> None:
        await pipe.send(data)


class Refuse(Fault):
    accepts = False
    cuts = True


class ResetMidReply(Fault):
    async def reply(self, pipe: "Pipe", data: bytes) -> None:
        await pipe.send(data[: len(data) // 2])
        pipe.reset()


class Stall(Fault):
    """Keep every connection and forward nothing until the fault is over."""

    async def request(self, pipe: "Pipe", data: bytes) -> None:
        await pipe.changed()
        await pipe.send(data)

    reply = request


class Latency(Fault):
    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def reply(self, pipe: "Pipe", data: bytes) -> None:
        await asyncio.sleep(self._seconds)
        await pipe.send(data)


class Drip(Fault):
    """Replies come a few bytes at a time."""

    def __init__(self, size: int, seconds: float) -> None:
        self._size = size
        self._seconds = seconds

    async def reply(self, pipe: "Pipe", data: bytes) -> None:
        for start in range(0, len(data), self._size):
            await pipe.send(data[start : start + self._size])
            if pipe.fault is self:
                await asyncio.sleep(self._seconds)


class CloseAfter(Fault):
    """Every connection ends in good order after so many bytes of replies."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._taken: dict[Pipe, int] = {}

    async def reply(self, pipe: "Pipe", data: bytes) -> None:
        taken = self._taken.get(pipe, 0)
        self._taken[pipe] = taken + len(data)
        await pipe.send(data[: max(0, self._size - taken)])
        if taken + len(data) >= self._size:
            pipe.close()


class CorruptLength(Fault):
    """Every message of MongoDB's protocol says a length that is not its own."""

    def __init__(self, wrong: Callable[[int], int]) -> None:
        self._wrong = wrong

    async def reply(self, pipe: "Pipe", data: bytes) -> None:
        # A connection that had a message under way ends, as nothing in it is a length.
        if pipe.message_left:
            pipe.reset()
            return
        length = int.from_bytes(data[:_LENGTH_BYTES], "little", signed=True)
        wrong = self._wrong(length).to_bytes(_LENGTH_BYTES, "little", signed=True)
        await pipe.send(wrong + data[_LENGTH_BYTES:])


PASS = Fault()


class Pipe:
    """One direction of one connection."""

    def __init__(self, proxy: "FaultProxy", writer: asyncio.StreamWriter, *, has_replies: bool) -> None:
        self._proxy = proxy
        self._writer = writer
        self._has_replies = has_replies
        self.message_left = 0

    @property
    def fault(self) -> Fault:
        return self._proxy.fault

    async def pump(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                deliver = self.fault.reply if self._has_replies else self.fault.request
                await deliver(self, data)
                self._count(data)

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def changed(self) -> None:
        """Wait until the fault is another one."""
        await self._proxy.changed()

    def close(self) -> None:
        self._writer.close()

    def reset(self) -> None:
        sock = self._writer.get_extra_info("socket")
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._writer.transport.abort()

    def _count(self, data: bytes) -> None:
        """Keep count of where a message of MongoDB's ends: each begins with its length."""
        while data:
            if not self.message_left:
                length = int.from_bytes(data[:_LENGTH_BYTES], "little", signed=True)
                self.message_left = max(length, _LENGTH_BYTES)
            taken = min(self.message_left, len(data))
            self.message_left -= taken
            data = data[taken:]


class FaultProxy:
    """Stands before `target_port`; `port` is its own."""

    def __init__(self, target_port: int, port: int) -> None:
        self._target_port = target_port
        self.port = port
        self.fault = PASS
        self._server: asyncio.Server | None = None
        self._changes = asyncio.Event()
        self._connections: dict[asyncio.Task[None], tuple[Pipe, ...]] = {}

    @property
    def connections(self) -> int:
        return len(self._connections)

    async def __aenter__(self) -> Self:
        await self.set(PASS)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._shut()
        self.cut()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def set(self, fault: Fault) -> None:
        """Have this fault from now on."""
        self.fault = fault
        self._changes.set()
        self._changes = asyncio.Event()
        if fault.accepts:
            await self._open()
        else:
            await self._shut()
        if fault.cuts:
            self.cut()

    def cut(self) -> None:
        """Reset every connection."""
        for task, pipes in list(self._connections.items()):
            for pipe in pipes:
                pipe.reset()
            task.cancel()

    async def changed(self) -> None:
        await self._changes.wait()

    async def _open(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, HOST, self.port, backlog=1000)

    async def _shut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A task of ours: asyncio's own would report its cancellation as an error.
        loop = asyncio.get_running_loop()
        back = Pipe(self, writer, has_replies=True)
        task = loop.create_task(self._connect(reader, back))
        self._connections[task] = (back,)
        task.add_done_callback(lambda done: self._connections.pop(done, None))

    async def _connect(self, reader: asyncio.StreamReader, back: Pipe) -> None:
        try:
            target_reader, target = await asyncio.open_connection(HOST, self._target_port)
        except OSError:
            back.reset()
            return
        there = Pipe(self, target, has_replies=False)
        task = asyncio.current_task()
        assert task is not None
        self._connections[task] = back, there
        pumps = [asyncio.create_task(there.pump(reader)), asyncio.create_task(back.pump(target_reader))]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            for pipe in (back, there):
                pipe.close()

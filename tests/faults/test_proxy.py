"""The fault proxy does what its faults are called."""

import asyncio
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.faults.proxy import (
    HOST,
    CloseAfter,
    CorruptLength,
    Drip,
    Fault,
    FaultProxy,
    Latency,
    Refuse,
    ResetMidReply,
    Stall,
)
from tests.faults.waiting import until
from tests.stack import free_port

MESSAGE = struct.pack("<i", 24) + b"twenty bytes of text"
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
async def proxy() -> AsyncIterator[FaultProxy]:
    """A proxy before a server that sends back what it gets."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1 << 16):
                writer.write(data)
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(echo, HOST, port := free_port())
    async with server, FaultProxy(port, free_port()) as running:
        yield running


@asynccontextmanager
async def connected(proxy: FaultProxy) -> AsyncIterator[Streams]:
    reader, writer = await asyncio.open_connection(HOST, proxy.port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def say(streams: Streams, size: int = len(MESSAGE)) -> bytes:
    streams[1].write(MESSAGE)
    async with asyncio.timeout(5):
        return await streams[0].readexactly(size)


async def test_bytes_pass_where_there_is_no_fault(proxy: FaultProxy) -> None:
    async with connected(proxy) as streams:
        assert [await say(streams) for _ in range(3)] == [MESSAGE] * 3


async def test_who_is_refused_was_cut_off_and_cannot_come_back_until_it_is_over(proxy: FaultProxy) -> None:
    async with connected(proxy) as streams:
        await say(streams)
        await proxy.set(Refuse())
        with pytest.raises(ConnectionResetError):
            await streams[0].read()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(HOST, proxy.port)
    await proxy.set(Fault())
    async with connected(proxy) as streams:
        assert await say(streams) == MESSAGE


async def test_a_reply_is_reset_in_its_middle(proxy: FaultProxy) -> None:
    await proxy.set(ResetMidReply())
    async with connected(proxy) as streams:
        streams[1].write(MESSAGE)
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await streams[0].readexactly(len(MESSAGE))


async def test_what_stalls_comes_when_the_fault_is_over(proxy: FaultProxy) -> None:
    await proxy.set(Stall())
    async with connected(proxy) as streams:
        answer = asyncio.create_task(say(streams))
        done, _ = await asyncio.wait([answer], timeout=0.2)
        assert not done
        await proxy.set(Fault())
        assert await answer == MESSAGE


async def test_latency_delays_a_reply(proxy: FaultProxy) -> None:
    await proxy.set(Latency(0.2))
    async with connected(proxy) as streams:
        begun = time.monotonic()
        assert await say(streams) == MESSAGE
        assert time.monotonic() - begun >= 0.19


async def test_a_drip_is_slow_until_it_is_over(proxy: FaultProxy) -> None:
    await proxy.set(Drip(1, 0.1))
    async with connected(proxy) as streams:
        begun = time.monotonic()
        assert await say(streams, 4) == MESSAGE[:4]
        assert time.monotonic() - begun >= 0.29
        await proxy.set(Fault())
        async with asyncio.timeout(1):
            assert await streams[0].readexactly(20) == MESSAGE[4:]


async def test_a_connection_closes_after_so_many_bytes(proxy: FaultProxy) -> None:
    await proxy.set(CloseAfter(30))
    async with connected(proxy) as streams:
        assert await say(streams) == MESSAGE
        streams[1].write(MESSAGE)
        assert await streams[0].read() == MESSAGE[:6]


async def test_the_length_of_a_message_is_another(proxy: FaultProxy) -> None:
    async with connected(proxy) as streams:
        await say(streams)
        await proxy.set(CorruptLength(lambda length: length + 7))
        assert await say(streams) == struct.pack("<i", 31) + MESSAGE[4:]


async def test_connections_that_have_ended_are_forgotten(proxy: FaultProxy) -> None:
    for _ in range(3):
        async with connected(proxy) as streams:
            await say(streams)
            assert proxy.connections == 1
        await until(lambda: not proxy.connections)

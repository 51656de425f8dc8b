"""A call whose message does not come is answered all the same."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from hyperframe.frame import SettingsFrame, WindowUpdateFrame

from server import app, first_message
from tests.edge.http2 import Http2, data
from tests.edge.test_grpc_frames import LIST, message
from tests.stack import Stack, free_port

SECONDS = 0.5
INVALID_ARGUMENT = "3"
OPEN_API = "/rollcall.v1.RestService/GetOpenApi"
NATIVE = (("content-type", "application/grpc"), ("te", "trailers"))


@pytest.fixture
async def port(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    """Run a server in this process, as no setting makes the bound shorter."""
    monkeypatch.setattr(first_message, "MESSAGE_SECONDS", SECONDS)
    monkeypatch.setattr(first_message, "LOOK_SECONDS", SECONDS / 10)
    settings = stack.settings.model_copy(update={"grpc_port": free_port(), "drain_seconds": 0})
    async with app.running(settings):
        yield settings.grpc_port


@pytest.mark.parametrize("body", [b"", message(b"abc")[:6]], ids=["nothing", "a part of it"])
async def test_a_call_whose_message_does_not_come_ends_at_the_bound(port: int, body: bytes) -> None:
    assert await asyncio.to_thread(code_of_a_call_without_end, port, body) == INVALID_ARGUMENT


async def test_who_reads_no_answers_does_not_hold_up_the_bound_for_others(port: int) -> None:
    with Http2(port) as deaf:
        await asyncio.to_thread(ask_without_reading, deaf)
        await asyncio.sleep(SECONDS * 2)
        async with asyncio.timeout(SECONDS * 20):
            assert await asyncio.to_thread(code_of_a_call_without_end, port, b"") == INVALID_ARGUMENT


def ask_without_reading(client: Http2) -> None:
    """Ask for more than the kernel's buffers hold, with windows for it; then call without a message."""
    most = 2**31 - 1
    frames = [
        SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: most}).serialize(),
        WindowUpdateFrame(0, window_increment=most - 65_535).serialize(),
    ]
    for _ in range(200):
        frames += [
            client.opening(OPEN_API, *NATIVE, method="POST", ends=False),
            data(client.stream, message(b""), ends=True),
        ]
    # At once: `send` reads meanwhile.
    client.send(b"".join((*frames, client.opening(LIST, *NATIVE, method="POST", ends=False))))


def code_of_a_call_without_end(port: int, body: bytes) -> str | None:
    with Http2(port) as client:
        client.send(client.opening(LIST, *NATIVE, method="POST", ends=False))
        client.send(data(client.stream, body))
        return client.fields(client.stream).get("grpc-status")

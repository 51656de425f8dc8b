"""A call whose message does not come is answered all the same."""

import asyncio

import pytest

from server import app, first_message
from tests.edge.http2 import Http2, data
from tests.edge.test_grpc_frames import LIST, message
from tests.stack import Stack, free_port

SECONDS = 0.5
DEADLINE_EXCEEDED = "4"


@pytest.mark.parametrize("body", [b"", message(b"abc")[:6]], ids=["nothing", "a part of it"])
async def test_a_call_whose_message_does_not_come_ends_at_the_bound(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    monkeypatch.setattr(first_message, "MESSAGE_SECONDS", SECONDS)
    monkeypatch.setattr(first_message, "LOOK_SECONDS", SECONDS / 10)
    settings = stack.settings.model_copy(update={"grpc_port": free_port(), "drain_seconds": 0})
    # In this process, as no setting makes the bound shorter.
    async with app.running(settings):
        assert (
            await asyncio.to_thread(code_of_a_call_without_end, settings.grpc_port, body) == DEADLINE_EXCEEDED
        )


def code_of_a_call_without_end(port: int, body: bytes) -> str | None:
    with Http2(port) as client:
        native = [("content-type", "application/grpc"), ("te", "trailers")]
        client.send(client.opening(LIST, *native, method="POST", ends=False))
        client.send(data(client.stream, body))
        return client.fields(client.stream).get("grpc-status")

"""What takes a server long to judge or to render holds up no other call."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from rollcall.v1 import rest_pb2, rest_pb2_grpc, user_session_pb2, user_session_pb2_grpc

from tests.services import kit
from tests.services.kit import Caller
from tests.stack import Stack

SECONDS = 60
MANY = 300_000
Begin = Callable[[Caller, grpc.aio.Channel], Awaitable[Any]]


def record(items: int, **changes: Any) -> Any:
    typed = user_session_pb2.DialogueItem.CONTENT_TYPE_USER
    dialogue = [user_session_pb2.DialogueItem(content_type=typed, text="x") for _ in range(items)]
    return kit.USER_SESSION.record(dialogue=user_session_pb2.Dialogue(items=dialogue), **changes)


def create_many(who: Caller, channel: grpc.aio.Channel) -> Awaitable[Any]:
    batch = kit.USER_SESSION.batch([record(200) for _ in range(1000)])
    service = user_session_pb2_grpc.UserSessionServiceStub(channel)
    return service.BatchCreateUserSessions(batch, metadata=who.metadata, timeout=SECONDS)


def create_one(who: Caller, channel: grpc.aio.Channel) -> Awaitable[Any]:
    create = kit.USER_SESSION.create(record(MANY))
    service = user_session_pb2_grpc.UserSessionServiceStub(channel)
    return service.CreateUserSession(create, metadata=who.metadata, timeout=SECONDS)


def create_some(who: Caller, channel: grpc.aio.Channel) -> Awaitable[Any]:
    service = user_session_pb2_grpc.UserSessionServiceStub(channel)
    creates = [kit.USER_SESSION.create(record(MANY // 6)) for _ in range(6)]
    return asyncio.gather(
        *(service.CreateUserSession(each, metadata=who.metadata, timeout=SECONDS) for each in creates)
    )


def change_one(who: Caller, channel: grpc.aio.Channel) -> Awaitable[Any]:
    key = kit.USER_SESSION.key_of(who(kit.USER_SESSION.create(record(0))))
    update = kit.USER_SESSION.update(record(MANY, uuid=key), "dialogue")
    service = user_session_pb2_grpc.UserSessionServiceStub(channel)
    return service.UpdateUserSession(update, metadata=who.metadata, timeout=SECONDS)


def list_one(who: Caller, channel: grpc.aio.Channel) -> Awaitable[Any]:
    """List a record whose documented form is too large to be stored beside it."""
    who(kit.USER_SESSION.create(record(MANY)), SECONDS)
    service = rest_pb2_grpc.RestServiceStub(channel)
    answer = service.ListUserSessions(
        rest_pb2.ListUserSessionsRestRequest(), metadata=who.metadata, timeout=SECONDS
    )

    async def whole() -> None:
        assert sum([len(part.data) async for part in answer]) > 15 << 20

    return whole()


@pytest.mark.parametrize("begin", [create_many, create_one, create_some, change_one, list_one])
async def test_a_call_that_takes_long_lets_others_have_their_turn(begin: Begin, stack: Stack) -> None:
    async with grpc.aio.insecure_channel(stack.grpc, options=kit.OPTIONS) as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        await health.Check(health_pb2.HealthCheckRequest())
        call = asyncio.ensure_future(begin(kit.writer(stack), channel))
        begun, longest = time.monotonic(), 0.0
        while not call.done():
            asked = time.monotonic()
            await health.Check(health_pb2.HealthCheckRequest())
            longest = max(longest, time.monotonic() - asked)
        await call
    took = time.monotonic() - begun
    assert longest < took / 2, f"{longest:.2f} s of {took:.2f} s"

"""64 callers read and write at once: nothing acknowledged is lost, and at the end everything adds up.

`ROLLCALL_TEST_SECONDS` says for how long; 10 unless it is set.
"""

import asyncio
import os
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

from server.records.xid import new_xid
from tests.services import kit
from tests.services.kit import Caller, Resource
from tests.stack import Stack

SECONDS = float(os.environ.get("ROLLCALL_TEST_SECONDS", "10"))
CALLERS = 64
TENANTS = 8
CHANNELS = 4
PAUSE_SECONDS = 0.2
OWN_RECORDS = 12
"""How many records of its own a caller keeps, so that lists stay short."""


@dataclass
class Tenant:
    """What the callers of a tenant share: one session, which counts their successful writes."""

    name: str
    shared: str = ""
    wins: int = 0
    losses: int = 0


@dataclass
class Worker:
    """One caller, what it has written and was told to be stored, and what went wrong."""

    who: Caller
    tenant: Tenant
    channel: grpc.aio.Channel
    dice: random.Random
    account: str = field(default_factory=new_xid)
    records: dict[tuple[str, str], str] = field(default_factory=dict)
    deleted: set[tuple[str, str]] = field(default_factory=set)
    calls: Counter[str] = field(default_factory=Counter)

    async def call(self, request: Message) -> Any:
        self.calls[request.DESCRIPTOR.name] += 1
        method = kit.method_of(lambda service: kit.STUBS[service](self.channel), request)
        while True:
            try:
                return await method(request, metadata=self.who.metadata, timeout=20)
            except grpc.aio.AioRpcError as error:
                # Shed, as a slow machine must: the same again, since nothing was done.
                if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                    raise
            await asyncio.sleep(self.dice.uniform(0, PAUSE_SECONDS))

    def record(self, resource: Resource) -> Any:
        by = {"created_by": kit.account(self.account)} if resource is kit.ROBOT_SESSION else {}
        return resource.record(**by)

    async def step(self) -> None:
        action = self.dice.choices(
            (self.create, self.batch, self.get, self.list, self.update, self.delete, self.increment),
            (4, 1, 4, 4, 5, 3, 3),
        )[0]
        await action()

    def _remember(self, resource: Resource, record: Any) -> None:
        self.records[resource.name, resource.key_of(record)] = resource.label_of(record)

    def _mine(self) -> tuple[Resource, str] | None:
        if not self.records:
            return None
        name, key = self.dice.choice([*self.records])
        return next(resource for resource in kit.RESOURCES if resource.name == name), key

    async def create(self) -> None:
        if len(self.records) > OWN_RECORDS:
            await self.delete()
            return
        resource = self.dice.choice(kit.RESOURCES)
        request = resource.create(self.record(resource), self.dice.choice(("", kit.uid())))
        self._remember(resource, await self.call(request))

    async def batch(self) -> None:
        if len(self.records) > OWN_RECORDS:
            return
        resource = self.dice.choice(kit.BATCHED)
        response = await self.call(resource.batch([self.record(resource) for _ in range(3)]))
        for record in resource.items(response):
            self._remember(resource, record)

    async def get(self) -> None:
        if mine := self._mine():
            resource, key = mine
            found = await self.call(resource.get(key))
            assert resource.label_of(found) == self.records[resource.name, key]

    async def list(self) -> None:
        """Read a page: what this caller has written is on it, in order."""
        resource = self.dice.choice((kit.USER_SESSION, kit.AGENT_SESSION, kit.ROBOT_SESSION, kit.SESSION))
        arguments = {"account_id": self.account} if resource is kit.ROBOT_SESSION else {}
        page = resource.items(await self.call(resource.listing(page_size=1000, **arguments)))
        check_order(resource, page)
        listed = {resource.key_of(item): resource.label_of(item) for item in page}
        for (name, key), label in self.records.items():
            if name == resource.name:
                assert listed.get(key) == label

    async def update(self) -> None:
        if mine := self._mine():
            resource, key = mine
            change = resource.relabelled(key, f"w{self.dice.randrange(10**9)}")
            self._remember(resource, await self.call(resource.update(change, resource.label)))

    async def delete(self) -> None:
        if mine := self._mine():
            resource, key = mine
            await self.call(resource.delete(key))
            del self.records[resource.name, key]
            self.deleted.add((resource.name, key))

    async def increment(self) -> None:
        """Add one to the tenant's shared session by its etag; all but one of those at once are ABORTED."""
        session = await self.call(kit.SESSION.get(self.tenant.shared))
        change = kit.SESSION.of(session.id, token_budget=session.token_budget + 1, etag=session.etag)
        try:
            await self.call(kit.SESSION.update(change, "token_budget"))
        except grpc.aio.AioRpcError as error:
            assert error.code() is grpc.StatusCode.ABORTED  # noqa: PT017 # either outcome is right
            self.tenant.losses += 1
        else:
            self.tenant.wins += 1


def check_order(resource: Resource, page: list[Any]) -> None:
    path = resource.born if resource in {kit.SESSION, kit.ROBOT_SESSION, kit.ROBOT} else resource.changed
    times = [kit.value_at(item, path).ToNanoseconds() for item in page]
    keys = [resource.key_of(item) for item in page]
    assert times == sorted(times, reverse=True)
    assert len(set(keys)) == len(keys)
    for (one, key), (other, next_key) in zip(
        zip(times, keys, strict=True), zip(times[1:], keys[1:], strict=True), strict=False
    ):
        assert one != other or (key < next_key) is (resource is not kit.SESSION)


@pytest.mark.timeout(SECONDS * 2 + 60)
async def test_64_callers_at_once_lose_nothing_and_everything_adds_up(stack: Stack) -> None:
    observer = kit.writer(stack)
    before = {
        resource: observer(resource.listing(page_size=1)).total_size
        for resource in (kit.ROBOT, kit.ROBOT_SESSION)
    }
    tenants = [Tenant(f"t-{kit.uid()}") for _ in range(TENANTS)]
    for tenant in tenants:
        session = kit.session(token_budget=0)
        tenant.shared = kit.writer(stack, "", tenant.name)(kit.SESSION.create(session)).id
    options = (*kit.OPTIONS, ("grpc.use_local_subchannel_pool", 1))
    channels = [grpc.aio.insecure_channel(stack.grpc, options=options) for _ in range(CHANNELS)]
    workers = [
        Worker(
            kit.writer(stack, "", tenants[index % TENANTS].name),
            tenants[index % TENANTS],
            channels[index % CHANNELS],
            random.Random(index),  # noqa: S311 # dice
        )
        for index in range(CALLERS)
    ]
    end = time.monotonic() + SECONDS

    async def work(worker: Worker) -> None:
        while time.monotonic() < end:
            await worker.step()

    try:
        await asyncio.gather(*map(work, workers))
    finally:
        for channel in channels:
            await channel.close()
    calls = sum((worker.calls for worker in workers), Counter())
    assert min(calls.values()) > 0
    assert sum(tenant.wins for tenant in tenants)
    _check_end(stack, observer, workers, tenants, before)


def _check_end(
    stack: Stack, observer: Caller, workers: list[Worker], tenants: list[Tenant], before: dict[Resource, int]
) -> None:
    live: Counter[str] = Counter()
    for worker in workers:
        for resource in kit.RESOURCES:
            mine = {key: label for (name, key), label in worker.records.items() if name == resource.name}
            live[resource.name] += len(mine)
            found = {key: resource.label_of(worker.who(resource.get(key))) for key in mine}
            assert found == mine
        for resource in (kit.USER_SESSION, kit.AGENT_SESSION):
            mine_keys = {key for name, key in worker.records if name == resource.name}
            assert set(resource.walk(worker.who, page_size=3)) == mine_keys
        sessions = worker.who(kit.ROBOT_SESSION.listing(account_id=worker.account, page_size=1000))
        mine_keys = {key for name, key in worker.records if name == "robot_session"}
        assert set(kit.ROBOT_SESSION.keys(sessions)) == mine_keys
        assert sessions.total_size == len(mine_keys)
    for resource, count in before.items():
        assert observer(resource.listing(page_size=1)).total_size == count + live[resource.name]
        page = resource.items(observer(resource.listing(page_size=1000)))
        check_order(resource, page)
    for index, tenant in enumerate(tenants):
        reader = kit.writer(stack, "", tenant.name)
        assert reader(kit.SESSION.get(tenant.shared)).token_budget == tenant.wins
        expected = {
            key for worker in workers[index::TENANTS] for name, key in worker.records if name == "session"
        }
        assert set(kit.SESSION.walk(reader, page_size=50)) == {*expected, tenant.shared}
    gone = [each for worker in workers for each in worker.deleted]
    for name, key in gone[:: max(1, len(gone) // 300)]:
        resource = next(resource for resource in kit.RESOURCES if resource.name == name)
        assert observer.code(resource.get(key)) is grpc.StatusCode.NOT_FOUND

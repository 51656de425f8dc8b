"""Walks by page tokens while others insert and delete: what stood throughout is met exactly once."""

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from rollcall.v1 import robot_pb2

from server.records.xid import new_xid
from tests.services import kit
from tests.services.kit import Caller, Resource
from tests.stack import Stack

WALKS = 10
EXAMPLES = 10
CHURNERS = 2
LATEST = 12
"""Times are few, so that many records share one and the tie-breaker decides."""


@dataclass
class List:
    """A list to walk: how a record of a time is made and deleted, and what the walk asks for."""

    resource: Resource
    make: Callable[[int], Any]
    arguments: list[dict[str, Any]]
    create: Callable[[Any], Any]
    delete: Callable[[str], Any] | None


def _user_sessions(_: Caller) -> List:
    return List(
        kit.USER_SESSION,
        lambda second: kit.USER_SESSION.record(updated_at=kit.at(second), language="en"),
        [{}, {"language": "en"}],
        kit.USER_SESSION.create,
        kit.USER_SESSION.delete,
    )


def _sessions(_: Caller) -> List:
    orders = [f"{field}{direction}" for field in ("created_at", "updated_at") for direction in ("", " desc")]
    return List(
        kit.SESSION,
        lambda second: kit.SESSION.record(
            created_at=kit.at(second), updated_at=kit.at(LATEST - second), metadata={"a": 1, "b": second}
        ),
        [
            {"order_by": order, **filter_}
            for order in orders
            for filter_ in ({}, {"metadata_filter": {"a": 1}})
        ],
        kit.SESSION.create,
        kit.SESSION.delete,
    )


def _robot_sessions(_: Caller) -> List:
    account = new_xid()
    return List(
        kit.ROBOT_SESSION,
        lambda second: kit.ROBOT_SESSION.record(created_at=kit.at(second), created_by=kit.account(account)),
        [{"account_id": account}],
        kit.ROBOT_SESSION.create,
        kit.ROBOT_SESSION.delete,
    )


def _robot_messages(who: Caller) -> List:
    resource = Resource("robot_message", robot_pb2, "id", new_xid, "", kit.robot_message)
    session = who(kit.ROBOT_SESSION.create(kit.robot_session())).id
    return List(
        resource,
        lambda second: resource.record(session_id=session, created_at=kit.at(second)),
        [{"session_id": session}],
        resource.create,
        None,
    )


def _agent_sessions(who: Caller) -> List:
    agent = who(kit.AGENT.create(kit.agent(viewers=["*"]))).rid

    def make(second: int) -> Any:
        record = kit.AGENT_SESSION.record(agent_rid=agent)
        record.metadata.updated_time.CopyFrom(kit.at(second))
        record.metadata.estimated_expires_time.CopyFrom(kit.at(4_000_000_000))
        return record

    return List(
        kit.AGENT_SESSION,
        make,
        [{}, {"agent_rid": agent}],
        kit.AGENT_SESSION.create,
        kit.AGENT_SESSION.delete,
    )


@contextmanager
def churn(who: Caller, walked: List, seed: int) -> Iterator[None]:
    """Insert and delete records all over the list while the block runs."""
    stop = threading.Event()

    def run(number: int) -> None:
        dice = random.Random(f"{seed}/{number}")  # noqa: S311 # dice
        mine: list[str] = []
        while not stop.is_set():
            if walked.delete is not None and mine and dice.random() < len(mine) / 30:
                who(walked.delete(mine.pop(dice.randrange(len(mine)))))
            else:
                record = walked.make(dice.randrange(LATEST))
                who(walked.create(record))
                mine.append(walked.resource.key_of(record))

    with ThreadPoolExecutor(CHURNERS) as pool:
        running = [pool.submit(run, number) for number in range(CHURNERS)]
        try:
            yield
        finally:
            stop.set()
        for each in running:
            each.result()


@pytest.mark.parametrize(
    "kind",
    [_user_sessions, _sessions, _robot_sessions, _robot_messages, _agent_sessions],
    ids=["user_session", "session", "robot_session", "robot_message", "agent_session"],
)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
)
@given(
    seconds=st.lists(st.integers(0, LATEST - 1), min_size=1, max_size=40),
    sizes=st.lists(st.integers(1, 12), min_size=WALKS, max_size=WALKS),
    seed=st.integers(0, 2**32),
    own=st.booleans(),
)
def test_a_walk_meets_whatever_stood_throughout_exactly_once(  # noqa: PLR0913
    stack: Stack,
    kind: Callable[[Caller], List],
    seconds: list[int],
    sizes: list[int],
    seed: int,
    *,
    own: bool,
) -> None:
    """Ten walks an example: fifty examples make the five hundred."""
    writer = kit.writer(stack)
    scopes = [kit.AGENTS] if own else [kit.READ]
    reader = kit.caller(stack, writer.sub, writer.tenant, *scopes, permissions=[kit.ROBOTS])
    walked = kind(writer)
    standing = [walked.make(second) for second in seconds]
    for record in standing:
        writer(walked.create(record))
    expected = sorted(map(walked.resource.key_of, standing))

    def walk(index: int) -> list[str]:
        arguments = walked.arguments[(seed + index) % len(walked.arguments)]
        return walked.resource.walk(reader, page_size=sizes[index], **arguments)

    with churn(writer, walked, seed), ThreadPoolExecutor(3) as pool:
        walks = list(pool.map(walk, range(WALKS)))
    for keys in walks:
        assert sorted(key for key in keys if key in set(expected)) == expected
        assert len(set(keys)) == len(keys)

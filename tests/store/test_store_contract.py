"""What the store promises under either driver, against the real mongod; how MongoDB plans every list."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
import traceback
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import SecretStr
from pymongo.errors import OperationFailure

from server.app import KINDS
from server.errors import DeadlineExceededError, UnavailableError
from server.records import (
    agent,
    agent_session,
    robot,
    robot_message,
    robot_session,
    session,
    user_session,
)
from server.records.caller import Caller
from server.records.kind import BASIC, JSON, PB, Document, Kind, message_of, rendered, stored
from server.records.query import Query
from server.settings import Settings
from server.store import driver, indexes
from server.store.failures import deadline
from server.store.reads import Reads
from server.store.tallies import TALLIES
from server.store.writes import (
    REQUESTS,
    Creation,
    ExistsError,
    GoneError,
    RequestIdError,
    StaleError,
    Writes,
)
from tests import parts
from tests.faults.waiting import until
from tests.stack import Stack, free_port

DRIVERS = ("motor", "pymongo")
WAYS = (*DRIVERS, "direct")
"""Drivers, and motor beside connections for pages."""


@dataclass(frozen=True)
class Store:
    """A store over a database of its own."""

    reads: Reads
    writes: Writes
    database: Any
    settings: Settings

    async def size(self, kind: Kind, **filter_: Any) -> int:
        return int(await self.database[kind.collection].count_documents(filter_))


@asynccontextmanager
async def opened(stack: Stack, way: str) -> AsyncIterator[Store]:
    """Open a store over a fresh database; drop it at the end."""
    settings = stack.settings.model_copy(
        update={
            "mongodb_driver": way if way in DRIVERS else "motor",
            "mongodb_database": f"test_{uuid.uuid4().hex[:20]}",
        }
    )
    connection = driver.connect(settings, pages=way == "direct")
    try:
        await indexes.make(connection.database, KINDS)
        reads = Reads(connection.database, connection.direct)
        if direct := connection.direct:
            await reads.find(session.owned_by({"developer_id": "t"}, 1), JSON)
            await until(lambda: direct.connections > 0)
        store = Store(reads, Writes(connection), connection.database, settings)
        yield store
        await end_transactions(store)
        await connection.database.client.drop_database(settings.mongodb_database)
    finally:
        await connection.close()


@pytest.fixture(scope="module", params=WAYS)
async def shared(request: pytest.FixtureRequest, stack: Stack) -> AsyncIterator[Store]:
    async with opened(stack, request.param) as made:
        yield made


@pytest.fixture
async def store(shared: Store) -> Store:
    """Return an empty store; making its indexes takes longer than most tests."""
    for name in (*(kind.collection for kind in KINDS), TALLIES, REQUESTS):
        await shared.database[name].delete_many({})
    return shared


@pytest.mark.parametrize("number", [1, 2])
async def test_what_mongodb_refuses_is_told_without_the_records(number: int, store: Store) -> None:
    name = session.KIND.collection
    body = parts.session(metadata={"a": "of-theirs"})
    documents = [
        stored(
            session.KIND, {"developer_id": "t"}, session.KIND.schema.check(body | {"id": parts.uid(each)}), {}
        )
        for each in range(number)
    ]
    await store.database.command("collMod", name, validator={"terms": "never"})
    try:
        with pytest.raises(OperationFailure) as refused:
            await store.writes.create(session.KIND, [Creation(document) for document in documents])
    finally:
        await store.database.command("collMod", name, validator={})
    assert refused.value.code == 121
    assert str(refused.value) == "Document failed validation (code 121)"
    assert "of-theirs" not in "".join(traceback.format_exception(refused.value))


# --- documents -------------------------------------------------------------------------------------


def document(kind: Kind, body: parts.Body, **owner: Any) -> Document:
    extra = {name: owner.pop(name) for name in kind.extras if name in owner}
    return stored(kind, owner, kind.schema.check(body), extra)


def a_session(number: int = 1, tenant: str = "t", **changes: Any) -> Document:
    return document(session.KIND, parts.session(id=parts.uid(number), **changes), developer_id=tenant)


def a_robot(number: int = 1, **changes: Any) -> Document:
    return document(robot.KIND, parts.robot(id=parts.xid(number), **changes))


def a_robot_session(number: int = 1, account: int = 1, **changes: Any) -> Document:
    body = parts.robot_session(id=parts.xid(number), created_by=parts.account(account), **changes)
    return document(robot_session.KIND, body)


def a_message(number: int, in_session: int = 1) -> Document:
    body = parts.message(id=parts.xid(number), created_at=parts.moment(number))
    return document(robot_message.KIND, body, session_id=parts.xid(in_session))


def a_user_session(number: int = 1, user: str = "u", **changes: Any) -> Document:
    body = parts.user_session(uuid=parts.uid(number), **changes)
    return document(user_session.KIND, body, user_id=user, developer_id="t")


def an_agent_session(name: str, in_agent: str = "a", **options: Any) -> Document:
    body = parts.agent_session(name, in_agent, **options)
    return document(agent_session.KIND, body, user_id="u", client_id="c", developer_id="t")


def an_agent(name: str, *viewers: str) -> Document:
    return document(agent.KIND, {"rid": parts.agent_rid(name)}, viewers=list(viewers))


SAMPLES: dict[Kind, Callable[[], Document]] = {
    session.KIND: a_session,
    robot.KIND: a_robot,
    robot_session.KIND: a_robot_session,
    robot_message.KIND: lambda: a_message(1),
    user_session.KIND: a_user_session,
    agent_session.KIND: lambda: an_agent_session("s"),
    agent.KIND: lambda: an_agent("a", "*"),
}
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.name))

TENANT = {"developer_id": "t"}


async def create(store: Store, kind: Kind, *documents: Document) -> list[Document]:
    return await store.writes.create(kind, [Creation(each) for each in documents])


def again(kind: Kind, before: Document, change: Callable[[Any], None]) -> Document:
    """Return the document of a record after a change of its message."""
    message: Any = message_of(kind, before[PB])
    change(message)
    extra = {name: getattr(message, name) for name in kind.extras}
    lists = {name: value if isinstance(value, str) else list(value) for name, value in extra.items()}
    return stored(kind, before["owner"], kind.schema.check(kind.schema.from_proto(message)), lists)


def moved_to(before: Document, account: str) -> Document:
    return again(robot_session.KIND, before, lambda message: setattr(message.created_by, "id", account))


async def check_counts(store: Store, *accounts: str) -> None:
    """Check that every counter is what counting says."""
    assert await store.reads.count(robot.TALLY) == await store.size(robot.KIND)
    assert await store.reads.count(robot_session.tally()) == await store.size(robot_session.KIND)
    for account in accounts:
        counted = await store.size(robot_session.KIND, account=account)
        assert await store.reads.count(robot_session.tally(account)) == counted


# --- indexes ---------------------------------------------------------------------------------------


# --- create and get --------------------------------------------------------------------------------


def _aware(value: Any) -> Any:
    """Return a time as it was stored: drivers leave out that it is UTC."""
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) else value


@every_kind
async def test_what_is_created_is_there_with_all_its_forms(kind: Kind, store: Store) -> None:
    made = SAMPLES[kind]()
    assert await create(store, kind, made) == [made]
    fields = [name for name in made if name not in {"_id", "owner"}]
    row = await store.reads.get(kind, made["owner"], made["id"], *fields)
    assert row is not None
    assert {name: _aware(value) for name, value in row.items()} == {name: made[name] for name in fields}
    assert row[JSON] == rendered(kind.schema.check(kind.schema.from_proto(message_of(kind, row[PB]))))
    assert (BASIC in made) is bool(kind.heavy)


@every_kind
async def test_get_has_the_fields_that_are_asked_for_and_the_id(kind: Kind, store: Store) -> None:
    made = SAMPLES[kind]()
    await create(store, kind, made)
    assert await store.reads.get(kind, made["owner"], made["id"], "etag") == {
        "id": made["id"],
        "etag": made["etag"],
    }
    assert await store.reads.get(kind, made["owner"], "another", "etag") is None
    if kind.owner:
        another = dict.fromkeys(kind.owner, "another")
        assert await store.reads.get(kind, another, made["id"], "etag") is None


async def test_an_expired_record_is_not_there_and_gives_way_to_a_new_one(store: Store) -> None:
    expired = an_agent_session("s", expires=parts.LONG_AGO)
    await create(store, agent_session.KIND, expired)
    owner = {"user_id": "u", "client_id": "c"}
    assert await store.reads.get(agent_session.KIND, owner, expired["id"], PB) is None
    fresh = an_agent_session("s")
    await create(store, agent_session.KIND, fresh)
    assert await store.size(agent_session.KIND) == 1
    with pytest.raises(ExistsError):
        await create(store, agent_session.KIND, an_agent_session("s"))


@every_kind
async def test_a_record_that_exists_is_not_written_over(kind: Kind, store: Store) -> None:
    made = SAMPLES[kind]()
    await create(store, kind, made)
    with pytest.raises(ExistsError) as caught:
        await create(store, kind, SAMPLES[kind]())
    assert caught.value.index == 0
    assert await store.reads.get(kind, made["owner"], made["id"], "etag") == {
        "id": made["id"],
        "etag": made["etag"],
    }


@pytest.mark.parametrize("place", [0, 1, 4])
async def test_of_several_all_are_created_or_none(place: int, store: Store) -> None:
    await create(store, robot_session.KIND, a_robot_session(place))
    with pytest.raises(ExistsError) as caught:
        await create(store, robot_session.KIND, *(a_robot_session(number) for number in range(5)))
    assert caught.value.index == place
    assert await store.size(robot_session.KIND) == 1
    await check_counts(store, parts.xid(1))


async def test_a_thousand_are_created_at_once(store: Store) -> None:
    made = await create(store, robot.KIND, *(a_robot(number) for number in range(1000)))
    assert len(made) == await store.size(robot.KIND) == 1000
    await check_counts(store)


@pytest.mark.parametrize("driver_name", DRIVERS)
async def test_creates_at_once_in_a_database_without_collections_all_succeed(
    driver_name: str, stack: Stack
) -> None:
    """Their transactions make the collections, and collide when they commit."""
    async with opened(stack, driver_name) as store:
        await store.database.client.drop_database(store.settings.mongodb_database)
        await asyncio.gather(
            *(
                create(store, robot.KIND, *map(a_robot, range(start, start + 20)))
                for start in range(0, 160, 20)
            )
        )
        assert await store.size(robot.KIND) == 160
        await check_counts(store)


async def test_nothing_is_created_of_nothing(store: Store) -> None:
    assert await store.writes.create(session.KIND, []) == []


# --- request ids -----------------------------------------------------------------------------------


async def test_a_request_id_creates_once_and_answers_what_is_there(store: Store) -> None:
    first = Creation(a_robot(1), "r", "asked")
    (made,) = await store.writes.create(robot.KIND, [first])
    for number in (2, 3):
        (found,) = await store.writes.create(robot.KIND, [Creation(a_robot(number), "r", "asked")])
        assert found == made
    await check_counts(store)
    changed = again(robot.KIND, made, lambda message: setattr(message, "name", "new"))
    await store.writes.replace(robot.KIND, changed, made["etag"])
    (found,) = await store.writes.create(robot.KIND, [first])
    assert found["etag"] == changed["etag"]


async def test_a_request_id_of_something_else_is_refused_and_writes_nothing(store: Store) -> None:
    await store.writes.create(robot.KIND, [Creation(a_robot(1), "r", "asked")])
    with pytest.raises(RequestIdError) as caught:
        await store.writes.create(
            robot.KIND, [Creation(a_robot(2)), Creation(a_robot(3), "r", "something else")]
        )
    assert caught.value.index == 1
    assert await store.size(robot.KIND) == 1
    await check_counts(store)


async def test_a_request_id_of_what_was_deleted_is_gone(store: Store) -> None:
    (made,) = await store.writes.create(session.KIND, [Creation(a_session(1), "r", "asked")])
    await store.writes.delete(session.KIND, made["_id"], made["etag"])
    with pytest.raises(GoneError) as caught:
        await store.writes.create(session.KIND, [Creation(a_session(2), "r", "asked")])
    assert caught.value.index == 0


@pytest.mark.parametrize(
    "kind", [session.KIND, robot.KIND, agent_session.KIND], ids=lambda kind: str(kind.name)
)
async def test_one_request_id_at_once_creates_once(kind: Kind, store: Store) -> None:
    samples = {session.KIND: a_session, robot.KIND: a_robot}
    make: Callable[[int], Document] = samples.get(kind, lambda number: an_agent_session(f"s{number}"))
    calls = [store.writes.create(kind, [Creation(make(number), "r", "asked")]) for number in range(16)]
    answers = await asyncio.gather(*calls)
    assert len({answer[0]["etag"] for answer in answers}) == 1
    assert await store.size(kind) == 1
    await check_counts(store)


async def test_a_create_that_fails_leaves_its_request_id_free(store: Store) -> None:
    await create(store, session.KIND, a_session(1))
    with pytest.raises(ExistsError):
        await store.writes.create(session.KIND, [Creation(a_session(1), "r", "one")])
    (made,) = await store.writes.create(session.KIND, [Creation(a_session(2), "r", "two")])
    assert made["id"] == parts.uid(2)


# --- replace and delete ----------------------------------------------------------------------------


def _rename(kind: Kind, before: Document) -> Document:
    field = {"session": "situation", "user_session": "llm_context", "agent_session": "agent_version"}.get(
        kind.name, "name"
    )
    if kind is agent.KIND:
        return again(kind, before, lambda message: message.viewers.append("user:x"))
    return again(kind, before, lambda message: setattr(message, field, "changed"))


REPLACEABLE = [kind for kind in KINDS if kind is not robot_message.KIND]


@pytest.mark.parametrize("kind", REPLACEABLE, ids=lambda kind: str(kind.name))
async def test_a_replacement_needs_the_etag_that_was_read(kind: Kind, store: Store) -> None:
    made = SAMPLES[kind]()
    await create(store, kind, made)
    first, second = _rename(kind, made), _rename(kind, made)
    await store.writes.replace(kind, first, made["etag"])
    with pytest.raises(StaleError):
        await store.writes.replace(kind, second, made["etag"])
    row = await store.reads.get(kind, made["owner"], made["id"], PB)
    assert row is not None
    assert row[PB] == first[PB]
    await store.writes.replace(kind, second, first["etag"])
    await check_counts(store, parts.xid(1))


@pytest.mark.parametrize("kind", REPLACEABLE, ids=lambda kind: str(kind.name))
async def test_a_deletion_needs_the_etag_that_was_read(kind: Kind, store: Store) -> None:
    made = SAMPLES[kind]()
    await create(store, kind, made)
    changed = _rename(kind, made)
    await store.writes.replace(kind, changed, made["etag"])
    with pytest.raises(StaleError):
        await store.writes.delete(kind, made["_id"], made["etag"])
    await store.writes.delete(kind, made["_id"], changed["etag"])
    assert await store.size(kind) == 0
    with pytest.raises(StaleError):
        await store.writes.delete(kind, made["_id"], changed["etag"])
    with pytest.raises(StaleError):
        await store.writes.replace(kind, changed, changed["etag"])
    assert await store.size(kind) == 0
    await check_counts(store, parts.xid(1))


@pytest.mark.parametrize("kind", [session.KIND, robot_session.KIND], ids=lambda kind: str(kind.name))
async def test_of_replacements_at_once_one_wins(kind: Kind, store: Store) -> None:
    made = SAMPLES[kind]()
    await create(store, kind, made)
    changed = [_rename(kind, made) for _ in range(16)]
    calls = [store.writes.replace(kind, each, made["etag"]) for each in changed]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["NoneType", *["StaleError"] * 15]
    row = await store.reads.get(kind, made["owner"], made["id"], "etag")
    assert row is not None
    assert row["etag"] == changed[results.index(None)]["etag"]


async def test_a_record_takes_its_parts_with_it_and_no_others(store: Store) -> None:
    made = [a_robot_session(number) for number in (1, 2)]
    await create(store, robot_session.KIND, *made)
    await create(store, robot_message.KIND, *(a_message(number, number % 2 + 1) for number in range(6)))
    await store.writes.delete(robot_session.KIND, made[0]["_id"], made[0]["etag"])
    rows = await store.database[robot_message.KIND.collection].find({}, {"owner": 1}).to_list(None)
    assert [row["owner"] for row in rows] == [{"session_id": parts.xid(2)}] * 3
    await check_counts(store, parts.xid(1))


# --- put -------------------------------------------------------------------------------------------


@every_kind
async def test_put_creates_and_replaces(kind: Kind, store: Store) -> None:
    for _ in range(3):
        made = SAMPLES[kind]()
        await store.writes.put(kind, [made])
        row = await store.reads.get(kind, made["owner"], made["id"], "etag")
        assert row is not None
        assert row["etag"] == made["etag"]
    assert await store.size(kind) == 1
    await check_counts(store, parts.xid(1))


async def test_put_keeps_the_last_of_two_and_counts_it_once(store: Store) -> None:
    first, second = a_robot_session(1, account=1), a_robot_session(1, account=2)
    await store.writes.put(robot_session.KIND, [first, a_robot_session(2, account=1), second])
    row = await store.reads.get(robot_session.KIND, {}, first["id"], "etag")
    assert row == {"id": first["id"], "etag": second["etag"]}
    await check_counts(store, parts.xid(1), parts.xid(2))
    assert await store.reads.count(robot_session.tally(parts.xid(2))) == 1


async def test_counters_follow_a_record_to_another_account(store: Store) -> None:
    made = a_robot_session(1, account=1)
    await create(store, robot_session.KIND, made)
    moved = again(robot_session.KIND, made, lambda message: setattr(message.created_by, "id", parts.xid(2)))
    await store.writes.replace(robot_session.KIND, moved, made["etag"])
    assert await store.reads.count(robot_session.tally(parts.xid(1))) == 0
    assert await store.reads.count(robot_session.tally(parts.xid(2))) == 1
    await store.writes.put(robot_session.KIND, [a_robot_session(1, account=3)])
    await check_counts(store, *map(parts.xid, (1, 2, 3)))


async def test_what_nobody_counted_is_zero(store: Store) -> None:
    assert await store.reads.count("nothing") == 0


# --- lists -----------------------------------------------------------------------------------------


def _window(limit: int, **changes: Any) -> Query:
    return replace(session.owned_by(TENANT, limit), **changes)


@pytest.fixture
async def seven(store: Store) -> list[str]:
    """Seven sessions in pairs of equal times; return their ids as the list orders them."""
    made = [a_session(number, created_at=parts.moment(number // 2)) for number in range(1, 8)]
    await create(store, session.KIND, *made, a_session(99, "another tenant"))
    order = sorted(made, key=lambda each: (each["created"], each["id"]), reverse=True)
    return [each["id"] for each in order]


@pytest.mark.parametrize(
    ("limit", "skip"), [(0, 0), (1, 0), (3, 2), (7, 0), (8, 0), (5, 6), (5, 7), (1000, 0)]
)
async def test_find_stream_and_page_are_the_same_window(
    limit: int, skip: int, store: Store, seven: list[str]
) -> None:
    query = _window(limit, skip=skip)
    expected = seven[skip : skip + limit]
    found = await store.reads.find(query, JSON, "created")
    assert [row["id"] for row in found] == expected
    assert all(row.keys() == {"id", "created", JSON} for row in found)
    batches = [batch async for batch in store.reads.stream(query, JSON)]
    assert [item for items, _ in batches for item in items] == [row[JSON] for row in found]
    assert [last for _, last in batches] == [False] * (len(batches) - 1) + [True]
    rows, more = await store.reads.page(query, PB, 10**9)
    assert [row["id"] for row in rows] == expected
    if limit:
        assert more is (skip + limit < 7)


@pytest.mark.parametrize("cut", range(8))
async def test_a_position_goes_on_behind_its_record(cut: int, store: Store, seven: list[str]) -> None:
    rows = await store.reads.find(_window(100), PB, "created")
    if cut == 0:
        assert [row["id"] for row in rows] == seven
        return
    last = rows[cut - 1]
    behind = await store.reads.find(_window(100, after=(last["created"], last["id"])), PB)
    assert [row["id"] for row in behind] == seven[cut:]


async def test_a_position_need_not_be_a_record_any_more(store: Store, seven: list[str]) -> None:
    rows = await store.reads.find(_window(100), PB, "created", "etag", "id")
    gone = rows[2]
    id_ = session.KIND.document_id(TENANT, gone["id"])
    await store.writes.delete(session.KIND, id_, gone["etag"])
    behind = await store.reads.find(_window(100, after=(gone["created"], gone["id"])), PB)
    assert [row["id"] for row in behind] == seven[3:]


async def test_a_page_ends_where_its_bytes_do_but_has_one_record(store: Store, seven: list[str]) -> None:
    rows = await store.reads.find(_window(100), PB)
    size = len(rows[0][PB])
    for budget, count in ((0, 1), (1, 1), (size, 1), (2 * size, 2), (2 * size + 1, 2), (7 * size, 7)):
        page, more = await store.reads.page(_window(100), PB, budget)
        assert [row["id"] for row in page] == seven[:count], budget
        assert more is (count < 7)


async def test_a_long_list_streams_in_batches_and_in_order(store: Store) -> None:
    made = [a_session(number, created_at=parts.moment(number % 60)) for number in range(2500)]
    await store.writes.put(session.KIND, made)
    query = session.owned_by(TENANT, 10**6)
    batches = [batch async for batch in store.reads.stream(query, JSON)]
    order = sorted(made, key=lambda each: (each["created"], each["id"]), reverse=True)
    assert [item for items, _ in batches for item in items] == [each[JSON] for each in order]
    assert len(batches) > 2
    assert [last for _, last in batches] == [False] * (len(batches) - 1) + [True]
    rows, more = await store.reads.page(session.owned_by(TENANT, 1000), PB, 10**9)
    assert ([row["id"] for row in rows], more) == ([each["id"] for each in order[:1000]], True)


async def test_megabytes_stream_whole(store: Store) -> None:
    made = [a_user_session(number, screenshot=f"{number}" * 3_000_000) for number in range(6)]
    for each in made:
        await store.writes.put(user_session.KIND, [each])
    query = user_session.owned_by({"user_id": "u"})
    batches = [batch async for batch in store.reads.stream(query, JSON)]
    items = [item for batch, _ in batches for item in batch]
    assert items == [each[JSON] for each in sorted(made, key=lambda each: str(each["id"]))]
    light, more = await store.reads.page(replace(query, limit=10), BASIC, 10**6)
    assert (len(light), more) == (6, False)


async def test_a_stream_may_be_left_half_way(store: Store) -> None:
    await store.writes.put(session.KIND, [a_session(number) for number in range(500)])
    async for _ in store.reads.stream(session.owned_by(TENANT, 500), JSON):
        break
    await store.reads.ping()


async def test_a_record_without_a_current_rendering_is_rendered_and_renewed(store: Store) -> None:
    made = [a_session(number) for number in range(40)]
    await create(store, session.KIND, *made)
    collection = store.database[session.KIND.collection]
    await collection.update_many({"id": {"$in": [each["id"] for each in made[:35]]}}, {"$unset": {JSON: 1}})
    rows = await store.reads.find(session.owned_by(TENANT, 100), JSON)
    assert {row["id"]: row[JSON] for row in rows} == {each["id"]: each[JSON] for each in made}
    one = await store.reads.get(session.KIND, TENANT, made[0]["id"], JSON)
    assert one is not None
    assert one[JSON] == made[0][JSON]
    progress = [step async for step in store.writes.renew(session.KIND)]
    assert progress == [(done, 35) for done in range(1, 36)]
    assert await collection.count_documents({JSON: {"$exists": False}}) == 0
    renewed = await collection.find_one({"_id": made[0]["_id"]})
    assert renewed == made[0]


async def test_a_record_too_big_for_two_forms_is_rendered_from_one(store: Store) -> None:
    big = a_user_session(1, screenshot="x" * 9_000_000)
    assert JSON not in big
    await create(store, user_session.KIND, big)
    (row,) = await store.reads.find(user_session.owned_by({"user_id": "u"}), JSON)
    assert b"x" * 9_000_000 in row[JSON]
    assert [step async for step in store.writes.renew(user_session.KIND)] == []


async def test_matching_returns_one_field_of_what_matches(store: Store) -> None:
    agents = [an_agent("a", "*"), an_agent("b", "user:u"), an_agent("c", "group:g", "user:u"), an_agent("d")]
    await create(store, agent.KIND, *agents)
    rids = {each["id"] for each in agents}
    for caller, seen in (
        (Caller("u", "t"), "abc"),
        (Caller("x", "t"), "a"),
        (Caller("x", "t", groups=frozenset(["g"])), "ac"),
    ):
        found = await store.reads.matching(agent.KIND, agent.accessible(rids, caller), "id")
        assert found == {parts.agent_rid(name) for name in seen}


# --- failures --------------------------------------------------------------------------------------


@pytest.fixture
async def close() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


def _operations(store: Store) -> dict[str, Callable[[], Any]]:
    async def stream() -> None:
        async for _ in store.reads.stream(session.owned_by(TENANT, 5), JSON):
            pass

    return {
        "ping": store.reads.ping,
        "find": lambda: store.reads.find(session.owned_by(TENANT, 5), JSON),
        "stream": stream,
        "page": lambda: store.reads.page(session.owned_by(TENANT, 5), PB, 10**6),
        "get": lambda: store.reads.get(session.KIND, TENANT, parts.uid(1), PB),
        "count": lambda: store.reads.count("x"),
        "matching": lambda: store.reads.matching(agent.KIND, {"id": "x"}, "id"),
        "create one": lambda: create(store, session.KIND, a_session()),
        "create many": lambda: create(store, session.KIND, a_session(1), a_session(2)),
        "create counted": lambda: create(store, robot.KIND, a_robot()),
        "create by request": lambda: store.writes.create(session.KIND, [Creation(a_session(), "r", "a")]),
        "replace": lambda: store.writes.replace(session.KIND, a_session(), "x"),
        "delete": lambda: store.writes.delete(session.KIND, a_session()["_id"], "x"),
        "put": lambda: store.writes.put(session.KIND, [a_session()]),
        "put counted": lambda: store.writes.put(robot.KIND, [a_robot()]),
    }


@pytest.mark.parametrize("name", DRIVERS)
async def test_without_a_server_everything_is_unavailable_within_the_deadline(
    name: str, stack: Stack, close: AsyncExitStack
) -> None:
    settings = stack.settings.model_copy(
        update={
            "mongodb_driver": name,
            "mongodb_uri": SecretStr(f"mongodb://127.0.0.1:{free_port()}/?replicaSet=rollcall"),
            "mongodb_seconds": 0.2,
        }
    )
    connection = driver.connect(settings)
    close.push_async_callback(connection.close)
    store = Store(Reads(connection.database), Writes(connection), connection.database, settings)

    async def failure(operation: Callable[[], Any]) -> str:
        try:
            with deadline(2):
                async with asyncio.timeout(4):
                    await operation()
        except (UnavailableError, DeadlineExceededError, TimeoutError) as error:
            return type(error).__name__
        return "no error"

    operations = _operations(store)
    began = time.monotonic()
    failures = await asyncio.gather(*(failure(operation) for operation in operations.values()))
    assert dict(zip(operations, failures, strict=True)) == dict.fromkeys(operations, "UnavailableError")
    assert time.monotonic() - began < 3.5


async def test_an_operation_without_time_fails_as_such_and_the_next_one_works(store: Store) -> None:
    for name, operation in _operations(store).items():
        with deadline(0.000_001):
            try:
                await operation()
            except (UnavailableError, DeadlineExceededError):
                continue
        pytest.fail(f"{name} took no time")
    await store.reads.ping()


# --- concurrency and crashes -----------------------------------------------------------------------


async def test_counters_are_right_after_a_burst_of_64_writers(store: Store) -> None:
    accounts = [1, 2, 3]

    async def write(writer: int) -> None:
        dice = random.Random(writer)  # noqa: S311 # dice
        mine: list[Document] = []
        for step in range(6):
            number = writer * 100 + step
            action = dice.choice(("create", "batch", "replace", "delete", "put"))
            if action == "batch":
                batch = [a_robot_session(number * 100 + each, dice.choice(accounts)) for each in range(3)]
                await create(store, robot_session.KIND, *batch)
                mine += batch
            elif action == "put":
                made = a_robot_session(dice.randrange(50), dice.choice(accounts))
                await store.writes.put(robot_session.KIND, [made])
            elif action == "create" or not mine:
                mine += await create(
                    store, robot_session.KIND, a_robot_session(number + 10**7, dice.choice(accounts))
                )
            else:
                before = mine.pop(dice.randrange(len(mine)))
                if action == "delete":
                    await store.writes.delete(robot_session.KIND, before["_id"], before["etag"])
                else:
                    moved = moved_to(before, parts.xid(dice.choice(accounts)))
                    await store.writes.replace(robot_session.KIND, moved, before["etag"])
                    mine.append(moved)

    await asyncio.gather(*map(write, range(64)))
    assert await store.size(robot_session.KIND) > 64
    await check_counts(store, *map(parts.xid, accounts))


def _writer_program() -> str:
    """Return a program that writes robots and sessions as fast as it can, until it is killed."""
    return textwrap.dedent(
        """
        import asyncio, itertools, os, sys
        from server.records import robot, robot_session
        from server.records.kind import stored
        from server.settings import Settings
        from server.store import driver
        from server.store.writes import Creation, StaleError, Writes
        from tests import parts

        async def main():
            connection = driver.connect(Settings())
            writes = Writes(connection)
            numbers = itertools.count(os.getpid() * 1_000_000)

            def make(kind, number):
                if kind is robot.KIND:
                    body = parts.robot(id=parts.xid(number))
                else:
                    body = parts.robot_session(id=parts.xid(number), created_by=parts.account(number % 3))
                return stored(kind, {}, kind.schema.check(body), {})

            async def write(kind):
                for number in numbers:
                    made = [make(kind, number * 10 + each) for each in range(number % 3 + 1)]
                    await writes.create(kind, [Creation(each) for each in made])
                    if number % 4 == 0:
                        await writes.delete(kind, made[0]["_id"], made[0]["etag"])
                    if number % 5 == 0:
                        await writes.put(kind, [make(kind, number % 7)])
                    print("wrote", flush=True)

            await asyncio.gather(*(write(kind) for kind in (robot.KIND, robot_session.KIND) * 3))

        asyncio.run(main())
        """
    )


@contextmanager
def writing(store: Store) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process that writes through Writes until it is killed by SIGKILL."""
    environment = os.environ | {
        "ROLLCALL_MONGODB_URI": store.settings.mongodb_uri.get_secret_value(),
        "ROLLCALL_MONGODB_DATABASE": store.settings.mongodb_database,
        "ROLLCALL_MONGODB_DRIVER": store.settings.mongodb_driver,
        "PYTHONPATH": os.getcwd(),  # noqa: PTH109 # as a string
    }
    process = subprocess.Popen(
        [sys.executable, "-c", _writer_program()], stdout=subprocess.PIPE, env=environment
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()


async def test_counters_are_right_after_any_crash_of_a_writer(store: Store) -> None:
    """SIGKILL at whatever moment: a record and its counters are written together or not at all."""
    dice = random.Random(7)  # noqa: S311 # dice
    for _ in range(3):
        with writing(store) as process:
            assert process.stdout is not None
            for _ in range(5):
                assert process.stdout.readline() == b"wrote\n"
            await asyncio.sleep(dice.random() / 5)
        await end_transactions(store)
        await check_counts(store, *(parts.xid(number) for number in range(3)))
    assert await store.size(robot.KIND) > 10


async def end_transactions(store: Store) -> None:
    """End what a dead process has left open: mongod would wait a minute for it to go on."""
    await store.database.client.admin.command({"killAllSessions": []})


# --- plans -----------------------------------------------------------------------------------------

OWNER = {"user_id": "u"}
AGENT_OWNER = {"user_id": "u", "client_id": "c"}
TENANTS = {"tenant": {"$in": ["", "t"]}}
AGENT = parts.agent_rid("a0")
VIEWERS = ["*", "user:u", "group:a", "group:b"]


def _session_queries(limit: int) -> Iterator[tuple[str, Query]]:
    filters: dict[str, dict[str, Any] | None] = {
        "all": None,
        "one term": {"a": 1},
        "terms": {"a": 1, "b": 2, "c": 3},
    }
    for name, wanted in filters.items():
        for field in ("created_at", "updated_at"):
            for direction in ("asc", "desc"):
                query = session.owned_by(TENANT, limit, 0, field, direction, wanted)
                yield f"sessions {name} {field} {direction}", query


def _queries(limit: int) -> dict[str, Query]:
    """Return every list that the API offers."""
    agents = agent.on_record(limit)
    own = agent_session.unexpired(AGENT_OWNER, limit)
    users = user_session.owned_by(OWNER, limit)
    return {
        "user sessions": users,
        "user sessions of a tenant": users.where(**TENANTS),
        "user sessions of a language": users.where(language="en"),
        "user sessions of a language and tenant": users.where(**TENANTS, language="en"),
        **dict(_session_queries(limit)),
        "robots": robot.all_robots(limit),
        "robot sessions": robot_session.begun_by(None, limit),
        "robot sessions of an account": robot_session.begun_by(parts.xid(1), limit),
        "robot messages": robot_message.of_session(parts.xid(1), limit),
        "agent sessions": own,
        "agent sessions of a tenant": own.where(**TENANTS),
        "agent sessions of an agent": own.where(agent=AGENT),
        "agent sessions of an agent and tenant": own.where(**TENANTS, agent=AGENT),
        "agent sessions without agents": own.without("agent", [parts.agent_rid("x"), parts.agent_rid("y")]),
        "agents": agents,
        "agents of a caller": agents.where(viewers={"$in": VIEWERS}),
    }


COUNT = 300


@pytest.fixture(scope="module")
async def full(stack: Stack) -> AsyncIterator[Store]:
    """A store with some hundred records of every kind, and of other owners around them."""
    async with opened(stack, "motor") as store:
        await _fill(store)
        yield store


async def _fill(store: Store) -> None:
    def many(make: Callable[[int], Document]) -> Sequence[Document]:
        return [make(number) for number in range(COUNT)]

    def meta(number: int) -> dict[str, Any]:
        return {"metadata": {"a": 1, "b": 2, "c": 3, "n": number}}

    for tenant in ("s", "t", "z"):
        await store.writes.put(
            session.KIND,
            many(lambda n, tenant=tenant: a_session(n, tenant, created_at=parts.moment(n // 2), **meta(n))),  # type: ignore[misc]
        )
    for user in ("t", "u", "v"):
        await store.writes.put(
            user_session.KIND,
            many(lambda n, user=user: a_user_session(n, user, updatedAt=parts.moment(n // 2), language="en")),  # type: ignore[misc]
        )
    await store.writes.put(robot.KIND, many(lambda n: a_robot(n, createdAt=parts.moment(n // 2))))
    await store.writes.put(
        robot_session.KIND, many(lambda n: a_robot_session(n, n % 2, createdAt=parts.moment(n // 2)))
    )
    for in_session in (0, 1, 2):
        await store.writes.put(robot_message.KIND, many(lambda n, s=in_session: a_message(n, s)))  # type: ignore[misc]
    await store.writes.put(
        agent_session.KIND, many(lambda n: an_agent_session(f"{n:04}", "a0", updated=parts.moment(n // 2)))
    )
    await store.writes.put(agent.KIND, many(lambda n: an_agent(f"{n:04}", "*", "user:u", "group:a")))


def _stages(plan: Any) -> Iterator[dict[str, Any]]:
    if isinstance(plan, dict):
        if "stage" in plan:
            yield plan
        for value in plan.values():
            yield from _stages(value)
    elif isinstance(plan, list):
        for value in plan:
            yield from _stages(value)


async def explained(store: Store, query: Query) -> dict[str, Any]:
    """Return the plan and the work of the very find that `Reads` sends."""
    cursor: Any = store.reads._cursor(query, (PB,))  # noqa: SLF001 # there is no other way to the sent command
    plan: dict[str, Any] = await getattr(cursor, "cursor", cursor).explain()
    return plan


@pytest.mark.parametrize("resumed", [False, True], ids=["first page", "behind a position"])
@pytest.mark.parametrize("name", _queries(1))
async def test_every_list_is_one_index_scan_that_ends_with_its_page(
    name: str, resumed: bool, full: Store
) -> None:
    limit = 20
    query = _queries(limit)[name]
    order = [field for field, _ in query.order]
    position = None
    if resumed:
        rows = await full.reads.find(replace(query, limit=101), PB, *order)
        position = tuple(rows[-1][field] for field in order)
        query = replace(query, after=position)
    plan = await explained(full, query)
    stages = {stage["stage"] for stage in _stages(plan["queryPlanner"]["winningPlan"])}
    assert "IXSCAN" in stages
    assert not stages & {"SORT", "COLLSCAN", "OR", "AND_HASH", "AND_SORTED"}
    work = plan["executionStats"]
    assert work["nReturned"] == limit
    assert work["totalKeysExamined"] <= (limit + 1) * _scans(name)
    assert work["totalDocsExamined"] == limit


def _scans(name: str) -> int:
    return len(VIEWERS) if name == "agents of a caller" else 1


@pytest.mark.parametrize("name", _queries(1))
async def test_what_an_offset_skips_is_skipped_in_the_index(name: str, full: Store) -> None:
    limit, offset = 20, 100
    work = (await explained(full, _queries(limit)[name].skipping(offset)))["executionStats"]
    assert work["nReturned"] == limit
    assert work["totalKeysExamined"] <= (offset + limit + 1) * _scans(name)
    # An index has one metadata term an entry: whether the others are there, the record says.
    fetched = offset + limit if name.startswith("sessions terms") else limit
    assert work["totalDocsExamined"] == fetched


SHARDED = {name: query for name, query in _queries(20).items() if query.kind.owner}


@pytest.mark.parametrize("query", SHARDED.values(), ids=SHARDED)
async def test_every_list_of_a_sharded_collection_asks_for_one_shard_key(query: Query, full: Store) -> None:
    """The key is {owner: 1}, by deploy/README.md: one value of it is on one shard."""
    plan = await explained(full, query)
    (scan,) = (stage for stage in _stages(plan["queryPlanner"]["winningPlan"]) if stage["stage"] == "IXSCAN")
    (bounds,) = scan["indexBounds"]["owner"]
    owner = query.filter["owner"]
    assert sorted(owner) == sorted(query.kind.owner)
    low, high = bounds.strip("[]").split(", {")
    assert bounds[0] + bounds[-1] == "[]"
    assert low == "{" + high


async def test_a_denied_agents_sessions_are_passed_over_in_the_index(full: Store) -> None:
    own = agent_session.unexpired(AGENT_OWNER, 20)
    denied = own.without("agent", [parts.agent_rid("a0")])
    plan = await explained(full, denied)
    assert plan["executionStats"]["nReturned"] == 0
    assert plan["executionStats"]["totalDocsExamined"] == 0


async def test_expired_sessions_and_those_of_other_tenants_are_passed_over_in_the_index(full: Store) -> None:
    for query in (
        replace(
            agent_session.unexpired(AGENT_OWNER, 20),
            filter={"owner": AGENT_OWNER, "expires": {"$gt": "2100"}},
        ),
        agent_session.unexpired(AGENT_OWNER, 20).where(tenant={"$in": ["x"]}),
        user_session.owned_by(OWNER, 20).where(tenant={"$in": ["x"]}),
        user_session.owned_by(OWNER, 20).where(tenant={"$in": ["x"]}, language="en"),
    ):
        plan = await explained(full, query)
        assert plan["executionStats"]["nReturned"] == 0
        assert plan["executionStats"]["totalDocsExamined"] == 0


async def test_single_records_and_access_are_looked_up_by_an_index(full: Store) -> None:
    rids = {parts.agent_rid(f"{number:04}") for number in range(20)}
    filter_ = agent.accessible(rids, Caller("u", "t"))
    plan = await full.database[agent.KIND.collection].find(filter_, {"id": 1, "_id": 0}).explain()
    stages = {stage["stage"] for stage in _stages(plan["queryPlanner"]["winningPlan"])}
    assert not stages & {"SORT", "COLLSCAN"}
    assert plan["executionStats"]["totalDocsExamined"] <= 2 * len(rids)
    for kind in KINDS:
        made = SAMPLES[kind]()
        plan = await full.database[kind.collection].find({"_id": made["_id"], **kind.live()}).explain()
        stages = {stage["stage"] for stage in _stages(plan["queryPlanner"]["winningPlan"])}
        assert not stages & {"SORT", "COLLSCAN"}
        assert plan["executionStats"]["totalKeysExamined"] <= 1


async def test_counters_are_summed_in_their_index(full: Store) -> None:
    plan = await full.database["tallies"].find({"tally": robot.TALLY}, {"n": 1, "_id": 0}).explain()
    assert plan["executionStats"]["totalDocsExamined"] == 0

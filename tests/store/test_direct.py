"""Pages by connections of our own answer what the driver would, whatever happens to them."""

import asyncio
import contextlib
import gc
import struct
import warnings
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import bson
import pytest
import trustme
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st
from pymongo import MongoClient, monitoring
from pymongo.errors import PyMongoError

from server.embedded import mongod
from server.errors import UnavailableError
from server.records import agent, session, user_session
from server.records.caller import Caller
from server.records.kind import JSON, PB, Document, stored
from server.records.query import Query
from server.settings import load
from server.store import driver, indexes
from server.store.direct import Direct
from server.store.failures import deadline
from server.store.op_msg import MAX_MESSAGE_BYTES, OpMsg
from server.store.reads import Reads
from tests import parts
from tests.faults.house import Store, running_store
from tests.faults.processes import Process
from tests.faults.proxy import PASS, CorruptLength, Fault, Latency, Pipe, ResetMidReply, Stall
from tests.faults.waiting import until
from tests.stack import free_port

DATABASE = "direct"
TENANT = {"developer_id": "t"}
PAGE_BYTES = 2000
"""Replies of pages are longer than this, the driver's own shorter."""


class Finds(monitoring.CommandListener):
    """Counts what the driver is asked to find."""

    def __init__(self) -> None:
        self.number = 0
        self.ended = 0

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        self.number += event.command_name == "find"

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        self.ended += event.command_name == "find"

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        self.ended += event.command_name == "find"


@dataclass(frozen=True)
class House:
    """Reads that are direct where they can be, and what their driver was asked."""

    reads: Reads
    direct: Direct
    database: Any
    finds: Finds

    async def warm(self) -> None:
        """Ask until a page needs no driver."""
        await self.reads.find(page_of(1), JSON)
        await until(lambda: self.direct.connections > 0, poll=0.01)


def page_of(limit: int, skip: int = 0) -> Query:
    return session.owned_by(TENANT, limit, skip, "created_at", "desc", {})


def a_session(number: int) -> Document:
    body = parts.session(id=parts.uid(number), situation="x" * 200)
    return stored(session.KIND, TENANT, session.KIND.schema.check(body), {})


@asynccontextmanager
async def opened(uri: str, name: str = "motor") -> AsyncIterator[House]:
    finds = Finds()
    chosen = load(mongodb_uri=uri, mongodb_driver=name, mongodb_database=DATABASE, mongodb_seconds=2)
    connection = driver.connect(chosen, [finds], pages=True)
    assert connection.direct is not None
    try:
        yield House(
            Reads(connection.database, connection.direct), connection.direct, connection.database, finds
        )
    finally:
        await connection.close()


@pytest.fixture(scope="module")
async def store(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Store]:
    """A mongod behind a proxy, with 30 sessions of one tenant."""
    async with running_store(tmp_path_factory.mktemp("direct")) as running, opened(running.uri) as house:
        await indexes.make(house.database, (session.KIND, user_session.KIND))
        await house.database["sessions"].insert_many([a_session(number) for number in range(30)])
        yield running


@pytest.fixture(params=["motor", "pymongo"])
async def house(request: pytest.FixtureRequest, store: Store) -> AsyncIterator[House]:
    async with opened(store.uri, request.param) as made:
        yield made
        await store.proxy.set(PASS)


async def expected(house: House, query: Query, form: str) -> list[Document]:
    """Return what the driver says."""
    return await Reads(house.database).find(query, form)


async def test_the_first_page_waits_for_no_connection(house: House) -> None:
    assert len(await house.reads.find(page_of(20), JSON)) == 20
    assert house.finds.number == 1
    await until(lambda: house.direct.connections == 1)


@pytest.mark.parametrize("form", [JSON, PB])
@pytest.mark.parametrize(("limit", "skip"), [(1, 0), (20, 0), (20, 5), (20, 25), (20, 30), (100, 0)])
async def test_a_page_is_what_the_driver_would_find_and_needs_none(
    house: House, form: str, limit: int, skip: int
) -> None:
    query = page_of(limit, skip)
    wanted = await expected(house, query, form)
    await house.warm()
    before = house.finds.number
    assert await house.reads.find(query, form) == wanted
    assert house.finds.number == before


@pytest.mark.parametrize("limit", [30, 101, 102, 1000])
async def test_a_list_that_turns_out_to_be_short_needs_no_driver(limit: int, house: House) -> None:
    wanted = await expected(house, page_of(100), JSON)
    await house.warm()
    before = house.finds.number
    found = [items async for items in house.reads.stream(page_of(limit), JSON)]
    assert found == [([row[JSON] for row in wanted], True)]
    assert house.finds.number == before


async def test_a_list_that_is_long_is_of_one_snapshot(house: House) -> None:
    await house.database["sessions"].insert_many([a_session(number) for number in range(1000, 1100)])
    try:
        await house.warm()
        before = house.finds.number
        found = [items async for items, _ in house.reads.stream(page_of(1000), JSON)]
        assert sum(map(len, found)) == 130
        assert house.finds.number == before + 2
    finally:
        await house.database["sessions"].delete_many({"id": {"$gte": parts.uid(1000)}})


async def test_the_agents_of_a_full_page_of_sessions_need_no_driver(house: House) -> None:
    rids = {parts.agent_rid(str(number)) for number in range(102)}
    agents = [stored(agent.KIND, {}, {"rid": rid}, {"viewers": ["*"]}) for rid in rids]
    await house.database["agents"].insert_many(agents)
    try:
        await house.warm()
        before = house.finds.number
        granted = agent.accessible(rids, Caller("u", "t"))
        assert await house.reads.matching(agent.KIND, granted, "id") == rids
        assert house.finds.number == before
    finally:
        await house.database["agents"].delete_many({})


async def test_a_page_of_an_older_version_is_rendered_after_one_more_find(house: House) -> None:
    wanted = await expected(house, page_of(20), JSON)
    sessions = house.database["sessions"]
    kept = await sessions.find({}).to_list(None)
    await house.warm()
    await sessions.update_many({}, {"$unset": {JSON: ""}})
    try:
        before, asked = house.finds.number, await finds_of(house)
        assert await house.reads.find(page_of(20), JSON) == wanted
        assert (house.finds.number, await finds_of(house)) == (before, asked + 2)
    finally:
        for document in kept:
            await sessions.replace_one({"_id": document["_id"]}, document)


async def finds_of(house: House) -> int:
    """Return how often mongod was asked to find something, by anybody."""
    status = await house.database.client.admin.command("serverStatus")
    return int(status["metrics"]["commands"]["find"]["total"])


async def test_pages_side_by_side_have_a_connection_each(house: House) -> None:
    wanted = await expected(house, page_of(20), JSON)
    for _ in range(20):
        found = await asyncio.gather(*(house.reads.find(page_of(20), JSON) for _ in range(8)))
        assert found == [wanted] * 8
    assert 1 < house.direct.connections <= 8


class Once(Fault):
    """Happens to one page, and to nothing else."""

    def __init__(self, fault: Fault) -> None:
        self._fault = fault
        self.happened = False

    async def reply(self, pipe: Pipe, data: bytes) -> None:
        if self.happened or len(data) < PAGE_BYTES:
            await pipe.send(data)
            return
        self.happened = True
        await self._fault.reply(pipe, data)


class CorruptBody(Fault):
    async def reply(self, pipe: Pipe, data: bytes) -> None:
        damaged = bytearray(data)
        damaged[25:60] = b"\xff" * 35
        await pipe.send(bytes(damaged))


@pytest.mark.parametrize(
    "fault",
    [
        ResetMidReply(),
        CorruptLength(lambda _: 0),
        CorruptLength(lambda _: -5),
        CorruptLength(lambda _: MAX_MESSAGE_BYTES + 1),
        CorruptLength(lambda length: length - 1),
        CorruptBody(),
    ],
    ids=["reset", "no length", "a negative length", "too long", "too short", "a damaged body"],
)
async def test_a_page_that_fails_on_its_way_is_read_again_by_the_driver(
    fault: Fault, house: House, store: Store
) -> None:
    wanted = await expected(house, page_of(20), JSON)
    await house.warm()
    before = house.finds.number
    once = Once(fault)
    await store.proxy.set(once)
    with deadline(5):
        assert await house.reads.find(page_of(20), JSON) == wanted
    assert once.happened
    assert house.finds.number == before + 1
    await until(lambda: house.direct.connections == 0)


async def test_silence_is_unavailable_at_the_deadline_and_no_page_meets_it_again(
    house: House, store: Store
) -> None:
    wanted = await expected(house, page_of(20), JSON)
    await house.warm()
    await store.proxy.set(Stall())
    with deadline(0.3), pytest.raises(UnavailableError):
        await house.reads.find(page_of(20), JSON)
    await store.proxy.set(PASS)
    await until(lambda: house.direct.connections == 0)
    with deadline(5):
        assert await house.reads.find(page_of(20), JSON) == wanted


async def test_a_find_that_is_slow_by_itself_ends_in_time_and_costs_no_connection(house: House) -> None:
    await house.warm()
    await asyncio.gather(*(house.reads.find(page_of(20), JSON) for _ in range(4)))
    await until(lambda: house.direct.connections > 1)
    before = house.direct.connections
    slow = {"find": "sessions", "filter": {"$where": "sleep(100) || true"}}
    with deadline(0.6), pytest.raises(UnavailableError):
        await house.direct.find(slow)
    assert house.direct.connections == before


async def test_a_caller_without_patience_costs_at_most_one_connection(house: House, store: Store) -> None:
    await house.warm()
    await asyncio.gather(*(house.reads.find(page_of(20), JSON) for _ in range(4)))
    await until(lambda: house.direct.connections > 1)
    before = house.direct.connections
    await store.proxy.set(Latency(0.1))
    with deadline(0.02), pytest.raises(UnavailableError):
        await house.reads.find(page_of(20), JSON)
    assert house.direct.connections >= before - 1


async def test_connections_from_before_a_lost_heartbeat_are_not_used(house: House) -> None:
    wanted = await expected(house, page_of(20), JSON)
    await house.warm()
    ((connection, opened),) = house.direct._opened.items()  # noqa: SLF001 # what a lost heartbeat changes
    opened.pool_gen.inc(None)
    before = house.finds.number
    assert await house.reads.find(page_of(20), JSON) == wanted
    assert house.finds.number == before + 1
    await asyncio.wait_for(connection.ended, 5)


@pytest.mark.parametrize("number", range(4))
async def test_a_command_that_fails_costs_no_connection(number: int, house: House) -> None:
    await house.warm()
    failing: list[dict[str, Any]] = [
        {"find": "sessions", "hint": {"no": 1}},
        {"find": "sessions", "filter": {"$no": 1}},
        {"find": "", "filter": {}},
        {"no": "command"},
    ]
    assert await house.direct.find(failing[number]) is None
    assert house.direct.connections == 1


async def test_what_bson_cannot_hold_is_raised_and_keeps_no_connection(house: House) -> None:
    await house.warm()
    with pytest.raises(UnicodeEncodeError):
        await house.direct.find({"find": "sessions", "filter": {"id": "\ud800"}})
    await until(lambda: house.direct.connections == 0)
    await house.warm()


async def test_a_cancelled_page_takes_its_connection_along_and_no_other_gets_its_reply(
    house: House, store: Store
) -> None:
    wanted = await expected(house, page_of(20), JSON)
    await house.warm()
    await store.proxy.set(Latency(0.2))
    task = asyncio.create_task(house.reads.find(page_of(5), JSON))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await store.proxy.set(PASS)
    assert await house.reads.find(page_of(20), JSON) == wanted
    await until(lambda: house.direct.connections <= 1)


async def test_a_driver_that_must_not_be_cancelled_ends_what_it_has_begun(store: Store) -> None:
    finds = Finds()
    chosen = load(mongodb_uri=store.uri, mongodb_driver="pymongo", mongodb_database=DATABASE)
    connection = driver.connect(chosen, [finds])
    reads = Reads(connection.database, shields=True)
    await reads.ping()
    await store.proxy.set(Latency(0.2))
    task = asyncio.create_task(reads.find(page_of(5), JSON))
    await until(lambda: finds.number == 1, poll=0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert finds.ended == 0
    await until(lambda: finds.ended == 1)
    await store.proxy.set(PASS)
    assert len(await reads.find(page_of(5), JSON)) == 5
    await connection.close()


async def test_a_page_over_16_mb_is_whole_and_leaves_no_cursor_open(house: House, store: Store) -> None:
    owner = {"user_id": "heavy"}

    def heavy(number: int) -> Document:
        body = parts.user_session(uuid=parts.uid(number), screenshot="x" * 2_500_000)
        return stored(user_session.KIND, owner, user_session.KIND.schema.check(body), {})

    await house.database["user_sessions"].delete_many({})
    for number in range(8):
        await house.database["user_sessions"].insert_one(heavy(number))
    query = replace(user_session.owned_by(owner), limit=8)
    await house.warm()

    def open_cursors() -> int:
        with store.mongod.client() as client:
            return int(client.admin.command("serverStatus")["metrics"]["cursor"]["open"]["total"])

    before = await asyncio.to_thread(open_cursors)
    with deadline(10):
        rows = await house.reads.find(query, JSON)
    assert [len(row[JSON]) > 2_500_000 for row in rows] == [True] * 8
    assert await asyncio.to_thread(open_cursors) <= before


async def test_a_server_that_steps_down_is_not_asked_any_more(house: House, store: Store) -> None:
    wanted = await expected(house, page_of(20), JSON)
    await house.warm()

    def step_down() -> None:
        with store.mongod.client() as client:
            client.admin.command({"replSetStepDown": 1, "force": True})

    await asyncio.to_thread(step_down)
    with deadline(20):
        assert await house.reads.find(page_of(20), JSON) == wanted
    await store.mongod.await_primary()


async def ends(connection: driver.Connection) -> None:
    """Ask for a page that nobody answers, then close."""
    with deadline(0.5), pytest.raises(UnavailableError):
        await Reads(connection.database, connection.direct).find(page_of(20), JSON)
    async with asyncio.timeout(5):
        await connection.close()


def unanswered(port: int) -> driver.Connection:
    uri = f"mongodb://127.0.0.1:{port}/?directConnection=true"
    return driver.connect(load(mongodb_uri=uri, mongodb_seconds=0.5), pages=True)


@contextlib.contextmanager
def sockets_left() -> Iterator[None]:
    """PyMongo's monitor forgets the socket that it is connecting when its client is closed: it stays here."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "unclosed <socket", ResourceWarning)
        yield
        gc.collect()


async def test_without_a_server_no_page_waits_for_a_connection_and_closing_takes_no_time() -> None:
    with sockets_left():
        await ends(unanswered(free_port()))


async def test_a_server_that_accepts_and_is_silent_does_not_hold_up_the_end() -> None:
    accepted: list[asyncio.StreamWriter] = []

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(writer)
        with contextlib.suppress(ConnectionError):
            await reader.read()

    async def ask(port: int) -> None:
        connection = unanswered(port)
        await ends(connection)
        # What is still being opened ends with its server.
        direct = connection.direct
        assert direct is not None
        for writer in accepted:
            writer.transport.abort()
        await until(lambda: not direct._holding)  # noqa: SLF001 # nothing else tells

    with sockets_left():
        async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
            await ask(server.sockets[0].getsockname()[1])


@pytest.mark.parametrize(
    "option", ["readPreference=secondaryPreferred", "readConcernLevel=majority", "maxIdleTimeMS=60000"]
)
async def test_what_a_uri_says_of_reads_leaves_them_to_the_driver(option: str, store: Store) -> None:
    connection = driver.connect(load(mongodb_uri=f"{store.uri}&{option}"), pages=True)
    assert connection.direct is None
    await connection.close()


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
async def test_pages_have_the_tls_and_the_credentials_of_the_uri(
    run: Callable[[Coroutine[Any, Any, None]], None], tmp_path: Path
) -> None:
    ca = trustme.CA()
    (tmp_path / "db").mkdir()
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    ca.issue_cert("localhost", "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(tmp_path / "key.pem")
    port = free_port()
    tls = ("--tlsMode", "requireTLS", "--tlsCertificateKeyFile", str(tmp_path / "key.pem"))
    alone = ("--tlsCAFile", str(tmp_path / "ca.pem"), "--tlsAllowConnectionsWithoutCertificates", "--auth")
    place = (
        "--bind_ip",
        "127.0.0.1",
        "--port",
        str(port),
        "--nounixsocket",
        "--dbpath",
        str(tmp_path / "db"),
    )
    known = f"tls=true&tlsCAFile={tmp_path / 'ca.pem'}"

    def add_user() -> bool:
        try:
            with MongoClient[Any](
                f"mongodb://localhost:{port}/?{known}", serverSelectionTimeoutMS=200
            ) as client:
                client.admin.command("createUser", "reader", pwd="a password", roles=["readWriteAnyDatabase"])
        except PyMongoError:
            return False
        return True

    async with Process("mongod", [mongod.find(), *place, *tls, *alone], tmp_path).running():
        await until(lambda: asyncio.to_thread(add_user))
        uri = f"mongodb://reader:a%20password@localhost:{port}/?{known}&retryWrites=false"
        await asyncio.to_thread(run, _check_pages(uri))


async def _check_pages(uri: str) -> None:
    async with opened(uri) as house:
        await indexes.make(house.database, (session.KIND,))
        await house.database["sessions"].insert_many([a_session(number) for number in range(30)])
        wanted = await expected(house, page_of(30), JSON)
        await house.warm()
        before = house.finds.number
        assert await house.reads.find(page_of(30), JSON) == wanted
        assert house.finds.number == before


# --- the wire ---------------------------------------------------------------------------------------

HEADER = struct.Struct("<iiiiIB")
OK = bson.encode({"ok": 1})


def message(
    answers: int = 1, opcode: int = 2013, flags: int = 0, section: int = 0, body: bytes = OK
) -> bytes:
    return HEADER.pack(HEADER.size + len(body), 7, answers, opcode, flags, section) + body


@asynccontextmanager
async def connection_to(answer: Callable[[bytes], list[bytes]], pause: float = 0) -> AsyncIterator[OpMsg]:
    """Open a connection to a server that sends these parts when it is asked."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            for part in answer(data):
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(pause)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_connection(asyncio.Protocol, *server.sockets[0].getsockname()[:2])
        connection = OpMsg(transport)
        yield connection
        connection.close()
        await connection.ended


async def ask(connection: OpMsg, seconds: float = 5) -> Document:
    return await connection.ask({"ping": 1, "$db": "x"}, asyncio.get_running_loop().time() + seconds)


@pytest.mark.parametrize("size", [0, 1, 65_000, 65_536, 100_000, 3_000_000])
@pytest.mark.parametrize("part", [1000, 65_536, 10**7])
async def test_a_reply_is_read_whatever_its_length_and_its_parts(size: int, part: int) -> None:
    body = {"ok": 1, "data": b"x" * size}
    replies = iter([message(1, body=bson.encode(body)), message(2, body=bson.encode(body))])

    def parts_of(_: bytes) -> list[bytes]:
        reply = next(replies)
        return [reply[start : start + part] for start in range(0, len(reply), part)]

    async with connection_to(parts_of) as connection:
        assert await ask(connection) == body
        assert await ask(connection) == body


async def test_a_reply_that_fills_the_buffer_to_the_last_byte_is_read() -> None:
    size = (64 << 10) - len(message(body=bson.encode({"data": b""})))
    body = {"data": b"x" * size}
    async with connection_to(lambda _: [message(body=bson.encode(body))]) as connection:
        assert await ask(connection) == body


@pytest.mark.parametrize(
    "reply",
    [
        message(answers=2),
        message(opcode=2012),
        message(flags=1),
        message(section=1),
        message() + b"\0",
        message() * 2,
        message(body=b""),
        struct.pack("<i", 2**31 - 1),
        struct.pack("<i", -1),
    ],
    ids=[
        "another request's",
        "compressed",
        "a checksum",
        "a sequence",
        "a byte too many",
        "two",
        "empty",
        "long",
        "negative",
    ],
)
async def test_what_is_no_reply_ends_the_connection(reply: bytes) -> None:
    async with connection_to(lambda _: [reply]) as connection:
        with pytest.raises((OSError, bson.errors.InvalidBSON)):
            await ask(connection)
        await connection.ended
        with pytest.raises(ConnectionResetError):
            await ask(connection)


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=4, max_size=200))
def test_no_bytes_are_more_than_a_failure(data: bytes) -> None:
    async def answered() -> None:
        async with connection_to(lambda _: [data]) as connection:
            with pytest.raises((OSError, bson.errors.InvalidBSON)):
                await ask(connection, 0.05)

    asyncio.run(answered())


async def test_what_a_server_says_unasked_ends_the_connection() -> None:
    async with connection_to(lambda _: [message(), message(2)], pause=0.1) as connection:
        await ask(connection)
        await asyncio.wait_for(connection.ended, 5)

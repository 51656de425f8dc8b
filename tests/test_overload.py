"""More calls than the service takes on: some are answered in time, the others are told to come back."""

import asyncio
import base64
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from email.utils import parsedate_to_datetime
from typing import Any

import grpc
import httpx
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from rollcall.v1 import rest_pb2, rest_pb2_grpc, session_pb2, session_pb2_grpc

from server.admission import Capacity, Gate
from server.errors import OverloadedError, StoppingError
from tests import test_envoy as envoy
from tests.faults.waiting import until
from tests.parts import FOUNDRY, ROBOTS, SCOPE, line, session, user_session
from tests.stack import Stack, free_port, frozen, running_stack
from tests.test_envoy import Proxy

PLACES = 2
WAIT_SECONDS = 0.1
STREAMS = 3
STREAM_MB = 17
"""What two readers hold, of a first batch of 8 MB each, leaves room for a third."""
PATIENCE_SECONDS = 15
CONTRACTS = ("/sessions", "/robots", FOUNDRY, "/v1/sessions")
HEALTHY = health_pb2.HealthCheckResponse.SERVING


class Counted:
    """What the gate counts."""

    def __init__(self) -> None:
        self.waited: list[float] = []
        self.refused = 0

    def waiting(self, calls: float) -> None:
        self.waited.append(calls)

    def shed(self) -> None:
        self.refused += 1


def gate(places: int = 1, waiting: int = 9, seconds: float = 60) -> tuple[Gate, Counted]:
    counted = Counted()
    return Gate(Capacity(places, waiting, seconds, stream_bytes=1), counted), counted


async def in_line(gate: Gate, done: list[str], name: str, *, begun: bool = False) -> "asyncio.Task[None]":
    async def enter() -> None:
        await gate.enter(begun=begun)
        done.append(name)

    task = asyncio.create_task(enter())
    await asyncio.sleep(0)
    return task


async def test_so_many_calls_work_and_others_wait_in_the_order_in_which_they_came() -> None:
    door, _ = gate(places=2)
    assert [door.passes() for _ in range(3)] == [True, True, False]
    done: list[str] = []
    tasks = [await in_line(door, done, name) for name in "abc"]
    for _ in range(2):
        door.leave()
    await asyncio.gather(*tasks[:2])
    assert done == ["a", "b"]
    assert not door.passes()
    door.leave()
    await tasks[2]


async def test_an_answer_that_has_begun_goes_before_those_that_have_not() -> None:
    door, _ = gate(waiting=1)
    assert door.passes()
    done: list[str] = []
    tasks = [await in_line(door, done, "new"), await in_line(door, done, "begun", begun=True)]
    door.leave()
    await tasks[1]
    door.leave()
    await tasks[0]
    assert done == ["begun", "new"]


async def test_who_finds_the_line_full_is_shed() -> None:
    door, counted = gate(waiting=1)
    assert door.passes()
    waiting = await in_line(door, [], "a")
    with pytest.raises(OverloadedError):
        await door.enter()
    door.leave()
    await waiting
    assert (counted.refused, counted.waited) == (1, [1, 0])


async def test_nobody_waits_longer_than_the_bound() -> None:
    door, counted = gate(seconds=0.05)
    assert door.passes()
    with pytest.raises(OverloadedError):
        await door.enter()
    door.leave()
    assert door.passes()
    assert counted.waited == [1, 0]


async def test_in_a_line_that_lasts_calls_wait_only_shortly() -> None:
    door, _ = gate(seconds=1.5)
    assert door.passes()
    tasks = [await in_line(door, [], "a")]
    await asyncio.sleep(1)
    tasks.append(await in_line(door, [], "b"))
    await asyncio.sleep(1)
    late, begun = await in_line(door, [], "c"), time.monotonic()
    with pytest.raises(OverloadedError):
        await late
    assert not tasks[1].done(), time.monotonic() - begun
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [OverloadedError] * 2


async def test_a_line_that_lasts_takes_nobody_while_its_calls_have_waited_long() -> None:
    door, counted = gate(seconds=1.5)
    assert door.passes()
    done: list[str] = []
    tasks = [await in_line(door, done, "a")]
    await asyncio.sleep(1)
    tasks.append(await in_line(door, done, "b"))
    assert not door.sheds(), "there is a line, but not for long"
    await asyncio.sleep(1)
    tasks.append(await in_line(door, done, "c"))
    assert not door.sheds(), "nobody has been let in yet"
    door.leave()
    assert door.sheds(), "b had waited long"
    with pytest.raises(OverloadedError):
        await door.enter()
    door.leave()
    assert not door.sheds(), "there is no line"
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [OverloadedError, type(None), type(None)]
    assert (done, counted.refused) == (["b", "c"], 3)


@pytest.mark.parametrize("given", [False, True], ids=["still in line", "just let in"])
async def test_a_caller_who_goes_leaves_the_place_to_the_next(*, given: bool) -> None:
    door, _ = gate()
    assert door.passes()
    done: list[str] = []
    first, second = await in_line(door, done, "a"), await in_line(door, done, "b")
    if given:
        door.leave()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    if not given:
        door.leave()
    await second
    assert done == ["b"]
    door.leave()
    assert door.passes()


async def test_a_caller_who_goes_as_it_is_shed_leaves_no_place() -> None:
    door, counted = gate(seconds=0.01)
    assert door.passes()
    gone = await in_line(door, [], "a")
    # Its time in line ends in the turn of the event loop in which its caller goes.
    asyncio.get_running_loop().call_later(0.01, gone.cancel)
    time.sleep(0.02)  # noqa: ASYNC251 # so that both are due in one turn
    await asyncio.gather(gone, return_exceptions=True)
    assert (gone.cancelled(), counted.refused) == (True, 1)
    assert not door.passes()
    door.leave()
    assert [door.passes() for _ in range(2)] == [True, False]


async def test_a_gate_that_is_closed_lets_in_who_waits_and_what_has_begun() -> None:
    door, _ = gate()
    assert door.passes()
    waiting = await in_line(door, [], "a")
    door.close()
    assert not door.passes()
    with pytest.raises(StoppingError) as refusal:
        await door.enter()
    assert refusal.value.headers()["grpc-retry-pushback-ms"] == "1000"
    door.leave()
    await waiting
    door.leave()
    await door.enter(begun=True)


# Envoy, with two places and a server that answers when it likes.


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    folder, port = tmp_path_factory.mktemp("narrow"), free_port()
    with envoy.running_upstream(folder, port), envoy.running_proxy(folder, port, PLACES) as proxy:
        yield proxy


@contextlib.contextmanager
def filled(proxy: Proxy) -> Iterator[None]:
    """Have all places taken by calls that hang."""
    hang = (("x-act", "hang"),)
    await_status(proxy, 200)
    with grpc.insecure_channel(f"127.0.0.1:{proxy.rest_port}") as channel:
        call = rest_pb2_grpc.RestServiceStub(channel).ListRobots
        hanging: list[Any] = []

        def fill() -> None:
            # A probe may have had the place of one.
            hanging[:] = [one for one in hanging if not one.done()]
            while len(hanging) < PLACES:
                hanging.append(call.future(rest_pb2.ListRobotsRestRequest(), metadata=hang))

        await_status(proxy, 429, fill)
        yield
        for one in hanging:
            one.cancel()


def await_status(proxy: Proxy, status: int, before: Callable[[], None] = lambda: None) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    before()
    while proxy.get("/robots").status_code != status:
        assert time.monotonic() < end
        time.sleep(0.02)
        before()


TOO_MANY = {
    "/sessions": envoy.julep("Too many requests", 429),
    "/robots": envoy.problem("too-many-requests", "Too many requests."),
    FOUNDRY: envoy.foundry("CUSTOM_CLIENT", "Default:RateLimited"),
    "/v1/sessions/x": envoy.rpc(8, "Too many requests"),
}


def test_envoy_refuses_a_call_too_many_in_each_contract_s_words(narrow: Proxy) -> None:
    with filled(narrow):
        answers = {path: narrow.get(path) for path in TOO_MANY}
    for path, answer in answers.items():
        envoy.check(answer, 429, TOO_MANY[path])
        assert "x-capacity" not in answer.headers
        expect_delay(path, answer, PLACES)


def expect_delay(path: str, answer: httpx.Response, limit: int) -> None:
    """The answer says when to come back, Storyden's as a date and with its limit."""
    if "/robots" not in path:
        assert int(answer.headers["retry-after"]) > 0
        assert not [name for name in answer.headers if name.startswith("x-ratelimit")]
        return
    reset = parsedate_to_datetime(answer.headers["retry-after"])
    assert reset.timestamp() > parsedate_to_datetime(answer.headers["date"]).timestamp()
    limits = [answer.headers[f"x-ratelimit-{name}"] for name in ("limit", "remaining", "reset")]
    assert limits == [str(limit), "0", answer.headers["retry-after"]]


def test_envoy_refuses_a_native_call_too_many_as_exhausted(narrow: Proxy) -> None:
    with filled(narrow), grpc.insecure_channel(f"127.0.0.1:{narrow.rest_port}") as channel:
        with pytest.raises(grpc.RpcError) as refusal:
            session_pb2_grpc.SessionServiceStub(channel).ListSessions(session_pb2.ListSessionsRequest())
        health: Any = health_pb2_grpc.HealthStub(channel)
        assert health.Check(health_pb2.HealthCheckRequest()).status == HEALTHY
    assert refusal.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_lists_of_any_length_have_places_of_their_own_in_envoy(narrow: Proxy) -> None:
    with filled(narrow):
        assert narrow.get("/session").status_code == 200


# The server, with one place, and a store that does not answer.


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    limits = {
        "MAX_CALLS": 1,
        "MAX_WAITING": 1,
        "WAIT_SECONDS": WAIT_SECONDS,
        "MAX_STREAM_MB": STREAM_MB,
        # Its work outlives a call that is cancelled, on Python 3.11: that is the harder case.
        "MONGODB_DRIVER": "pymongo",
    }
    environment = {f"ROLLCALL_{name}": str(value) for name, value in limits.items()}
    with running_stack(tmp_path_factory.mktemp("busy") / "data", environment=environment) as stack:
        audio = base64.b64encode(os.urandom(3 << 18)).decode()
        large = [
            user_session(uuid=f"{number:02}", audios=[{"id": "a", "base64": audio}]) for number in range(16)
        ]
        stack.load(
            *(line("user_session", body, user_id="large") for body in large),
            line("session", session(), developer_id="ada"),
        )
        yield stack


@contextlib.asynccontextmanager
async def stuck(stack: Stack) -> AsyncIterator[None]:
    """Have the one place taken by a call that waits for the store."""
    metadata = (("authorization", f"Bearer {stack.token('ada')}"),)
    async with grpc.aio.insecure_channel(stack.grpc) as channel:
        stub: Any = session_pb2_grpc.SessionServiceStub(channel)
        with frozen(stack.part("mongod")):
            call = stub.ListSessions(session_pb2.ListSessionsRequest(), metadata=metadata)
            # Who has no credentials is told so until the place is taken.
            await until(lambda: _is_full(stack), PATIENCE_SECONDS)
            yield
        await call
    end = time.monotonic() + PATIENCE_SECONDS
    while stack.get("/sessions", stack.token("ada")).status_code != 200:
        assert time.monotonic() < end


async def _is_full(stack: Stack) -> bool:
    return (await asyncio.to_thread(stack.get, "/session")).status_code == httpx.codes.TOO_MANY_REQUESTS


async def test_the_server_refuses_a_call_too_many_before_it_asks_who_calls(busy: Stack) -> None:
    async with stuck(busy), grpc.aio.insecure_channel(busy.grpc) as channel:
        answers = {path: await asyncio.to_thread(busy.get, path) for path in ("/session", *CONTRACTS)}
        stub: Any = session_pb2_grpc.SessionServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await stub.ListSessions(session_pb2.ListSessionsRequest())
        health: Any = health_pb2_grpc.HealthStub(channel)
        assert (await health.Check(health_pb2.HealthCheckRequest(service="live"))).status == HEALTHY
    for path, answer in answers.items():
        assert answer.status_code == 429
        expect_delay(path, answer, 1)
    assert answers["/session"].json()["error"]["type"] == "TOO_MANY_REQUESTS"
    assert answers["/sessions"].json()["error"]["code"] == "http_429"
    assert answers["/robots"].json()["type"] == "urn:storyden:problem:too-many-requests"
    assert answers[FOUNDRY].json()["errorName"] == "Default:RateLimited"
    assert answers["/v1/sessions"].json()["details"][0]["reason"] == "OVERLOADED"
    assert refusal.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    info, delay = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    status = rpc_status.from_call(refusal.value)  # type: ignore[arg-type] # it is one
    assert status.details[0].Unpack(info)
    assert status.details[1].Unpack(delay)
    assert (info.reason, delay.retry_delay.seconds) == ("OVERLOADED", 1)


async def test_a_typed_call_that_is_shed_at_once_is_no_line_of_the_log(busy: Stack) -> None:
    async with stuck(busy), grpc.aio.insecure_channel(busy.grpc) as channel:
        before = len(log_of(busy))
        calls = [
            session_pb2_grpc.SessionServiceStub(channel).ListSessions(session_pb2.ListSessionsRequest())
            for _ in range(20)
        ]
        outcomes: list[Any] = await asyncio.gather(*calls, return_exceptions=True)
        health: Any = health_pb2_grpc.HealthStub(channel)
        assert (await health.Check(health_pb2.HealthCheckRequest(service="live"))).status == HEALTHY
        # One waits in line, as long as a call may; its line comes after its answer.
        await until(lambda: "ListSessions" in log_of(busy)[before:])
        assert log_of(busy)[before:].count("ListSessions") == 1
    assert {outcome.code() for outcome in outcomes} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
    reasons = set()
    for outcome in outcomes:
        info = error_details_pb2.ErrorInfo()
        assert rpc_status.from_call(outcome).details[0].Unpack(info)
        reasons.add(info.reason)
    assert reasons == {"OVERLOADED"}


async def test_readers_who_do_not_read_keep_nobody_out_and_are_only_so_many(busy: Stack) -> None:
    """They have one place between them; what they hold is bounded in bytes."""
    metadata = (("authorization", f"Bearer {busy.token('large')}"),)
    options = [
        ("grpc.max_receive_message_length", -1),
        ("grpc.use_local_subchannel_pool", 1),
        # What is not read stays with the server.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", 1 << 16),
    ]
    robots = busy.token("ada", permissions=[ROBOTS], scopes=[SCOPE], client_id="c")
    async with contextlib.AsyncExitStack() as stack:
        readers = []
        for _ in range(STREAMS):
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(busy.grpc, options=options))
            stub: Any = rest_pb2_grpc.RestServiceStub(channel)
            readers.append(await begun_reader(stub, metadata))
        answer = await asyncio.to_thread(busy.get, "/robots", robots)
        refused = await asyncio.to_thread(busy.get, "/session", robots)
        whole = await asyncio.gather(*map(rest_of, readers))
    assert (answer.status_code, refused.status_code) == (200, 429)
    assert min(whole) > 15 << 20


async def begun_reader(stub: Any, metadata: Any) -> Any:
    """Return a reader who has read the first part; one that found the place taken tries again."""
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        reader = aiter(stub.ListUserSessions(rest_pb2.ListUserSessionsRestRequest(), metadata=metadata))
        try:
            await anext(reader)
        except grpc.aio.AioRpcError:
            assert time.monotonic() < end
            await asyncio.sleep(0.1)
        else:
            return reader


async def rest_of(reader: Any) -> int:
    return sum([len(message.data) async for message in reader])


def log_of(stack: Stack) -> str:
    return (stack.folder / "server.log").read_text()


async def test_callers_who_go_away_leave_no_error_in_the_log(busy: Stack) -> None:
    before = len(log_of(busy))
    metadata = (("authorization", f"Bearer {busy.token('large')}"),)
    async with grpc.aio.insecure_channel(busy.grpc) as channel:
        rest: Any = rest_pb2_grpc.RestServiceStub(channel)
        typed: Any = session_pb2_grpc.SessionServiceStub(channel)
        for number in range(60):
            calls = [
                typed.ListSessions(session_pb2.ListSessionsRequest(), metadata=metadata),
                rest.ListUserSessions(rest_pb2.ListUserSessionsRestRequest(), metadata=metadata),
                rest.ListRobots(rest_pb2.ListRobotsRestRequest()),
            ]
            await asyncio.sleep(number % 10 / 1000)
            for call in calls:
                call.cancel()
    await asyncio.sleep(0.5)
    written = log_of(busy)[before:]
    assert '"event":"call"' in written
    assert not [text for text in written.splitlines() if '"level":"info"' not in text]
    answer = await asyncio.to_thread(busy.get, "/sessions", busy.token("ada"))
    assert answer.status_code == 200, "a call that has gone keeps its place"


def test_health_checks_that_go_well_are_no_line_of_the_log(busy: Stack) -> None:
    with grpc.insecure_channel(busy.grpc) as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        health.Check(health_pb2.HealthCheckRequest())
    assert "grpc.health" not in log_of(busy)

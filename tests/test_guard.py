"""A list costs no Python work an item: whoever adds some, fails here."""

import secrets
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, TypeAlias

import grpc
import orjson
import pytest
from google.api.httpbody_pb2 import HttpBody
from google.protobuf.message import Message
from rollcall.v1 import agent_session_pb2 as agents
from rollcall.v1 import rest_pb2 as rest
from rollcall.v1 import robot_pb2 as robots
from rollcall.v1 import session_pb2 as sessions
from rollcall.v1 import user_session_pb2 as users

from bench import guard, kinds
from server import app
from server.commands.import_lines import Line, Report, import_lines
from server.records.kind import JSON
from server.records.violation import FieldError
from server.store import driver, indexes
from server.store.reads import Reads
from server.store.writes import Writes
from tests.stack import Stack, free_port

Unary: TypeAlias = "grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]"
Stream: TypeAlias = "grpc.aio.UnaryStreamMultiCallable[bytes, bytes]"

OTHER_USER = "grown-less"
MESSAGES = 110
TEAM = 105
"""Robots and robot sessions: the last page has 5."""
ROBOT_SESSION: str = next(kinds.robot_sessions(1))["body"]["id"]

CALLS = 0.5
"""Function calls an item: a change adds whole ones; less is noise of a few calls a list."""
COPIES = 7.0
"""Bytes held at once for each byte that is sent, the driver's and this client's copies among them."""


@dataclass(frozen=True, slots=True)
class List:
    """A list with few and with many items, and the bytecode instructions that an item may take.

    `steps` is what it takes now, and a little: the least loop over the items is three more.
    """

    method: str
    few: Message
    many: Message
    items: tuple[int, int]
    steps: float
    answer: type[Message] | None = None
    few_user: str = kinds.USER


def typed(
    method: str, request: type[Message], answer: type[Message], steps: float = 2, **fields: Any
) -> List:
    few, many = (request(page_size=size, **fields) for size in (10, 100))
    return List(method, few, many, (10, 100), steps, answer)


LISTS = [
    typed("SessionService/ListSessions", sessions.ListSessionsRequest, sessions.ListSessionsResponse),
    typed(
        "UserSessionService/ListUserSessions", users.ListUserSessionsRequest, users.ListUserSessionsResponse
    ),
    typed("RobotService/ListRobots", robots.ListRobotsRequest, robots.ListRobotsResponse),
    typed(
        "RobotService/ListRobotSessions", robots.ListRobotSessionsRequest, robots.ListRobotSessionsResponse
    ),
    typed(
        "RobotService/ListRobotMessages",
        robots.ListRobotMessagesRequest,
        robots.ListRobotMessagesResponse,
        session_id=ROBOT_SESSION,
    ),
    typed(
        "AgentSessionService/ListAgentSessions",
        agents.ListAgentSessionsRequest,
        agents.ListAgentSessionsResponse,
    ),
    typed("AgentSessionService/ListAgents", agents.ListAgentsRequest, agents.ListAgentsResponse),
    List(
        "RestService/ListUserSessions",
        rest.ListUserSessionsRestRequest(),
        rest.ListUserSessionsRestRequest(),
        (10, 110),
        # Heavy records come in more batches, each of which costs a little.
        18 if sys.version_info < (3, 12) else 16.5,
        few_user=OTHER_USER,
    ),
    List(
        "RestService/ListSessions",
        rest.ListSessionsRestRequest(limit=["10"]),
        rest.ListSessionsRestRequest(limit=["100"]),
        (10, 100),
        2,
    ),
    List(
        "RestService/ListRobotSessions",
        rest.ListRobotSessionsRestRequest(page=["6"]),
        rest.ListRobotSessionsRestRequest(page=["1"]),
        (5, 20),
        2,
    ),
    List(
        "RestService/ListRobots",
        rest.ListRobotsRestRequest(page=["3"]),
        rest.ListRobotsRestRequest(page=["1"]),
        (5, 50),
        2,
    ),
    List(
        "RestService/GetRobotSession",
        rest.GetRobotSessionRestRequest(id=ROBOT_SESSION, limit=["10"]),
        rest.GetRobotSessionRestRequest(id=ROBOT_SESSION, limit=["100"]),
        (10, 100),
        2,
    ),
    List(
        "RestService/ListAllAgentSessions",
        rest.ListAllAgentSessionsRestRequest(preview=["true"], page_size=["10"]),
        rest.ListAllAgentSessionsRestRequest(preview=["true"], page_size=["100"]),
        (10, 100),
        2,
    ),
]


class Service:
    """A server in this process, and its lists."""

    def __init__(self, channel: grpc.aio.Channel, token: Callable[[str], str]) -> None:
        self._channel = channel
        self._token = token

    def call(self, chosen: List, *, many: bool) -> Callable[[], Awaitable[list[bytes]]]:
        """Return what asks for a list and returns its messages as they came."""
        request = (chosen.many if many else chosen.few).SerializeToString()
        metadata = (("authorization", f"Bearer {self._token(kinds.USER if many else chosen.few_user)}"),)
        if chosen.method in {"RestService/ListUserSessions", "RestService/ListSessions"}:
            stream: Stream = self._channel.unary_stream(f"/rollcall.v1.{chosen.method}")

            async def streamed() -> list[bytes]:
                return [chunk async for chunk in stream(request, metadata=metadata)]

            return streamed
        unary: Unary = self._channel.unary_unary(f"/rollcall.v1.{chosen.method}")

        async def answered() -> list[bytes]:
            return [await unary(request, metadata=metadata)]

        return answered

    async def work(self, chosen: List) -> guard.Work:
        """Return what each item of a list takes, its memory for each byte that is sent."""
        few, many = self.call(chosen, many=False), self.call(chosen, many=True)
        answers = await few(), await many()
        assert tuple(_count(chosen, answer) for answer in answers) == chosen.items
        items = chosen.items[1] - chosen.items[0]
        work = await guard.per_item(few, many, items)
        size = (sum(map(len, answers[1])) - sum(map(len, answers[0]))) / items
        return guard.Work(work.calls, work.steps, work.peak / size)


def _count(chosen: List, answer: list[bytes]) -> int:
    if chosen.answer is not None:
        message = chosen.answer.FromString(answer[0])
        return len(getattr(message, message.DESCRIPTOR.fields_by_number[1].name))
    return len(_array(orjson.loads(b"".join(HttpBody.FromString(chunk).data for chunk in answer))))


def _array(body: Any) -> list[Any]:
    """Return the array of an answer's items, wherever it is."""
    if isinstance(body, list):
        return body
    inner = [_array(value) for value in body.values() if isinstance(value, (list, dict))]
    return max(inner, key=len, default=[])


def _lines() -> list[Mapping[str, Any]]:
    return [
        *kinds.sessions(MESSAGES),
        *kinds.user_sessions(MESSAGES),
        *kinds.user_sessions(10, OTHER_USER),
        *kinds.robots(TEAM),
        *kinds.robot_sessions(1, MESSAGES),
        *kinds.robot_sessions(TEAM - 1),
        *kinds.agent_sessions(MESSAGES),
        *kinds.agents(MESSAGES),
    ]


@pytest.fixture(scope="module")
async def service(stack: Stack) -> AsyncIterator[Service]:
    """A server with a database of its own: some lists are the whole installation's."""
    database = f"guard{secrets.token_hex(4)}"
    changes = {"mongodb_database": database, "grpc_port": free_port(), "drain_seconds": 0}
    settings = stack.settings.model_copy(update=changes)
    connection = driver.connect(settings)
    await indexes.make(connection.database, app.KINDS)
    numbered = (Line("guard", number, orjson.dumps(line)) for number, line in enumerate(_lines(), 1))
    by_name = {kind.name: kind for kind in app.KINDS}
    await import_lines(Writes(connection), by_name, numbered, _refuse, Report())

    def token(user: str) -> str:
        may = {"permissions": ["USE_ROBOTS"], "scopes": ["api:aip-agents-write"]}
        return stack.token(user, kinds.TENANT, client_id=kinds.CLIENT, **may)

    async with (
        app.running(settings),
        grpc.aio.insecure_channel(f"127.0.0.1:{settings.grpc_port}") as channel,
    ):
        yield Service(channel, token)
    await connection.database.client.drop_database(database)
    await connection.close()


def _refuse(line: Line, error: FieldError) -> None:
    raise AssertionError(f"{error}: {line.text[:200]!r}")


@pytest.mark.parametrize("chosen", LISTS, ids=[chosen.method for chosen in LISTS])
async def test_an_item_costs_no_python_work(service: Service, chosen: List) -> None:
    work = await service.work(chosen)
    assert work.calls < CALLS
    assert work.steps < chosen.steps
    assert work.peak < COPIES


TYPED, DOCUMENTED = LISTS[0], LISTS[8]


async def test_a_function_called_for_each_item_is_seen(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await service.work(TYPED), await service.work(DOCUMENTED)
    _change_items(monkeypatch, lambda rows: [_same(row) for row in rows])
    after = await service.work(TYPED), await service.work(DOCUMENTED)
    for less, more in zip(before, after, strict=True):
        assert more.calls > less.calls + CALLS
        assert more.calls > CALLS
        assert more.steps > less.steps


async def test_parsing_each_item_in_c_is_seen(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    before = await service.work(DOCUMENTED)
    _change_items(monkeypatch, _parsed)
    after = await service.work(DOCUMENTED)
    assert after.peak > COPIES > before.peak


@pytest.mark.parametrize("chosen", LISTS, ids=[chosen.method for chosen in LISTS])
async def test_the_least_loop_over_the_items_is_seen(
    service: Service, chosen: List, monkeypatch: pytest.MonkeyPatch
) -> None:
    _change_items(monkeypatch, _walked)
    assert (await service.work(chosen)).steps >= chosen.steps


def _walked(rows: list[Any]) -> list[Any]:
    for _ in rows:
        pass
    return rows


def _same(item: Any) -> Any:
    return item


def _parsed(rows: list[Any]) -> list[Any]:
    copies = list(map(orjson.dumps, list(map(orjson.loads, map(itemgetter(JSON), rows)))))
    return rows if copies else []


def _change_items(monkeypatch: pytest.MonkeyPatch, change: Callable[[list[Any]], list[Any]]) -> None:
    """Do something to the items of every list on their way from the store."""
    for name in ("_take", "_directly"):  # where every list's rows come through
        monkeypatch.setattr(Reads, name, _changed(getattr(Reads, name), change))


def _changed(take: Callable[..., Awaitable[Any]], change: Callable[[list[Any]], list[Any]]) -> Any:
    async def changed(self: Reads, *arguments: Any) -> Any:
        rows = await take(self, *arguments)
        return rows if rows is None else change(rows)

    return changed

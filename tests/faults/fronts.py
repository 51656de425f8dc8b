"""The service's front doors, as a checker uses them: records are numbers there."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Protocol

import grpc
import httpx
from rollcall.v1 import session_pb2, session_pb2_grpc

from server.embedded import mongod
from tests.faults.house import channel_to, token_of
from tests.faults.waiting import START_SECONDS
from tests.parts import uid
from tests.stack import PLAIN

PAGE = 500
CLEAN = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}
_CLEAN_STATUSES = {429, 503, 504}


class CleanError(Exception):
    """An error that a caller may meet while something is broken; it says what happened, and to try again."""


class WrongError(Exception):
    """An answer that is not right, or an error that blames the wrong thing."""


@dataclass(frozen=True)
class Page:
    """Numbers of records, and where the list goes on."""

    numbers: list[int]
    token: str


class Front(Protocol):
    async def create(self, number: int, within: float | None) -> None: ...
    async def get(self, number: int, within: float | None) -> None: ...
    async def page(self, token: str, within: float | None) -> Page: ...


def text_of(number: int) -> str:
    """Return what the record of a number has to say, some hundred bytes."""
    return f"record {number} " * 20


def number_of(id_: str, text: object) -> int:
    """Return the number of a record; raise WrongError if it is not what was written."""
    number = int(id_.replace("-", ""), 16)
    if text != text_of(number):
        raise WrongError(f"record {number} has the text {text!r:.80}")
    return number


class Stub:
    """The generated stub, right at a server or through Envoy.

    Records of even numbers are plain inserts, those of odd ones transactions, as they have a request id.
    """

    def __init__(self, channel: grpc.aio.Channel, tenant: str, token: str) -> None:
        self._tenant = tenant
        self._stub: Any = session_pb2_grpc.SessionServiceStub(channel)
        self._metadata = (("authorization", f"Bearer {token}"),)

    async def create(self, number: int, within: float | None) -> None:
        request_id = f"{self._tenant}-{number}" if number % 2 else ""
        record = session_pb2.Session(id=uid(number), situation=text_of(number))
        request = session_pb2.CreateSessionRequest(session=record, request_id=request_id)
        made = await self._call(self._stub.CreateSession, request, within)
        number_of(made.id, made.situation)

    async def get(self, number: int, within: float | None) -> None:
        request = session_pb2.GetSessionRequest(id=uid(number))
        found = await self._call(self._stub.GetSession, request, within)
        if number_of(found.id, found.situation) != number:
            raise WrongError(f"record {found.id} instead of {number}")

    async def page(self, token: str, within: float | None) -> Page:
        request = session_pb2.ListSessionsRequest(page_size=PAGE, page_token=token)
        answer = await self._call(self._stub.ListSessions, request, within)
        numbers = [number_of(one.id, one.situation) for one in answer.sessions]
        return Page(numbers, answer.next_page_token)

    async def _call(self, method: Any, request: Any, within: float | None) -> Any:
        try:
            return await method(request, metadata=self._metadata, timeout=within)
        except grpc.aio.AioRpcError as error:
            text = f"{error.code().name}: {error.details()}"
            raise (CleanError if error.code() in CLEAN else WrongError)(text) from None


class Rest:
    """Reads over REST, writes by the stub; both through Envoy.

    `breaks` says that Envoy may go away, so that a broken connection is a clean error.
    """

    def __init__(self, client: httpx.AsyncClient, stub: Stub, token: str, *, breaks: bool) -> None:
        self.create = stub.create
        self._client = client
        self._headers = {"authorization": f"Bearer {token}"}
        self._breaks = breaks

    async def get(self, number: int, within: float | None) -> None:
        found = await self._ask(f"/v1/sessions/{uid(number)}", within)
        if number_of(found["id"], found["situation"]) != number:
            raise WrongError(f"record {found['id']} instead of {number}")

    async def page(self, token: str, within: float | None) -> Page:
        answer = await self._ask(f"/v1/sessions?page_size={PAGE}&page_token={token}", within)
        numbers = [number_of(one["id"], one["situation"]) for one in answer["sessions"]]
        return Page(numbers, answer["nextPageToken"])

    async def _ask(self, path: str, within: float | None) -> Any:
        try:
            answer = await self._client.get(path, headers=self._headers, timeout=within)
        except httpx.TimeoutException as error:
            raise CleanError(type(error).__name__) from None
        except httpx.TransportError as error:
            raise (CleanError if self._breaks else WrongError)(type(error).__name__) from None
        if answer.is_success:
            return answer.json()
        text = f"{answer.status_code}: {answer.text:.200}"
        raise (CleanError if answer.status_code in _CLEAN_STATUSES else WrongError)(text)


@contextlib.asynccontextmanager
async def stub_at(port: int, tenant: str) -> AsyncIterator[Stub]:
    async with channel_to(port) as channel:
        await asyncio.wait_for(channel.channel_ready(), START_SECONDS)
        yield Stub(channel, tenant, token_of(tenant))


@contextlib.asynccontextmanager
async def rest_at(port: int, tenant: str, *, breaks: bool) -> AsyncIterator[Rest]:
    base = f"http://{mongod.HOST}:{port}"
    async with stub_at(port, tenant) as stub, httpx.AsyncClient(base_url=base, verify=PLAIN) as client:
        yield Rest(client, stub, token_of(tenant), breaks=breaks)

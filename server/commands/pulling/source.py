"""The live system: one GET at a time, tried again while that may help."""

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, Any, Self, TypeVar

import httpx

from server.records import anyjson

STEP_SECONDS = 60.0
"""How long the source may be silent."""
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
LONGEST_WAIT_SECONDS = 600.0
"""How long a `Retry-After` is waited for."""
PAGE_BYTES = 256 << 20
IN_MEMORY_BYTES = 8 << 20

T = TypeVar("T")
Body = IO[bytes]


class SourceError(Exception):
    """The source does not give its list; the text says why, and has no secret."""


class RefusedError(SourceError):
    """The source answers that the request itself is wrong."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class _AgainError(Exception):
    """The next try may succeed, `after` so many seconds if the source says so."""

    def __init__(self, text: str, after: float | None = None) -> None:
        super().__init__(text)
        self.after = after


@dataclass(frozen=True, slots=True)
class Access:
    """Where the source is, and what lets us in.

    `url` is what its clients have as their base URL.  `headers` carry the token.  `authorities` is a
    PEM file of CAs, the system's if None.  A request is tried `tries` times.
    """

    url: str
    headers: Mapping[str, str] = field(repr=False)
    authorities: Path | None = None
    tries: int = 8


class Source:
    """Asks the source, and waits when it says so.  `tell` gets a line for each pause."""

    def __init__(self, access: Access, tell: Callable[[str], None]) -> None:
        self._access = access
        self._tell = tell
        context = ssl.create_default_context(cafile=access.authorities)
        self._client = httpx.AsyncClient(headers=dict(access.headers), timeout=STEP_SECONDS, verify=context)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def page(self, path: str, parameters: Mapping[str, str | int]) -> dict[str, Any]:
        """Return the JSON object of a path."""

        def read(body: Body) -> dict[str, Any]:
            with body:
                page = anyjson.parse(body.read())
            if type(page) is not dict:
                raise ValueError("is not an object")
            return page

        return await self._tried(path, lambda: self._once(path, parameters, read, PAGE_BYTES))

    async def whole(self, path: str, read: Callable[[Body], T]) -> T:
        """Return what `read` makes of the body, of any size; its ValueError means another try."""
        return await self._tried(path, lambda: self._once(path, {}, read, None))

    async def _tried(self, path: str, once: Callable[[], Awaitable[T]]) -> T:
        pause = FIRST_PAUSE_SECONDS
        for left in range(self._access.tries - 1, -1, -1):
            try:
                return await once()
            except _AgainError as error:
                wait = pause if error.after is None else error.after
                if wait > LONGEST_WAIT_SECONDS:
                    raise SourceError(f"{path}: {error}, and asks to wait {wait:,.0f} s") from None
                if not left:
                    raise SourceError(f"{path}: {error}, {self._access.tries} times in a row") from None
                self._tell(f"{path}: {error}; again in {wait:.3g} s")
            await asyncio.sleep(wait)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        raise AssertionError("unreachable: the last try returns or raises")

    async def _once(
        self,
        path: str,
        parameters: Mapping[str, str | int],
        read: Callable[[Body], T],
        most: int | None,
    ) -> T:
        url = self._access.url + path
        try:
            async with self._client.stream("GET", url, params=dict(parameters)) as response:
                _judge(path, response)
                body = await _body(response, path, most)
        except httpx.RequestError as error:
            raise _AgainError(str(error) or type(error).__name__) from None
        try:
            return read(body)
        except ValueError as error:
            body.close()
            if "json" not in response.headers.get("content-type", ""):
                raise SourceError(f"{path}: the answer is not JSON: is --from its API's base URL?") from None
            raise _AgainError(f"the answer {_flaw(error)}") from None


def _flaw(error: ValueError) -> str:
    """Return an error's text if it is one of ours, which quotes nothing."""
    return str(error) if type(error) is ValueError else "is not whole JSON"


async def _body(response: httpx.Response, path: str, most: int | None) -> Body:
    """Return the whole body: on disk if it is large, so that the source need not wait for our store."""
    with contextlib.ExitStack() as failed:
        body = failed.enter_context(SpooledTemporaryFile(IN_MEMORY_BYTES))
        async for chunk in response.aiter_bytes():
            body.write(chunk)
            if most is not None and body.tell() > most:
                raise SourceError(f"{path}: the page is over {most >> 20} MiB")
        body.seek(0)
        failed.pop_all()  # its reader closes it
        return body


def _judge(path: str, response: httpx.Response) -> None:
    """Raise unless the answer is the list."""
    status = response.status_code
    if status == httpx.codes.OK:
        return
    if status in {httpx.codes.REQUEST_TIMEOUT, httpx.codes.TOO_MANY_REQUESTS} or response.is_server_error:
        raise _AgainError(f"the source answers {status}", _retry_after(response.headers.get("retry-after")))
    if status in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
        raise RefusedError(status, f"{path}: the source refuses the token ({status})")
    if status == httpx.codes.NOT_FOUND:
        raise RefusedError(status, f"{path}: the source has none (404): is --from its API's base URL?")
    if response.is_redirect:
        raise RefusedError(status, f"{path}: the source redirects ({status}): name its own base URL")
    raise RefusedError(status, f"{path}: the source answers {status}")


def _retry_after(value: str | None) -> float | None:
    """Return the seconds that a `Retry-After` asks for: a number, or a date."""
    if value is None:
        return None
    if value.isascii() and value.isdigit():
        return float(value[:9])
    with contextlib.suppress(ValueError):
        moment = parsedate_to_datetime(value)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return max(0.0, (moment - datetime.now(UTC)).total_seconds())
    return None

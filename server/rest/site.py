"""The pages, without credentials: the OpenAPI document, its viewer, the console; and what this plots."""

import asyncio
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import PurePath

from server.auth.authenticator import Authenticator
from server.auth.credentials import bearer
from server.errors import NotFoundError, PermissionDeniedError, RollcallError
from server.rest.answer import JSON_TYPE, Document, ErrorAnswer
from server.rest.call import RestCall
from server.rest.service import RestModule

TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Nothing from another host, no script or style in the page itself, no frame around it."""
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
PASSING, LASTING = "no-cache", "public, max-age=3600"
LARGE = "swagger-ui"
"""What alone is kept by browsers. Our own files are small, and those of two versions do not go together."""
INDEX = "index.html"


class SiteRest:
    """Answers the pages; errors are those of all paths that have no contract.

    `activity` returns what the console plots; it may block.
    """

    def __init__(
        self, others: RestModule, authenticator: Authenticator, activity: Callable[[], bytes]
    ) -> None:
        self._others = others
        self._authenticator = authenticator
        self._activity = activity

    async def get_open_api(self, call: RestCall) -> Document:  # noqa: ARG002 # as every answer's
        """Return the OpenAPI document."""
        return _open_api()

    async def get_docs(self, call: RestCall) -> Document:  # noqa: ARG002 # as every answer's
        """Return the document's viewer."""
        return _file("docs", INDEX)

    async def get_docs_file(self, call: RestCall) -> Document:
        """Return a file of the viewer."""
        return _file("docs", call.path.get("file", ""))

    async def get_console(self, call: RestCall) -> Document:  # noqa: ARG002 # as every answer's
        """Return the console."""
        return _file("console", INDEX)

    async def get_activity(self, call: RestCall) -> bytes:
        """Return how busy the service has been, to those who serve its users."""
        caller = await self._authenticator.identify(bearer(call.metadata))
        if not caller.may_name_owners:
            raise PermissionDeniedError("The scope sessions:read is missing", reason="SCOPE_MISSING")
        return await asyncio.to_thread(self._activity)

    async def get_console_file(self, call: RestCall) -> Document:
        """Return a file of the console."""
        return _file("console", call.path.get("file", ""))

    def error(self, error: RollcallError, call: RestCall) -> ErrorAnswer:
        """Return an error in the words of all other paths."""
        return self._others.error(error, call)


@cache
def _open_api() -> Document:
    return _document(files("rollcall.v1") / "openapi.json", JSON_TYPE)


def _file(folder: str, name: str) -> Document:
    file = _files(folder).get(name)
    if file is None:
        raise NotFoundError("Route not found")
    return file


@cache
def _files(folder: str) -> dict[str, Document]:
    """Return the files of a folder of `server/site/`, by their names."""
    return {
        file.name: _document(file, TYPES[PurePath(file.name).suffix])
        for file in (files("server") / "site" / folder).iterdir()
    }


def _document(file: Traversable, content_type: str) -> Document:
    caching = LASTING if file.name.startswith(LARGE) else PASSING
    return Document(file.read_bytes(), content_type, {**HEADERS, "cache-control": caching})

"""The coding tutor's `GET /session`: a bare array of the caller's own sessions."""

from itertools import chain

from server.auth.authenticator import Authenticator
from server.auth.credentials import bearer, cookie
from server.errors import RollcallError
from server.metadata import Metadata
from server.records import user_session
from server.rest.answer import HTTP_STATUS, Chunks, ErrorAnswer, array
from server.rest.call import RestCall
from server.store.reads import Reads

COOKIES = ("better-auth.session_token", "__Secure-better-auth.session_token")
_TYPES = {
    400: "BAD_REQUEST",
    401: "UNAUTHORIZED",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    429: "TOO_MANY_REQUESTS",
}


class UserSessionRest:
    """Answers section 1 of the contracts."""

    def __init__(self, reads: Reads, authenticator: Authenticator) -> None:
        self._reads = reads
        self._authenticator = authenticator

    async def list_user_sessions(self, call: RestCall) -> bytes | Chunks:
        """Return the array, `updatedAt` descending, then `uuid`."""
        caller = await self._authenticator.identify(_credentials(call.metadata))
        query = user_session.owned_by({"user_id": caller.sub})
        return await array(self._reads, query, b"[", b"]")

    def error(self, error: RollcallError, call: RestCall) -> ErrorAnswer:  # noqa: ARG002 # as every contract's
        """Return an error in the tutor's words."""
        status = HTTP_STATUS.get(error.code, 500)
        kind = _TYPES.get(status, "SERVER_ERROR")
        message = {401: "Unauthorized"}.get(status, error.message)
        if kind == "SERVER_ERROR":
            message = "Internal server error"
        return ErrorAnswer(status, {"error": {"message": message, "type": kind, "status": status}})


def _credentials(metadata: Metadata) -> chain[str]:
    return chain(bearer(metadata), *(cookie(metadata, name) for name in COOKIES))

"""From a credential to a verified Caller.

`Authenticator.verify` is the seam: whatever sort of credential there is, it ends
here as one Caller or one error.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Protocol

from server.auth.api_keys import ApiKeys
from server.auth.jwts import Jwts, jwts_of
from server.errors import EXPIRED, MISSING, REVOKED, UnauthenticatedError, UnavailableError
from server.records.caller import Caller
from server.settings import Settings
from server.store.api_keys import StoredKeys

_JUDGED = frozenset((EXPIRED, REVOKED))
"""Reasons of a token that is known to be of our issuer, and no longer good."""


Admit = Callable[[Caller], Awaitable[None]]
"""Counts a call of a verified caller; raises RateLimitedError if it is one too many."""


class Source(Protocol):
    """Knows credentials that do not speak for themselves."""

    async def find(self, credential: str) -> Caller | None:
        """Return whose a credential is, None if it is not known here.

        Raises UnavailableError if nobody can say now, UnauthenticatedError if it is no longer good.
        """

    async def close(self) -> None:
        """Let go of what it holds."""


class Authenticator:
    """Verifies credentials: JWTs by themselves, then by whoever may know the others."""

    def __init__(self, jwts: Jwts | None, sources: Sequence[Source] = (), admit: Admit | None = None) -> None:
        self._jwts = jwts
        self._sources = sources
        self._admit = admit

    async def identify(self, credentials: Iterable[str]) -> Caller:
        """Return the caller of the first credential that holds.

        Raises UnavailableError if one could not be judged, else UnauthenticatedError: the
        first one's, or that there is none.  RateLimitedError if the caller has called too often.
        """
        first: UnauthenticatedError | None = None
        unavailable: UnavailableError | None = None
        for credential in credentials:
            try:
                return await self.verify(credential)
            except UnauthenticatedError as error:
                first = first or error
            except UnavailableError as error:
                unavailable = unavailable or error
        raise unavailable or first or UnauthenticatedError("Credentials are missing", reason=MISSING)

    async def verify(self, credential: str) -> Caller:
        """Return the caller that a credential names.

        Raises UnauthenticatedError if it does not hold, UnavailableError if nobody can say
        now, RateLimitedError if the caller has called too often.
        """
        caller = await self._verified(credential)
        if self._admit is not None:
            await self._admit(caller)
        return caller

    async def _verified(self, credential: str) -> Caller:
        refusal: UnauthenticatedError | None = None
        if self._jwts is not None:
            try:
                return await self._jwts.verify(credential)
            except UnauthenticatedError as error:
                if error.reason in _JUDGED:
                    raise
                refusal = error
        for source in self._sources:
            caller = await source.find(credential)
            if caller is not None:
                return caller
        raise refusal or UnauthenticatedError("The credentials are not valid")

    async def close(self) -> None:
        """Let go of the connections that it holds."""
        for source in self._sources:
            await source.close()


def authenticator_of(settings: Settings, stored_keys: StoredKeys | None = None) -> Authenticator:
    """Return the authenticator of these settings, with API keys if it is told where they are.

    Raises SettingsError if the settings name nothing that could verify, or what cannot be read.
    """
    jwts = jwts_of(settings)
    sources: list[Source] = []
    if stored_keys is not None:
        sources.append(ApiKeys(stored_keys, settings))
    if settings.introspection_url is not None:
        from server.auth.introspection import introspection_of  # noqa: PLC0415 # httpx is slow to load

        introspection = introspection_of(settings, jwts=jwts is None)
        if introspection is not None:
            sources.append(introspection)
    return Authenticator(jwts, sources, _admit_of(settings))


def _admit_of(settings: Settings) -> Admit | None:
    if settings.rate_limit is None and settings.tenant_rate_limit is None:
        return None
    from server.rate_limits import rate_limits_of  # noqa: PLC0415 # only a service with limits needs the library

    limits = rate_limits_of(settings)
    return None if limits is None else limits.admit

"""From a credential to a verified Caller.

`Authenticator.verify` is the seam: whatever sort of credential there is, it ends
here as one Caller or one UnauthenticatedError.
"""

import time
from collections.abc import Iterable
from typing import Any

import jwt
from cachetools import TLRUCache

from server.errors import EXPIRED, MISSING, UnauthenticatedError
from server.keys import Keys, keys_of
from server.records.caller import Caller
from server.settings import Settings

CACHED_TOKENS = 10_000
CACHED_TOKEN_CHARS = 4096
"""Longer tokens are verified each time, so that the cache's memory has a bound."""


def _expiry(_: str, entry: tuple[Caller, float], __: float) -> float:
    return entry[1]


class Authenticator:
    """Verifies JWTs: signature by a pinned algorithm, `iss`, `aud`, `exp`, `nbf`."""

    def __init__(self, keys: Keys, issuer: str, audience: str) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._verified: TLRUCache[str, tuple[Caller, float]] = TLRUCache(
            CACHED_TOKENS, ttu=_expiry, timer=time.time
        )

    async def identify(self, credentials: Iterable[str]) -> Caller:
        """Return the caller of the first credential that holds.

        Raises UnauthenticatedError: the first one's, or that there is none.
        """
        first: UnauthenticatedError | None = None
        for credential in credentials:
            try:
                return await self.verify(credential)
            except UnauthenticatedError as error:
                first = first or error
        raise first or UnauthenticatedError("Credentials are missing", reason=MISSING)

    async def verify(self, token: str) -> Caller:
        """Return the caller that a token names; raise UnauthenticatedError if it does not hold."""
        entry = self._verified.get(token)
        if entry is not None:
            return entry[0]
        try:
            key, algorithms = await self._keys.find(token)
            claims = jwt.decode(
                token,
                key,
                algorithms=algorithms,
                audience=self._audience,
                issuer=self._issuer,
                options={"require": ["exp", "sub"]},
            )
            caller = caller_of(claims)
        except jwt.ExpiredSignatureError:
            raise UnauthenticatedError("The token has expired", reason=EXPIRED) from None
        except (jwt.PyJWTError, ValueError):
            raise UnauthenticatedError("The token is not valid") from None
        if len(token) <= CACHED_TOKEN_CHARS:
            self._verified[token] = caller, float(claims["exp"])
        return caller


def caller_of(claims: dict[str, Any]) -> Caller:
    """Return the caller of verified claims; raise ValueError if one has the wrong type."""
    sub = _string(claims, "sub")
    if not sub or "\0" in sub:
        raise ValueError("sub")
    return Caller(
        sub=sub,
        tenant=_string(claims, "developer_id") or sub,
        client_id=_string(claims, "client_id"),
        permissions=_strings(claims, "permissions"),
        scopes=frozenset(_string(claims, "scope").split()),
        groups=_strings(claims, "groups"),
    )


def _string(claims: dict[str, Any], name: str) -> str:
    value = claims.get(name, "")
    if not isinstance(value, str):
        raise ValueError(name)  # noqa: TRY004 # any broken claim is one sort of error
    return value


def _strings(claims: dict[str, Any], name: str) -> frozenset[str]:
    value = claims.get(name, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError(name)
    return frozenset(value)


def authenticator_of(settings: Settings) -> Authenticator:
    """Return the authenticator of these settings; raise SettingsError if they name no key."""
    return Authenticator(keys_of(settings), settings.jwt_issuer, settings.jwt_audience)

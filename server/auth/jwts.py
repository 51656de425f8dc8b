"""JWTs: from a signed token to a verified Caller."""

import math
import re
import time
from typing import Any

import jwt
from cachetools import TLRUCache

from server.auth.claims import caller_of
from server.auth.deny_list import DenyList, deny_list_of
from server.auth.digests import digest
from server.auth.jwks import Keys, keys_of
from server.counts import LOOKUPS, counts
from server.errors import EXPIRED, REVOKED, UnauthenticatedError
from server.records.caller import Caller
from server.settings import Settings

CACHED_TOKENS = 10_000
CACHED_TOKEN_CHARS = 4096
"""Longer tokens are verified each time, so that the cache's memory has a bound."""
CACHED_SECONDS = 300.0
"""A verified token is verified again after this long: its key may have been withdrawn."""

_FORM = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)
"""RFC 7515's compact form.  PyJWT also takes padding: a second spelling of the same token."""
_TIMES = ("exp", "nbf", "iat")
_HIT, _MISS = ((LOOKUPS, "jwt", result) for result in ("hit", "miss"))

_Entry = tuple[Caller, str, float]
"""A caller, the token's `jti`, and until when this holds."""


def _end(_: bytes, entry: _Entry, __: float) -> float:
    return entry[2]


class Jwts:
    """Verifies JWTs: signature by a pinned algorithm, `iss`, `aud`, `exp`, `nbf`, `iat`, deny list."""

    def __init__(
        self, keys: Keys, issuer: str, audience: str, leeway: float = 0, denied: DenyList | None = None
    ) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._leeway = leeway
        self._denied = denied
        # By digest: no token stays in memory.
        self._verified: TLRUCache[bytes, _Entry] = TLRUCache(CACHED_TOKENS, ttu=_end, timer=time.monotonic)

    async def verify(self, token: str) -> Caller:
        """Return the caller that a token names.

        Raises UnauthenticatedError if it does not hold, UnavailableError if nobody knows.
        """
        digested = digest(token)
        entry = self._verified.get(digested)
        counts[_MISS if entry is None else _HIT] += 1
        caller, jti, _ = entry or await self._verified_now(token, digested)
        if self._denied is not None and self._denied.denies(jti):
            raise UnauthenticatedError("The token has been revoked", reason=REVOKED)
        return caller

    async def _verified_now(self, token: str, digested: bytes) -> _Entry:
        if _FORM.fullmatch(token) is None:
            raise UnauthenticatedError("The token is not valid")
        try:
            key, algorithms = await self._keys.find(token)
            claims = jwt.decode(
                token,
                key,
                algorithms=algorithms,
                audience=self._audience,
                issuer=self._issuer,
                leeway=self._leeway,
                options={"require": ["exp", "sub"]},
            )
            _check_times(claims)
            caller = caller_of(claims)
            remaining = float(claims["exp"]) + self._leeway - time.time()
        except jwt.ExpiredSignatureError:
            raise UnauthenticatedError("The token has expired", reason=EXPIRED) from None
        except (jwt.PyJWTError, ValueError, OverflowError):
            raise UnauthenticatedError("The token is not valid") from None
        entry = caller, claims.get("jti", ""), time.monotonic() + min(remaining, CACHED_SECONDS)
        if len(token) <= CACHED_TOKEN_CHARS:
            self._verified[digested] = entry
        return entry


def is_jwt(credential: str) -> bool:
    """Return whether a credential has a JWT's form."""
    try:
        jwt.get_unverified_header(credential)
    except (jwt.PyJWTError, ValueError):
        return False
    return _FORM.fullmatch(credential) is not None


def _check_times(claims: dict[str, Any]) -> None:
    """Raise ValueError unless each time is a number (RFC 7519, section 2): PyJWT reads text as one, too."""
    for name in _TIMES:
        value = claims.get(name, 0)
        if type(value) not in {int, float} or not math.isfinite(value):
            raise ValueError(name)


def jwts_of(settings: Settings) -> Jwts | None:
    """Return what verifies JWTs by these settings; None if only an issuer's introspection is to judge.

    Raises SettingsError if they name no key, two sorts, or a file that cannot be read.
    """
    keys = keys_of(settings)
    denied = deny_list_of(settings)
    if keys is None:
        return None
    return Jwts(keys, settings.jwt_issuer, settings.jwt_audience, settings.jwt_leeway_seconds, denied)

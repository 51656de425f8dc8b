"""RFC 7662: the issuer says whose an opaque token is."""

import asyncio
import logging
import ssl
import time
from typing import Any
from urllib.parse import quote_plus

import httpx

from server.auth.api_keys import is_own
from server.auth.claims import caller_of
from server.auth.jwts import is_jwt
from server.auth.remembered import Known, Remembered
from server.errors import EXPIRED, IssuerUnavailableError, UnauthenticatedError
from server.records.caller import Caller
from server.settings import Settings

ANSWER_SECONDS = 3.0

# Their lines about each request add nothing, and must not come to have its headers.
for _library in ("httpx", "httpcore"):
    logging.getLogger(_library).setLevel(logging.WARNING)

log = logging.getLogger(__name__)


class Introspection:
    """Asks the issuer about tokens; each answer is kept for a while.

    What names an issuer or an audience must name those of the settings: a token for
    another service is not for this one.
    """

    def __init__(self, settings: Settings, url: str, *, jwts: bool) -> None:
        self._url = url
        self._jwts = jwts
        self._issuer = settings.jwt_issuer
        self._audience = settings.jwt_audience
        self._client = httpx.AsyncClient(
            auth=_client_of(settings),
            timeout=ANSWER_SECONDS,
            headers={"accept": "application/json"},
            # The authorities of this machine, as for a JWKS, and not those that httpx brings along.
            verify=ssl.create_default_context(),
        )
        self._remembered = Remembered(self._ask, settings.credential_cache_seconds)

    async def find(self, credential: str) -> Caller | None:
        """Return the caller of an active token, None if it is not; raise IssuerUnavailableError.

        API keys stay in the house, and so do JWTs that have been judged here.
        """
        if not credential or is_own(credential) or (not self._jwts and is_jwt(credential)):
            return None
        return await self._remembered.find(credential)

    async def close(self) -> None:
        """Close the connections to the issuer."""
        await self._client.aclose()

    async def _ask(self, token: str) -> Known | None:
        claims = await self._answer(token)
        if claims.get("active") is not True:
            return None
        audiences = claims.get("aud", self._audience)
        named = audiences if isinstance(audiences, list) else [audiences]
        if self._audience not in named or claims.get("iss", self._issuer) != self._issuer:
            return None
        expires = claims.get("exp")
        try:
            end = None if expires is None else float(expires)
            caller = caller_of(claims)
        except (TypeError, ValueError, OverflowError):
            return None
        if end is not None and not end > time.time():
            raise UnauthenticatedError("The token has expired", reason=EXPIRED)
        return Known(caller, end)

    async def _answer(self, token: str) -> dict[str, Any]:
        try:
            # httpx bounds each step; this bounds them together.
            async with asyncio.timeout(ANSWER_SECONDS):
                form = {"token": token, "token_type_hint": "access_token"}
                response = await self._client.post(self._url, data=form)
            claims = response.json() if response.status_code == httpx.codes.OK else None
        except (httpx.HTTPError, TimeoutError, ValueError, RecursionError) as error:
            log.warning("introspection: %s", type(error).__name__)
            raise IssuerUnavailableError from None
        if not isinstance(claims, dict):
            log.warning("introspection: status %d, no JSON object", response.status_code)
            raise IssuerUnavailableError
        return claims


def _client_of(settings: Settings) -> httpx.BasicAuth | None:
    if settings.introspection_client_id is None:
        return None
    secret = settings.secret("introspection_secret") or ""
    # Encoded before they are joined: RFC 6749, section 2.3.1.
    return httpx.BasicAuth(quote_plus(settings.introspection_client_id), quote_plus(secret))


def introspection_of(settings: Settings, *, jwts: bool) -> Introspection | None:
    """Return the introspection of these settings, None if they name none; `jwts`: also of JWTs."""
    url = settings.introspection_url
    return None if url is None else Introspection(settings, url, jwts=jwts)

"""The keys that verify tokens: one shared secret, or a JWKS from a file or URL."""

import asyncio
import http.client
import json
import logging
import time
import urllib.request
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import jwt

from server.errors import IssuerUnavailableError
from server.settings import Settings, SettingsError
from server.watched import WatchedFile

ASYMMETRIC = frozenset(("RS256", "ES256", "EdDSA"))
REFRESH_SECONDS = 300.0
"""How long a JWKS is trusted without a new look."""
REFETCH_FLOOR_SECONDS = 10.0
"""How often, at most, an unknown `kid` causes a new look."""
FETCH_TIMEOUT_SECONDS = 3.0

log = logging.getLogger(__name__)


class Keys(Protocol):
    """Finds the key that a token says it is signed with."""

    async def find(self, token: str) -> tuple[jwt.PyJWK | str, list[str]]:
        """Return the key and the algorithms that it may be used with.

        Raises jwt.InvalidTokenError if there is none, IssuerUnavailableError if nobody can say.
        """


class SharedSecret:
    """HS256 with one secret; for development."""

    def __init__(self, secret: str) -> None:
        self._secret = secret

    async def find(self, token: str) -> tuple[jwt.PyJWK | str, list[str]]:  # noqa: ARG002 # one key for all
        """Return the secret."""
        return self._secret, ["HS256"]


class Jwks:
    """The public keys of an issuer, looked up by `kid`, each pinned to its own algorithm.

    A source that fails leaves the keys as they were.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self._file = None if _is_url(source) else WatchedFile(Path(source))
        self._keys: dict[str, jwt.PyJWK] = {}
        self._looked = -REFRESH_SECONDS
        self._lock = asyncio.Lock()

    async def find(self, token: str) -> tuple[jwt.PyJWK | str, list[str]]:
        """Return the key of the token's `kid`, after a new look if it is not known."""
        kid = jwt.get_unverified_header(token).get("kid", "")
        if self._file is not None and self._file.changed():
            await self._refresh(0)
        if time.monotonic() - self._looked > REFRESH_SECONDS:
            await self._refresh(REFRESH_SECONDS)
        if kid not in self._keys:
            await self._refresh(REFETCH_FLOOR_SECONDS)
        if kid not in self._keys:
            raise jwt.InvalidKeyError("no such key")
        key = self._keys[kid]
        return key, [key.algorithm_name]

    async def _refresh(self, floor: float) -> None:
        async with self._lock:
            if time.monotonic() - self._looked >= floor:
                self._looked = time.monotonic()
                try:
                    self._keys = await asyncio.to_thread(load_jwks, self._source)
                except SettingsError as error:
                    log.warning("%s; the keys stay as they were", error)
        if not self._keys:
            raise IssuerUnavailableError


def load_jwks(source: str) -> dict[str, jwt.PyJWK]:
    """Return the usable keys of a JWKS by `kid`; raise SettingsError if it cannot be read."""
    try:
        if _is_url(source):
            with urllib.request.urlopen(source, timeout=FETCH_TIMEOUT_SECONDS) as response:  # noqa: S310 # http(s) only, see above
                document = json.load(response)
        else:
            document = json.loads(Path(source).read_text())
        keys = {key.key_id or "": key for key in jwt.PyJWKSet.from_dict(document).keys}
    except (OSError, ValueError, AttributeError, http.client.HTTPException, jwt.PyJWTError) as error:
        raise SettingsError(f"ROLLCALL_JWKS: {source}: {type(error).__name__}") from None
    return {
        kid: key
        for kid, key in keys.items()
        if key.algorithm_name in ASYMMETRIC and key.public_key_use in {None, "sig"}
    }


def _is_url(source: str) -> bool:
    return source.startswith(("https://", "http://"))


def keys_of(settings: Settings) -> Keys | None:
    """Return the keys of these settings, None if they leave all tokens to the issuer's introspection.

    Raises SettingsError if nothing verifies tokens, or two sorts of keys do.
    """
    secret = settings.secret("jwt_secret")
    if secret is not None and settings.jwks is not None:
        raise SettingsError("ROLLCALL_JWT_SECRET and ROLLCALL_JWKS must not both be set")
    if settings.jwks is not None:
        if not _is_url(settings.jwks):
            load_jwks(settings.jwks)
        elif "@" in urlsplit(settings.jwks).netloc:
            raise SettingsError("ROLLCALL_JWKS: must be a URL without a user and password")
        return Jwks(settings.jwks)
    if secret is not None:
        return SharedSecret(secret)
    if settings.introspection_url is not None:
        return None
    raise SettingsError(
        "ROLLCALL_JWT_SECRET, ROLLCALL_JWT_SECRET_FILE, ROLLCALL_JWKS or ROLLCALL_INTROSPECTION_URL "
        "must be set"
    )

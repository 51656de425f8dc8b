"""The keys that verify tokens: one shared secret, or a JWKS from a file or URL."""

import asyncio
import json
import logging
import math
import ssl
import time
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import jwt

from server.background import told
from server.errors import IssuerUnavailableError
from server.settings import Settings, SettingsError
from server.shielded import shielded
from server.watched import WatchedFile

ASYMMETRIC = frozenset(("RS256", "ES256", "EdDSA"))
REFRESH_SECONDS = 300.0
"""How long a JWKS is trusted without a new look."""
REFETCH_FLOOR_SECONDS = 10.0
"""How often, at most, an unknown `kid` causes a new look."""
PATIENCE_SECONDS = 1.0
"""How long, at most, a call with an unknown `kid` waits for a look while other keys are known.

Anybody can make such calls: an issuer that is slow must not let them hold the places of others.
"""
FETCH_TIMEOUT_SECONDS = 3.0
"""How long a fetch may take in all, however the other side drips."""
MAX_BYTES = 1 << 20

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
        self._looked = -math.inf
        self._lock = asyncio.Lock()
        self._refreshing: asyncio.Task[None] | None = None

    async def find(self, token: str) -> tuple[jwt.PyJWK | str, list[str]]:
        """Return the key of the token's `kid`, after a new look if it is not known."""
        kid = jwt.get_unverified_header(token).get("kid", "")
        if self._file is not None and self._file.changed():
            await self._refresh(0)
        age = time.monotonic() - self._looked
        if age > 2 * REFRESH_SECONDS:
            await self._refresh(REFRESH_SECONDS)
        elif age > REFRESH_SECONDS:
            # Nobody waits for an issuer that is slow: the keys are still good enough.
            self._refresh_meanwhile()
        if kid not in self._keys:
            await self._refresh(REFETCH_FLOOR_SECONDS, PATIENCE_SECONDS if self._keys else math.inf)
        if kid not in self._keys:
            raise jwt.InvalidKeyError("no such key")
        key = self._keys[kid]
        return key, [key.algorithm_name]

    def _refresh_meanwhile(self) -> None:
        if self._refreshing is None or self._refreshing.done():
            look = asyncio.create_task(self._look(REFRESH_SECONDS))
            self._refreshing = told(look, "could not look at the keys")

    async def _refresh(self, floor: float, patience: float = math.inf) -> None:
        is_due = self._is_due(floor)
        if is_due or self._lock.locked():
            left = patience if is_due else patience - (time.monotonic() - self._looked)
            if left <= 0:
                raise IssuerUnavailableError
            try:
                async with asyncio.timeout(None if left == math.inf else left):
                    # A caller who goes ends no look: it counts as one, and the next would come too late.
                    await shielded(self._look(floor))
            except TimeoutError:
                raise IssuerUnavailableError from None
        if not self._keys:
            raise IssuerUnavailableError

    def _is_due(self, floor: float) -> bool:
        return time.monotonic() - self._looked >= floor

    async def _look(self, floor: float) -> None:
        async with self._lock:
            if self._is_due(floor):
                self._looked = time.monotonic()
                try:
                    self._keys = await read_jwks(self._source)
                except SettingsError as error:
                    log.warning("%s; the keys stay as they were", error)


async def read_jwks(source: str) -> dict[str, jwt.PyJWK]:
    """Return the usable keys of a JWKS by `kid`; raise SettingsError if it cannot be read."""
    if not _is_url(source):
        return await asyncio.to_thread(load_jwks, Path(source))
    import httpx  # noqa: PLC0415 # slow to load, and files do without it

    try:
        async with asyncio.timeout(FETCH_TIMEOUT_SECONDS):
            trusted = await asyncio.to_thread(ssl.create_default_context)
            async with (
                httpx.AsyncClient(verify=trusted, follow_redirects=True) as client,
                client.stream("GET", source) as response,
            ):
                response.raise_for_status()
                text = b""
                async for part in response.aiter_bytes():
                    text += part
                    if len(text) > MAX_BYTES:
                        break
    except (OSError, httpx.HTTPError, httpx.InvalidURL) as error:
        raise _unreadable(source, error) from None
    # Cut where it is too long, which is no JSON.
    return _keys_in(source, text[:MAX_BYTES])


def load_jwks(path: Path) -> dict[str, jwt.PyJWK]:
    """Return the usable keys of a JWKS's file by `kid`; raise SettingsError if it cannot be read."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from None
    return _keys_in(path, text)


def _keys_in(source: str | Path, text: bytes) -> dict[str, jwt.PyJWK]:
    try:
        found = jwt.PyJWKSet.from_dict(json.loads(text)).keys
    except (ValueError, AttributeError, TypeError, RecursionError, jwt.PyJWTError) as error:
        raise _unreadable(source, error) from None
    keys = {key.key_id or "": key for key in found if _is_usable(key)}
    if not keys:
        raise SettingsError(f"ROLLCALL_JWKS: {source}: has no key that verifies tokens")
    return keys


def _is_usable(key: jwt.PyJWK) -> bool:
    # In a document of somebody else's each may be any JSON.
    named = isinstance(key.algorithm_name, str) and isinstance(key.key_id, str | None)
    return named and key.algorithm_name in ASYMMETRIC and key.public_key_use in (None, "sig")


def _unreadable(source: str | Path, error: Exception) -> SettingsError:
    return SettingsError(f"ROLLCALL_JWKS: {source}: {type(error).__name__}")


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
            load_jwks(Path(settings.jwks))
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

"""API keys: opaque credentials that stand for a caller until they are revoked.

Only digests are stored.  A key that rollcall draws has 256 random bits, which nobody can
guess, so plain SHA-256 hides it as well as any slow hash would.  An imported key may be
short: its digest is an HMAC under a secret that the store does not have, so that a stolen
store tells nothing.  The secret can be rotated: of several, the first hashes, and all find.

scrypt with a salt for each key would neither need nor allow to be looked up by, and a slow
hash in front of every stranger's guess is a way to stop the server.
"""

import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from server.auth.claims import caller_of, claims_of
from server.auth.digests import keyed, plain
from server.auth.remembered import Known, Remembered
from server.errors import EXPIRED, UnauthenticatedError
from server.records.caller import Caller
from server.settings import Settings, SettingsError
from server.store.api_keys import StoredKeys
from server.store.failures import deadline

PREFIX = "rck_"
_OWN = re.compile(rf"{PREFIX}[A-Za-z0-9_-]{{43}}", re.ASCII)
_IMPORTABLE = re.compile(r"[!-~]{1,4096}", re.ASCII)


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key, as its user gets it, the document that is stored of it, and its digests by older secrets."""

    key: str = field(repr=False)
    document: dict[str, Any]
    older: Sequence[str]


def is_own(credential: str) -> bool:
    """Return whether a credential has the form of a key that rollcall draws."""
    return _OWN.fullmatch(credential) is not None


def new_key(
    caller: Caller, lifetime: timedelta | None, imported: str | None, hashing: Sequence[str]
) -> NewKey:
    """Return a key for a caller: an imported one, or one drawn at random.

    `hashing` are the secrets that hash imported keys, the newest first.  Raises SettingsError if the imported
    key cannot travel in a header, or there is no secret to hash it by.
    """
    key = PREFIX + secrets.token_urlsafe(32) if imported is None else imported
    if not _IMPORTABLE.fullmatch(key):
        raise SettingsError("--key: must be 1 to 4096 printable ASCII characters without spaces")
    digests = _digests(key, hashing)
    if not digests:
        raise SettingsError("--key: needs ROLLCALL_API_KEY_SECRET or ROLLCALL_API_KEY_SECRET_FILE")
    now = datetime.now(UTC)
    document: dict[str, Any] = {
        "_id": digests[0],
        "id": secrets.token_hex(8),
        "claims": claims_of(caller),
        "created": now,
        "expires": None if lifetime is None else now + lifetime,
    }
    return NewKey(key, document, digests[1:])


def _digests(key: str, hashing: Sequence[str]) -> list[str]:
    """Return the digests that a key may be stored by, the newest first; none if no such key can be stored."""
    return [plain(key)] if is_own(key) else [keyed(key, secret) for secret in hashing]


class ApiKeys:
    """Finds the caller of an API key; a revocation shows when the answer is no longer kept."""

    def __init__(self, stored: StoredKeys, settings: Settings) -> None:
        self._stored = stored
        self._hashing = settings.secrets("api_key_secret")
        self._seconds = settings.mongodb_seconds
        self._remembered = Remembered(self._ask, settings.credential_cache_seconds)

    async def find(self, credential: str) -> Caller | None:
        """Return the caller of a key, None if there is no such key; raise UnavailableError."""
        if not credential or not (self._hashing or is_own(credential)):
            return None
        return await self._remembered.find(credential)

    async def close(self) -> None:
        """Do nothing: the connection to the store is the server's."""

    async def _ask(self, credential: str) -> Known | None:
        with deadline(self._seconds):
            document = await self._stored.find(_digests(credential, self._hashing))
        if document is None:
            return None
        expires = document["expires"]
        if expires is None:
            return Known(caller_of(document["claims"]))
        end = expires.replace(tzinfo=UTC).timestamp()
        if end <= time.time():
            raise UnauthenticatedError("The key has expired", reason=EXPIRED)
        return Known(caller_of(document["claims"]), end)

"""Page tokens: sealed, bound to a caller and a query, and good for a while (AIP-158).

A token is `v1.` and base64url, without padding, of: a nonce, and AES-GCM over the
time of issue and the position.  What it is bound to is authenticated with it, so a
token of another caller or another query does not open.
"""

import base64
import binascii
import hashlib
import json
import os
import time
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from server.settings import Settings, SettingsError

PREFIX = "v1."
_NONCE_BYTES = 12


class PageTokenError(Exception):
    """The token is not one of ours, another caller's, another query's, or expired."""


class PageTokens:
    """Seals with the first key; opens with any, so that keys can be rotated."""

    def __init__(self, secrets: Sequence[str], lifetime_seconds: float) -> None:
        self._keys = [
            AESGCM(hashlib.sha256(b"rollcall page token\0" + key.encode()).digest()) for key in secrets
        ]
        self._lifetime = lifetime_seconds

    def seal(self, position: Sequence[str], *bound_to: str) -> str:
        """Return a token for `position` that only the same `bound_to` opens."""
        nonce = os.urandom(_NONCE_BYTES)
        content = json.dumps([int(time.time()), *position]).encode()
        sealed = nonce + self._keys[0].encrypt(nonce, content, _binding(bound_to))
        return PREFIX + base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()

    def open(self, token: str, *bound_to: str) -> tuple[str, ...]:
        """Return the position of a token; raise PageTokenError, always the same, if it does not open."""
        sealed = _decoded(token)
        nonce, encrypted = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        for key in self._keys:
            try:
                issued, *position = json.loads(key.decrypt(nonce, encrypted, _binding(bound_to)))
            except (InvalidTag, ValueError):
                continue
            if time.time() - issued <= self._lifetime:
                return tuple(position)
        raise PageTokenError


def _decoded(token: str) -> bytes:
    body = token.removeprefix(PREFIX)
    try:
        sealed = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        raise PageTokenError from None
    # Unused bits of the last character are no second spelling of a token.
    canonical = PREFIX + base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()
    if token != canonical:
        raise PageTokenError
    return sealed


def _binding(bound_to: Sequence[str]) -> bytes:
    return hashlib.sha256(json.dumps(bound_to).encode()).digest()


def page_tokens_of(settings: Settings) -> PageTokens:
    """Return the page tokens of these settings; raise SettingsError if they name no key."""
    keys = settings.secrets("page_token_keys")
    if not keys:
        raise SettingsError("ROLLCALL_PAGE_TOKEN_KEYS or ROLLCALL_PAGE_TOKEN_KEYS_FILE must be set")
    return PageTokens(keys, settings.page_token_hours * 3600)

"""Signed tokens for development and tests; production's issuer signs its own."""

from datetime import UTC, datetime, timedelta

import jwt

from server.records.caller import Caller
from server.settings import Settings, SettingsError


def sign(settings: Settings, caller: Caller, expires_in: timedelta) -> str:
    """Return a token that names `caller`, signed by the shared secret.

    Raises SettingsError if there is no shared secret.
    """
    secret = settings.secret("jwt_secret")
    if secret is None:
        raise SettingsError(
            "there is no shared secret to sign a token with: "
            "set ROLLCALL_JWT_SECRET or ROLLCALL_JWT_SECRET_FILE, or take a token of your issuer"
        )
    now = datetime.now(UTC)
    claims = {
        "iss": settings.jwt_issuer,
        "aud": settings.jwt_audience,
        "sub": caller.sub,
        "iat": now,
        "exp": now + expires_in,
    }
    return jwt.encode(claims | _optional(caller), secret, algorithm="HS256")


def _optional(caller: Caller) -> dict[str, str | list[str]]:
    claims: dict[str, str | list[str]] = {
        "developer_id": caller.tenant if caller.tenant != caller.sub else "",
        "client_id": caller.client_id,
        "permissions": sorted(caller.permissions),
        "scope": " ".join(sorted(caller.scopes)),
        "groups": sorted(caller.groups),
    }
    return {name: value for name, value in claims.items() if value}

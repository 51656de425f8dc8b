"""Signed tokens for development and tests; production's issuer signs its own."""

import uuid
from datetime import UTC, datetime, timedelta

import jwt

from server.auth.claims import claims_of
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
        "iat": now,
        "exp": now + expires_in,
        # By which it can be revoked.
        "jti": str(uuid.uuid4()),
    }
    return jwt.encode(claims | claims_of(caller), secret, algorithm="HS256")

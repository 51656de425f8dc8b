"""Credentials of any bytes: a caller, or UnauthenticatedError, whose text has nothing of them."""

import asyncio
import json
import time
from typing import Any

import jwt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from server.auth import credentials
from server.auth.jwks import SharedSecret
from server.auth.jwts import Jwts, is_jwt
from server.errors import RollcallError, UnauthenticatedError
from tests.fuzz import wild
from tests.fuzz.report import fuzzing, tries
from tests.fuzz.verdict import unmasked

SECRET = "the secret that signs, of 32 bytes"
HOST = Jwts(SharedSecret(SECRET), "rollcall", "rollcall")


@tries(60, 1500)
@given(
    st.lists(
        st.tuples(st.sampled_from(("authorization", "cookie")), wild.any_texts() | st.binary(max_size=30)),
        max_size=3,
    )
)
@example([("cookie", "storyden-session=%ED%A0%80")])
def test_credentials_are_found_in_any_headers(metadata: list[tuple[str, str | bytes]]) -> None:
    with fuzzing("parsers: credentials") as row:
        found = [
            *credentials.bearer(metadata),
            *credentials.bearer_or_bare(metadata),
            *credentials.cookie(metadata, "storyden-session"),
        ]
        for credential in found:
            _refused(credential)
        row.count(refused=bool(found))


def _refused(token: str) -> None:
    with pytest.raises(UnauthenticatedError) as refusal:
        asyncio.run(HOST.verify(token))
    assert SECRET not in str(refusal.value)
    assert unmasked(str(refusal.value)) is None
    assert not token or len(token) < 8 or token not in str(refusal.value)
    is_jwt(token)


_PIECES = (
    st.binary(max_size=20)
    | wild.jsons().map(lambda value: json.dumps(value).encode())
    | st.dictionaries(st.sampled_from(("alg", "kid", "typ", "crit", "b64", "zip", "jwk")), wild.jsons()).map(
        lambda value: json.dumps(value).encode()
    )
    | st.sampled_from(
        (
            b"[" * 3000,
            b'{"a":' * 3000,
            b'{"alg":"none"}',
            b'{"alg":"HS256"}',
            b'{"alg":' + b"9" * 5000 + b"}",
        )
    )
)


@tries(60, 1500)
@given(st.lists(_PIECES, max_size=4))
def test_a_token_of_any_pieces_is_refused(pieces: list[bytes]) -> None:
    with fuzzing("parsers: tokens") as row:
        _refused(".".join(jwt.utils.base64url_encode(piece).decode() for piece in pieces))
        row.count(refused=True)


_CLAIMS = (
    "exp",
    "nbf",
    "iat",
    "iss",
    "aud",
    "sub",
    "jti",
    "scope",
    "groups",
    "permissions",
    "client_id",
    "developer_id",
)


@tries(60, 1500)
@given(st.dictionaries(st.sampled_from(_CLAIMS), wild.jsons(), max_size=3))
@example({"exp": float("inf")})
@example({"iat": float("inf")})
@example({"exp": 10**400})
@example({"jti": []})
@example({"sub": "a\0"})
def test_a_signed_token_of_any_claims_is_a_caller_or_refused(claims: dict[str, Any]) -> None:
    whole = {"iss": "rollcall", "aud": "rollcall", "sub": "a", "exp": int(time.time()) + 1000} | claims
    signed = jwt.api_jws.encode(json.dumps(whole).encode(), SECRET, "HS256")
    with fuzzing("parsers: claims") as row:
        refused = False
        try:
            caller = asyncio.run(HOST.verify(signed))
        except RollcallError as error:
            refused = True
            assert isinstance(error, UnauthenticatedError)
        else:
            assert caller.sub
            assert caller.tenant
        row.count(refused=refused)

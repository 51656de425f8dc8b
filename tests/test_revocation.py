"""Tokens that were good: revoked, of a withdrawn key, or judged by a clock that is off."""

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from server import watched
from server.auth import jwts
from server.auth.authenticator import Authenticator, authenticator_of
from server.errors import EXPIRED, REVOKED, IssuerUnavailableError, RollcallError, UnauthenticatedError
from server.settings import Settings, SettingsError
from tests.test_auth import SECRET, jwks, signed


@pytest.fixture(autouse=True)
def _looks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watched, "LOOK_SECONDS", 0)


async def outcome(authenticator: Authenticator, token: str) -> str:
    """Who a token names, or the reason why not."""
    try:
        return (await authenticator.verify(token)).sub
    except RollcallError as error:
        return error.reason


def denying(path: Path) -> Authenticator:
    return authenticator_of(Settings(jwt_secret=SecretStr(SECRET), jwt_deny_list=path))


async def test_a_token_on_the_deny_list_is_refused_though_it_was_verified_before(tmp_path: Path) -> None:
    path = tmp_path / "denied"
    path.write_text("another\n")
    authenticator = denying(path)
    token, other = (signed("HS256", SECRET, jti=jti) for jti in ("stolen", "fine"))
    assert await outcome(authenticator, token) == "ada"

    path.write_text("another\n  stolen \n\n")

    assert await outcome(authenticator, token) == REVOKED
    assert await outcome(authenticator, other) == "ada"
    assert await outcome(authenticator, signed("HS256", SECRET)) == "ada"


async def test_a_deny_list_that_disappears_stays_in_force(tmp_path: Path) -> None:
    path = tmp_path / "denied"
    path.write_text("stolen")
    authenticator = denying(path)
    path.unlink()

    assert await outcome(authenticator, signed("HS256", SECRET, jti="stolen")) == REVOKED


async def test_a_deny_list_is_read_again_whatever_time_its_copy_has(tmp_path: Path) -> None:
    path = tmp_path / "denied"
    path.write_text("nobody")
    authenticator = denying(path)
    status = path.stat()

    # As by `cp -p` or `rsync --inplace --times`, some ticks of the file system's clock later.
    await asyncio.sleep(0.02)
    path.write_text("stolen")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    assert await outcome(authenticator, signed("HS256", SECRET, jti="stolen")) == REVOKED


async def test_a_deny_list_says_nothing_to_those_who_cannot_sign(tmp_path: Path) -> None:
    path = tmp_path / "denied"
    path.write_text("stolen")
    forged = signed("HS256", "another secret of more than 32 bytes!", jti="stolen")

    assert await outcome(denying(path), forged) == "CREDENTIALS_INVALID"


def test_a_deny_list_that_is_not_there_stops_the_start() -> None:
    with pytest.raises(SettingsError, match=r"^ROLLCALL_JWT_DENY_LIST: /nowhere"):
        denying(Path("/nowhere"))


async def test_keys_of_a_file_change_with_it(tmp_path: Path) -> None:
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps(jwks("RS256")))
    authenticator = authenticator_of(Settings(jwks=str(path)))
    assert await outcome(authenticator, signed("RS256")) == "ada"

    path.write_text(json.dumps(jwks("ES256")))

    assert await outcome(authenticator, signed("ES256")) == "ada"
    assert await outcome(authenticator, signed("RS256", sub="bo")) == "CREDENTIALS_INVALID"


@pytest.mark.parametrize("damage", ["", "{", '{"keys": []}', '{"keys": 1}', "[]"])
async def test_a_damaged_key_file_leaves_the_keys_as_they_were(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps(jwks("RS256")))
    authenticator = authenticator_of(Settings(jwks=str(path)))
    await authenticator.verify(signed("RS256"))

    path.write_text(damage)

    assert await outcome(authenticator, signed("RS256", sub="bo")) == "bo"


async def test_a_token_of_a_withdrawn_key_is_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jwts, "CACHED_SECONDS", 0)
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps(jwks("RS256")))
    authenticator = authenticator_of(Settings(jwks=str(path)))
    token = signed("RS256")
    assert await outcome(authenticator, token) == "ada"

    path.write_text(json.dumps(jwks("ES256")))

    assert await outcome(authenticator, token) == "CREDENTIALS_INVALID"


async def test_keys_that_never_came_are_no_verdict() -> None:
    authenticator = authenticator_of(Settings(jwks="http://127.0.0.1:9/jwks.json"))
    with pytest.raises(IssuerUnavailableError):
        await authenticator.verify(signed("RS256"))


SKEWED: dict[str, tuple[dict[str, Any], str]] = {
    "expired within it": ({"exp": -5}, "ada"),
    "expired beyond it": ({"exp": -15}, EXPIRED),
    "not yet good, within it": ({"nbf": 5}, "ada"),
    "not yet good, beyond it": ({"nbf": 15}, "CREDENTIALS_INVALID"),
    "issued in the near future": ({"iat": 5}, "ada"),
    "issued in the far future": ({"iat": 15}, "CREDENTIALS_INVALID"),
}


@pytest.mark.parametrize(("offsets", "expected"), SKEWED.values(), ids=SKEWED)
async def test_the_issuer_s_clock_may_be_off_by_so_much(offsets: dict[str, int], expected: str) -> None:
    authenticator = authenticator_of(Settings(jwt_secret=SecretStr(SECRET), jwt_leeway_seconds=10))
    times: dict[str, Any] = {name: int(time.time()) + offset for name, offset in offsets.items()}
    assert await outcome(authenticator, signed("HS256", SECRET, **times)) == expected


async def test_no_token_stays_in_memory() -> None:
    authenticator = authenticator_of(Settings(jwt_secret=SecretStr(SECRET)))
    token = signed("HS256", SECRET)
    await authenticator.verify(token)
    cache = authenticator._jwts._verified  # type: ignore[union-attr]  # noqa: SLF001 # what it holds is the promise
    assert len(cache) == 1
    assert token not in repr(list(cache.items()))


async def test_a_refusal_does_not_repeat_the_token() -> None:
    authenticator = authenticator_of(Settings(jwt_secret=SecretStr(SECRET)))
    token = signed("HS256", "another secret of more than 32 bytes!")
    with pytest.raises(UnauthenticatedError) as refusal:
        await authenticator.verify(token)
    assert token not in str(refusal.value.status())

"""What issuers, old systems and operators' files say is read, or refused by the one error of its reader."""

import asyncio
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from server import sources
from server.auth.introspection import Introspection
from server.auth.jwks import ASYMMETRIC, load_jwks
from server.commands.pulling import elements as arrays
from server.commands.pulling.elements import elements
from server.commands.pulling.source import _retry_after
from server.errors import UnauthenticatedError
from server.settings import Settings
from server.sources import SettingsError
from tests.fuzz import wild
from tests.fuzz.report import fuzzing, tries
from tests.test_auth import jwks

GOOD = jwks("RS256", "ES256", "EdDSA")["keys"]
ISSUER = Introspection(Settings(), "http://127.0.0.1:9/", jwts=True)
KNOWN = sorted(Settings.model_fields)

names = st.sampled_from(("kty", "kid", "alg", "use", "crv", "n", "e", "x", "y", "k", "key_ops"))
keys = st.builds(dict.__or__, st.sampled_from(GOOD), st.dictionaries(names, wild.jsons(), max_size=2))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("foreign")


@tries(60, 1500)
@given(
    st.lists(keys | wild.jsons(), max_size=3).map(lambda found: json.dumps({"keys": found}))
    | wild.jsons().map(json.dumps)
    | wild.damaged(json.dumps({"keys": GOOD}).encode()).map(lambda data: data.decode("latin-1"))
)
@example("[" * 100_000)
@example('{"keys": [{"kty": "RSA", "kid": {}, "alg": [], "use": [], "n": "AQAB", "e": "AQAB"}]}')
def test_any_key_set_is_read_or_refused(folder: Path, text: str) -> None:
    path = folder / "jwks.json"
    path.write_bytes(text.encode(errors="surrogatepass"))
    with fuzzing("parsers: key sets") as row:
        refused = False
        try:
            found = load_jwks(path)
        except SettingsError as error:
            refused = True
            assert str(error).startswith(f"ROLLCALL_JWKS: {path}: ")
        else:
            assert {key.algorithm_name for key in found.values()} <= ASYMMETRIC
        row.count(refused=refused)


claims = st.sampled_from(
    ("active", "sub", "exp", "aud", "iss", "scope", "client_id", "developer_id", "permissions", "groups")
)


@tries(60, 1500)
@given(st.dictionaries(claims, wild.jsons(), max_size=4))
@example({"exp": 10**400})
@example({"exp": float("nan")})
def test_any_claims_of_an_issuer_are_a_caller_or_none(told: dict[str, Any]) -> None:
    answer = {"active": True, "sub": "ada"} | told

    async def answered(_: str) -> dict[str, Any]:
        return answer

    async def ask() -> object:
        try:
            return await ISSUER._ask("opaque")  # noqa: SLF001 # what comes after its answer
        except UnauthenticatedError:
            return None

    with fuzzing("parsers: introspection") as row, pytest.MonkeyPatch.context() as patch:
        patch.setattr(ISSUER, "_answer", answered)
        found = asyncio.run(ask())
        assert found is None or answer["active"] is True
        row.count(refused=found is None)


@tries(60, 1500)
@given(st.data(), st.lists(wild.jsons(), max_size=6), st.integers(1, 40))
def test_an_array_of_any_length_is_its_elements(data: st.DataObject, items: list[Any], chunk: int) -> None:
    whole = json.dumps(items).encode()
    with fuzzing("parsers: arrays") as row, pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrays, "CHUNK_BYTES", chunk)
        assert list(elements(io.BytesIO(whole))) == [json.dumps(item).encode() for item in items]
        row.count(refused=False)
        refused = False
        try:
            list(elements(io.BytesIO(data.draw(wild.damaged(whole)))))
        except ValueError:
            refused = True
        row.count(refused=refused)


@tries(60, 1500)
@given(
    wild.texts()
    | st.from_regex(r"\A[A-Z][a-z]{2}, \d{1,2} [A-Z][a-z]{2} \d{1,6} \d\d:\d\d:\d\d [A-Z+\d-]{1,6}\Z")
)
@example("Thu, 01 Jan 9999 00:00:00 -9999")
@example("Thu, 01 Jan 99999 00:00:00 GMT")
@example("9" * 5000)
def test_any_retry_after_is_seconds_or_none(text: str) -> None:
    with fuzzing("parsers: retry-after") as row:
        seconds = _retry_after(text)
        assert seconds is None or seconds >= 0
        row.count(refused=seconds is None)


values = st.sampled_from(("50052", "true", '"text"', "[1]", "{", "'", "${HOME}", "a # b", "")) | wild.texts()
lines = st.builds(
    "{}{}={}".format,
    st.sampled_from(("", "ROLLCALL_", "export ROLLCALL_", "#")),
    st.sampled_from((*KNOWN, "nothing")).map(str.upper) | wild.texts(),
    values,
)


@tries(60, 1500)
@given(st.sampled_from((".env", "rollcall.toml")), st.lists(lines | wild.texts(), max_size=4).map("\n".join))
@example("rollcall.toml", "a = " + "[" * 5000)
@example(".env", "ROLLCALL_GRPC_PORT=" + "${" * 5000)
def test_any_file_of_settings_is_read_or_refused(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)
    (folder / {".env": "rollcall.toml", "rollcall.toml": ".env"}[name]).unlink(missing_ok=True)
    with fuzzing("parsers: files of settings") as row, pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        refused = False
        try:
            found = sources.gather(KNOWN, ())
        except SettingsError:
            refused = True
        else:
            assert found.keys() <= set(KNOWN)
        row.count(refused=refused)

"""Tokens: what holds, what does not, and where the keys come from."""

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from pydantic import SecretStr

from server.auth import jwks as signing
from server.auth.authenticator import Authenticator, authenticator_of
from server.errors import EXPIRED, UnauthenticatedError
from server.records.caller import Caller
from server.settings import Settings, SettingsError

SECRET = "a secret of more than thirty-two bytes"
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
ED_KEY = ed25519.Ed25519PrivateKey.generate()
PRIVATE: dict[str, Any] = {"RS256": RSA_KEY, "ES256": EC_KEY, "EdDSA": ED_KEY}

Jwks = dict[str, Any]


def public(algorithm: str, kid: str) -> dict[str, Any]:
    makers: dict[str, Callable[..., Any]] = {
        "RS256": RSAAlgorithm.to_jwk,
        "ES256": ECAlgorithm.to_jwk,
        "EdDSA": OKPAlgorithm.to_jwk,
    }
    jwk: dict[str, Any] = json.loads(makers[algorithm](PRIVATE[algorithm].public_key()))
    return jwk | {"kid": kid, "alg": algorithm, "use": "sig"}


def jwks(*algorithms: str) -> Jwks:
    return {"keys": [public(algorithm, algorithm.lower()) for algorithm in algorithms]}


def claims(**changes: Any) -> dict[str, Any]:
    usual = {"iss": "rollcall", "aud": "rollcall", "sub": "ada", "exp": int(time.time()) + 3600}
    return {name: value for name, value in (usual | changes).items() if value is not None}


def signed(algorithm: str, key: Any = None, kid: str | None = None, **changes: Any) -> str:
    headers = {"kid": kid or algorithm.lower()}
    return jwt.encode(claims(**changes), key or PRIVATE[algorithm], algorithm=algorithm, headers=headers)


def shared() -> Authenticator:
    return authenticator_of(Settings(jwt_secret=SecretStr(SECRET)))


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps(jwks("RS256", "ES256", "EdDSA")))
    return path


async def test_claims_become_a_caller() -> None:
    token = signed(
        "HS256",
        SECRET,
        developer_id="acme",
        client_id="console",
        permissions=["USE_ROBOTS"],
        scope="sessions:read  sessions:write",
        groups=["support"],
    )
    assert await shared().verify(token) == Caller(
        sub="ada",
        tenant="acme",
        client_id="console",
        permissions=frozenset({"USE_ROBOTS"}),
        scopes=frozenset({"sessions:read", "sessions:write"}),
        groups=frozenset({"support"}),
    )


async def test_a_caller_without_a_tenant_is_its_own() -> None:
    assert (await shared().verify(signed("HS256", SECRET))).tenant == "ada"


def made(header: str, payload: str, key: str = SECRET) -> str:
    """A token of any header and payload, signed as HS256."""
    signing = ".".join(jwt.utils.base64url_encode(part.encode()).decode() for part in (header, payload))
    digest = hmac.new(key.encode(), signing.encode(), hashlib.sha256).digest()
    return f"{signing}.{jwt.utils.base64url_encode(digest).decode()}"


def headed(**header: Any) -> str:
    return made(json.dumps({"alg": "HS256"} | header), json.dumps(claims()))


def bodied(**changes: Any) -> str:
    return made('{"alg":"HS256"}', json.dumps(claims(**changes)))


SOON = str(int(time.time()) + 1000)
REFUSED = {
    "another key": signed("HS256", "another secret of more than 32 bytes!"),
    "another algorithm of the same key": signed("HS512", SECRET + SECRET),
    "alg none": jwt.encode(claims(), "", algorithm="none"),
    "another issuer": signed("HS256", SECRET, iss="elsewhere"),
    "no issuer": signed("HS256", SECRET, iss=None),
    "another audience": signed("HS256", SECRET, aud="elsewhere"),
    "no audience": signed("HS256", SECRET, aud=None),
    "not yet valid": signed("HS256", SECRET, nbf=int(time.time()) + 1000),
    "no expiry": signed("HS256", SECRET, exp=None),
    "no subject": signed("HS256", SECRET, sub=None),
    "an empty subject": signed("HS256", SECRET, sub=""),
    "NUL in the subject": signed("HS256", SECRET, sub="a\0b"),
    "permissions that are no list": signed("HS256", SECRET, permissions="USE_ROBOTS"),
    "a scope that is no text": signed("HS256", SECRET, scope=["sessions:write"]),
    "groups of numbers": signed("HS256", SECRET, groups=[1]),
    "a tenant that is no text": signed("HS256", SECRET, developer_id={"$ne": ""}),
    "a critical extension that is not known": headed(crit=["x"], x=1),
    "a critical header that is not there": headed(crit=["x"]),
    "no critical header at all": headed(crit=[]),
    "a payload that is not encoded": headed(b64=False, crit=["b64"]),
    "a payload that is not encoded, unsaid": headed(b64=False),
    "a kid that is no text": headed(kid=["rs256"]),
    "two algorithms, the last of them none": made('{"alg":"HS256","alg":"none"}', json.dumps(claims())),
    "an algorithm in small letters": headed(alg="hs256"),
    "an algorithm that is no text": headed(alg=["HS256"]),
    "no algorithm": made("{}", json.dumps(claims())),
    "a header that is a list": made('["HS256"]', json.dumps(claims())),
    "a header that nests too deep": made("[" * 30_000, "{}"),
    "a payload that nests too deep": made('{"alg":"HS256"}', "[" * 30_000),
    "a token in a token": made('{"alg":"HS256","cty":"JWT"}', json.dumps(signed("HS256", SECRET))),
    "an encrypted token's five parts": signed("HS256", SECRET) + ".AAAA.AAAA",
    "an expiry that is text": bodied(exp=SOON),
    "an expiry beyond all floats": bodied(exp=10**400),
    "an expiry that is infinite": bodied(exp=float("inf")),
    "an expiry that is no number": bodied(exp=float("nan")),
    "not before true": bodied(nbf=True),
    "an expiry that is a list": bodied(exp=[int(SOON)]),
    "issued in the future": bodied(iat=int(SOON)),
    "issued at a text": bodied(iat="0"),
    "not before a text": bodied(nbf="0"),
    "a list of issuers": bodied(iss=["rollcall"]),
    "a list of other audiences": bodied(aud=["elsewhere", "roll"]),
    "an audience that only begins so": bodied(aud="rollcall-of-others"),
    "audiences that are not all text": bodied(aud=["rollcall", 1]),
    "a subject that is a number": bodied(sub=7),
    "two subjects, the last of them empty": made(
        '{"alg":"HS256"}', json.dumps(claims())[:-1] + ', "sub": ""}'
    ),
    "a token id that is a list": bodied(jti=["a"]),
    "padding": signed("HS256", SECRET) + "=",
    "a space before it": " " + signed("HS256", SECRET),
    "a line's end behind it": signed("HS256", SECRET) + "\n",
    "a line's end in its signature": signed("HS256", SECRET)[:-9] + "\n" + signed("HS256", SECRET)[-9:],
    "a character in its signature that decoders skip": signed("HS256", SECRET)[:-9]
    + "!"
    + signed("HS256", SECRET)[-9:],
    "nothing": "",
    "no token": "abc",
    "three empty parts": "..",
    "text of another script": "тökén.тökén.тökén",
}


@pytest.mark.parametrize("token", REFUSED.values(), ids=REFUSED)
async def test_what_does_not_hold_is_refused(token: str) -> None:
    with pytest.raises(UnauthenticatedError) as refusal:
        await shared().verify(token)
    assert refusal.value.reason == "CREDENTIALS_INVALID"


async def test_one_of_several_audiences_is_enough() -> None:
    assert (await shared().verify(bodied(aud=["elsewhere", "rollcall"]))).sub == "ada"


async def test_a_time_may_have_a_fraction() -> None:
    now = time.time()
    assert (await shared().verify(bodied(exp=now + 60.5, nbf=now - 0.5, iat=now - 0.5))).sub == "ada"


async def test_an_expired_token_is_told_so() -> None:
    with pytest.raises(UnauthenticatedError) as refusal:
        await shared().verify(signed("HS256", SECRET, exp=int(time.time()) - 1))
    assert refusal.value.reason == EXPIRED


async def test_a_verified_token_is_not_good_beyond_its_expiry() -> None:
    authenticator = shared()
    token = signed("HS256", SECRET, exp=time.time() + 1)
    await authenticator.verify(token)
    await authenticator.verify(token)
    await asyncio.sleep(1.1)
    with pytest.raises(UnauthenticatedError) as refusal:
        await authenticator.verify(token)
    assert refusal.value.reason == EXPIRED


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_keys_of_a_file_verify_what_they_signed(algorithm: str, key_file: Path) -> None:
    caller = await authenticator_of(Settings(jwks=str(key_file))).verify(signed(algorithm))
    assert caller.sub == "ada"


def confused() -> str:
    """A token signed with the public key as if it were a shared secret."""
    pem = RSA_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    header = {"alg": "HS256", "typ": "JWT", "kid": "rs256"}
    parts = [jwt.utils.base64url_encode(json.dumps(part).encode()) for part in (header, claims())]
    signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(b".".join(parts), pem)
    return b".".join([*parts, jwt.utils.base64url_encode(signature)]).decode()


FOREIGN = {
    "an HS256 token signed with the public key": confused(),
    "an algorithm that is not the key's": signed("ES256", kid="rs256"),
    "a kid that is not there": signed("RS256", kid="other"),
    "a kid that is a path": signed("RS256", kid="../../etc/passwd"),
    "a kid that is a URL": signed("RS256", kid="http://127.0.0.1:9/jwks.json"),
    "a kid that is a query": signed("RS256", kid="' OR 1=1; --"),
    "a kid of another key": signed("RS256", kid="eddsa"),
    "a kid that is huge": signed("RS256", kid="k" * 40_000),
    "no kid": jwt.encode(claims(), RSA_KEY, algorithm="RS256"),
}


@pytest.mark.parametrize("token", FOREIGN.values(), ids=FOREIGN)
async def test_a_key_verifies_by_its_own_algorithm_alone(token: str, key_file: Path) -> None:
    with pytest.raises(UnauthenticatedError):
        await authenticator_of(Settings(jwks=str(key_file))).verify(token)


UNUSABLE = {
    "a key that encrypts": {"use": "enc"},
    "a key of another algorithm": {"alg": "RS512"},
    "no name": {"kid": None},
}


@pytest.mark.parametrize("change", UNUSABLE.values(), ids=UNUSABLE)
async def test_a_key_that_is_not_for_this_verifies_nothing(change: Jwks, tmp_path: Path) -> None:
    path = tmp_path / "jwks.json"
    keys = [public("ES256", "es256"), public("RS256", "rs256") | change]
    path.write_text(json.dumps({"keys": keys}))
    with pytest.raises(UnauthenticatedError):
        await authenticator_of(Settings(jwks=str(path))).verify(signed("RS256"))


async def test_a_shared_secret_in_a_key_set_verifies_nothing(tmp_path: Path) -> None:
    path = tmp_path / "jwks.json"
    encoded = jwt.utils.base64url_encode(SECRET.encode()).decode()
    keys = [public("ES256", "es256"), {"kty": "oct", "kid": "hs256", "alg": "HS256", "k": encoded}]
    path.write_text(json.dumps({"keys": keys}))
    with pytest.raises(UnauthenticatedError):
        await authenticator_of(Settings(jwks=str(path))).verify(signed("HS256", SECRET))


class Issuer:
    """An issuer's key server, which counts the calls."""

    def __init__(self) -> None:
        self.keys = jwks("RS256")
        self.calls = 0
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.calls += 1
                self.send_response(200)
                self.end_headers()
                self.wfile.write(json.dumps(issuer.keys).encode())

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 # its name there
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/jwks.json"


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    issuer = Issuer()
    thread = Thread(target=issuer.server.serve_forever)
    thread.start()
    yield issuer
    issuer.server.shutdown()
    thread.join()
    issuer.server.server_close()


async def test_keys_of_a_url_are_fetched_once(issuer: Issuer) -> None:
    authenticator = authenticator_of(Settings(jwks=issuer.url))
    for sub in ("ada", "bo"):
        assert (await authenticator.verify(signed("RS256", sub=sub))).sub == sub
    assert issuer.calls == 1


async def test_a_token_does_not_bring_its_key(issuer: Issuer, key_file: Path) -> None:
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    jwk = json.loads(RSAAlgorithm.to_jwk(stranger.public_key())) | {"kid": "rs256", "alg": "RS256"}
    issuer.keys = {"keys": [jwk]}
    authenticator = authenticator_of(Settings(jwks=str(key_file)))
    for header in ({"jku": issuer.url}, {"x5u": issuer.url}, {"jwk": jwk}, {"x5c": ["AAAA"]}):
        headers = {"kid": "rs256"} | header
        with pytest.raises(UnauthenticatedError):
            await authenticator.verify(jwt.encode(claims(), stranger, algorithm="RS256", headers=headers))
    assert issuer.calls == 0


async def test_a_new_key_is_found_without_a_restart(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signing, "REFETCH_FLOOR_SECONDS", 0)
    authenticator = authenticator_of(Settings(jwks=issuer.url))
    await authenticator.verify(signed("RS256"))
    issuer.keys = jwks("ES256")
    await authenticator.verify(signed("ES256"))


async def test_unknown_keys_do_not_make_the_server_ask_again_and_again(issuer: Issuer) -> None:
    authenticator = authenticator_of(Settings(jwks=issuer.url))
    for number in range(20):
        with pytest.raises(UnauthenticatedError):
            await authenticator.verify(signed("RS256", kid=f"unknown {number}"))
    assert issuer.calls == 1


WRONG_SETTINGS: dict[str, tuple[dict[str, Any], str]] = {
    "no key": ({}, "must be set"),
    "two sorts of keys": ({"jwt_secret": SECRET, "jwks": "/keys.json"}, "must not both be set"),
    "a short secret": ({"jwt_secret": "short"}, "at least 32 bytes"),
    "a file that is not there": ({"jwt_secret_file": "/nowhere"}, "/nowhere"),
    "a key set that is not there": ({"jwks": "/nowhere"}, "/nowhere"),
}


@pytest.mark.parametrize(("settings", "rule"), WRONG_SETTINGS.values(), ids=WRONG_SETTINGS)
def test_wrong_keys_stop_the_start_and_are_named(settings: dict[str, Any], rule: str) -> None:
    with pytest.raises(SettingsError, match=r"^ROLLCALL_J") as error:
        authenticator_of(Settings(**settings))
    assert rule in str(error.value)
    assert SECRET not in str(error.value)

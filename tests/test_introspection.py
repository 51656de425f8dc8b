"""RFC 7662: an issuer that knows whose an opaque token is."""

import json
import time
from base64 import b64decode
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs

import pytest
from pydantic import SecretStr

from server.auth import introspection
from server.auth.api_keys import PREFIX
from server.auth.authenticator import Authenticator, authenticator_of
from server.errors import EXPIRED, IssuerUnavailableError, RollcallError
from server.records.caller import Caller
from server.settings import Settings
from tests.test_auth import SECRET, signed

Answer = dict[str, Any]


class Issuer:
    """An introspection endpoint, which keeps what it was asked."""

    def __init__(self) -> None:
        self.answer: Any = {"active": True, "sub": "ada"}
        self.status = 200
        self.seconds = 0.0
        self.asked: list[dict[str, list[str]]] = []
        self.clients: list[str] = []
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["content-length"])
                issuer.asked.append(parse_qs(self.rfile.read(length).decode()))
                issuer.clients.append(self.headers.get("authorization", ""))
                time.sleep(issuer.seconds)
                body = (
                    issuer.answer if isinstance(issuer.answer, bytes) else json.dumps(issuer.answer).encode()
                )
                self.send_response(issuer.status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 # its name there
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/introspect"

    def settings(self, **changes: Any) -> Settings:
        usual: dict[str, Any] = {
            "jwt_secret": SecretStr(SECRET),
            "introspection_url": self.url,
            "introspection_client_id": "roll:call",
            "introspection_secret": SecretStr("päss"),
        }
        return Settings(**{name: value for name, value in (usual | changes).items() if value is not None})


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    issuer = Issuer()
    thread = Thread(target=issuer.server.serve_forever)
    thread.start()
    yield issuer
    issuer.server.shutdown()
    thread.join()
    issuer.server.server_close()


@pytest.fixture
async def authenticator(issuer: Issuer) -> AsyncIterator[Authenticator]:
    authenticator = authenticator_of(issuer.settings())
    yield authenticator
    await authenticator.close()


async def test_an_active_token_s_claims_become_a_caller(issuer: Issuer, authenticator: Authenticator) -> None:
    issuer.answer = {
        "active": True,
        "sub": "ada",
        "scope": "sessions:read other",
        "client_id": "console",
        "developer_id": "acme",
        "permissions": ["USE_ROBOTS"],
        "groups": ["support"],
        "exp": int(time.time()) + 60,
        "iss": "rollcall",
        "aud": ["other", "rollcall"],
    }
    assert await authenticator.verify("opaque") == Caller(
        sub="ada",
        tenant="acme",
        client_id="console",
        permissions=frozenset({"USE_ROBOTS"}),
        scopes=frozenset({"sessions:read", "other"}),
        groups=frozenset({"support"}),
    )
    assert issuer.asked == [{"token": ["opaque"], "token_type_hint": ["access_token"]}]
    assert b64decode(issuer.clients[0].removeprefix("Basic ")) == b"roll%3Acall:p%C3%A4ss"


REFUSED: dict[str, tuple[Answer, str]] = {
    "inactive": ({"active": False}, "CREDENTIALS_INVALID"),
    "not said to be active": ({"sub": "ada"}, "CREDENTIALS_INVALID"),
    "active in other words": ({"active": "true", "sub": "ada"}, "CREDENTIALS_INVALID"),
    "nobody's": ({"active": True}, "CREDENTIALS_INVALID"),
    "of a wrong type": ({"active": True, "sub": 1}, "CREDENTIALS_INVALID"),
    "another service's": ({"active": True, "sub": "ada", "aud": "other"}, "CREDENTIALS_INVALID"),
    "another issuer's": ({"active": True, "sub": "ada", "iss": "other"}, "CREDENTIALS_INVALID"),
    "expired": ({"active": True, "sub": "ada", "exp": 1}, EXPIRED),
    "of an expiry beyond all floats": ({"active": True, "sub": "ada", "exp": 10**400}, "CREDENTIALS_INVALID"),
    "of an expiry that is no number": ({"active": True, "sub": "ada", "exp": float("nan")}, EXPIRED),
    "of an unreadable expiry": ({"active": True, "sub": "ada", "exp": "soon"}, "CREDENTIALS_INVALID"),
}


@pytest.mark.parametrize(("answer", "reason"), REFUSED.values(), ids=REFUSED)
async def test_a_token_is_refused_that_is(
    answer: Answer, reason: str, issuer: Issuer, authenticator: Authenticator
) -> None:
    issuer.answer = answer
    with pytest.raises(RollcallError) as refusal:
        await authenticator.verify("opaque")
    assert refusal.value.reason == reason


FAILURES: dict[str, dict[str, Any]] = {
    "fails": {"status": 500},
    "does not know this client": {"status": 401},
    "sends us elsewhere": {"status": 302},
    "says what is no JSON": {"answer": b"<html>"},
    "nests too deep": {"answer": b"[" * 100_000},
    "says what is no object": {"answer": [True]},
    "takes too long": {"seconds": 0.5},
}


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
async def test_no_verdict_of_an_issuer_that(
    failure: dict[str, Any], issuer: Issuer, authenticator: Authenticator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(introspection, "ANSWER_SECONDS", 0.2)
    vars(issuer).update(failure)
    with pytest.raises(IssuerUnavailableError):
        await authenticator.verify("opaque")
    vars(issuer).update(status=200, seconds=0, answer={"active": True, "sub": "ada"})
    assert (await authenticator.verify("opaque")).sub == "ada"


async def test_no_verdict_of_an_issuer_that_is_not_there() -> None:
    settings = Settings(introspection_url="http://127.0.0.1:9/")
    authenticator = authenticator_of(settings)
    with pytest.raises(IssuerUnavailableError):
        await authenticator.verify("opaque")
    await authenticator.close()


async def test_an_answer_is_kept_for_a_while(issuer: Issuer, authenticator: Authenticator) -> None:
    for _ in range(3):
        await authenticator.verify("opaque")
    assert len(issuer.asked) == 1
    forgetful = authenticator_of(issuer.settings(credential_cache_seconds=0))
    for _ in range(3):
        await forgetful.verify("opaque")
    assert len(issuer.asked) == 4
    await forgetful.close()


async def test_an_answer_is_not_kept_beyond_the_token_s_expiry(
    issuer: Issuer, authenticator: Authenticator
) -> None:
    issuer.answer = {"active": True, "sub": "ada", "exp": time.time() + 0.3}
    assert (await authenticator.verify("opaque")).sub == "ada"
    time.sleep(0.3)  # noqa: ASYNC251 # nothing else runs
    with pytest.raises(RollcallError) as refusal:
        await authenticator.verify("opaque")
    assert refusal.value.reason == EXPIRED


@pytest.mark.parametrize(
    "credential", [signed("HS256", "another secret of more than 32 bytes!"), PREFIX + "x" * 43, ""]
)
async def test_what_is_no_opaque_token_is_not_sent_to_the_issuer(
    credential: str, issuer: Issuer, authenticator: Authenticator
) -> None:
    with pytest.raises(RollcallError):
        await authenticator.verify(credential)
    assert issuer.asked == []


async def test_without_keys_the_issuer_judges_jwts_too(issuer: Issuer) -> None:
    authenticator = authenticator_of(issuer.settings(jwt_secret=None))
    assert (await authenticator.verify(signed("HS256", SECRET, sub="bo"))).sub == "ada"
    await authenticator.close()

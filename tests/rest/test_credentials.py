"""Which credentials each contract takes, in what order; nothing forged gets in, nothing inside gets out."""

import base64
import http.client
import socket
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import httpx
import jwt
import orjson
import pytest

from server.page_tokens import PREFIX, PageTokens, page_tokens_of
from tests.parts import FOUNDRY, ROBOTS, SCOPE, agent_line, agent_session, line, uid
from tests.stack import Stack, running_stack

USER, TENANT, TEAM = "/session", "/sessions", "/robots"
PATHS = (USER, TENANT, TEAM, FOUNDRY)

TUTOR_COOKIE = "better-auth.session_token"
SECURE_COOKIE = f"__Secure-{TUTOR_COOKIE}"
STORYDEN_COOKIE = "storyden-session"

LEAKS = (b"Traceback", b'File "', b"/server/", b"pymongo", b"Error(", b"site-packages", b"0x7f")

UNAUTHENTICATED = (
    "The request did not contain any authentication information, please check to make sure you are logged in."
)
FORBIDDEN = "You don\u2019t have access to this right now."


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_stack(tmp_path_factory.mktemp("credentials") / "data") as running:
        running.load(
            agent_line("open", "*"),
            *(
                line("agent_session", agent_session(str(number), "open"), user_id=sub, client_id="console")
                for sub in ("ada", "bob")
                for number in range(3)
            ),
        )
        yield running


@pytest.fixture(scope="module")
def client(service: Stack) -> Iterator[httpx.Client]:
    """A client that fails on any answer which tells of the inside."""
    with httpx.Client(base_url=service.rest, timeout=30, event_hooks={"response": [_scan]}) as made:
        yield made


def _scan(response: httpx.Response) -> None:
    content = response.read()
    assert [leak for leak in LEAKS if leak in content] == []


def good(service: Stack, sub: str = "ada", **claims: Any) -> str:
    """Return a token that every contract accepts."""
    return service.token(
        sub, **({"scopes": [SCOPE], "permissions": [ROBOTS], "client_id": "console"} | claims)
    )


def secret_of(service: Stack) -> str:
    secret = service.settings.secret("jwt_secret")
    assert secret is not None
    return secret


def outcome(response: httpx.Response) -> object:
    """Return "ok", or what names the error in its contract; check the rest of the error."""
    body = response.json()
    if response.status_code == 200:
        return "ok"
    path = response.request.url.path
    assert response.content.isascii()
    if "robots" in path:
        assert response.headers["content-type"] == "application/problem+json"
        assert body.pop("trace_id")
        assert body.pop("detail")
        return response.status_code, body["type"].rpartition(":")[2], body["title"]
    assert response.headers["content-type"] == "application/json"
    if path.startswith("/api/v2"):
        assert body.pop("errorInstanceId")
        return response.status_code, *body.values()
    return response.status_code, body


def refusal(path: str, kind: str = "INVALID") -> object:
    """Return the outcome of credentials that are MISSING, INVALID or EXPIRED."""
    if path == USER:
        return 401, {"error": {"message": "Unauthorized", "type": "UNAUTHORIZED", "status": 401}}
    if path == TENANT:
        message = "Could not validate API KEY"
        return 403, {"error": {"message": message, "code": "http_403", "type": "http_error"}}
    if path == TEAM:
        return 401, "unauthenticated", UNAUTHENTICATED
    if kind == "MISSING":
        return 401, "UNAUTHORIZED", "Conjure:MissingCredentials", {}
    return 401, "UNAUTHORIZED", "Default:Unauthorized", {"error": kind}


def authorization(value: str) -> dict[str, str]:
    return {"authorization": value}


def cookie(*pairs: tuple[str, str]) -> dict[str, str]:
    return {"cookie": "; ".join(f"{name}={value}" for name, value in pairs)}


# Where credentials are looked for


@pytest.mark.parametrize("path", PATHS)
def test_every_path_takes_a_bearer_token_in_any_case(service: Stack, client: httpx.Client, path: str) -> None:
    for scheme in ("Bearer", "bearer", "BEARER", "bEaReR"):
        for header in ("authorization", "Authorization"):
            answer = client.get(path, headers={header: f"{scheme} {good(service)}"})
            assert outcome(answer) == "ok"


@pytest.mark.parametrize("path", PATHS)
def test_no_credentials_are_refused_as_missing(client: httpx.Client, path: str) -> None:
    assert outcome(client.get(path)) == refusal(path, "MISSING")
    assert outcome(client.get(path, headers=cookie(("other", "x")))) == refusal(path, "MISSING")


@pytest.mark.parametrize("path", [*PATHS, "/v1/sessions"])
def test_credentials_in_a_query_are_none(service: Stack, client: httpx.Client, path: str) -> None:
    for name in ("access_token", "authorization", "token", "api_key", STORYDEN_COOKIE):
        answer = client.get(path, params={"preview": "true", name: good(service)})
        assert answer.status_code in {401, 403}, name
        assert good(service)[-40:] not in answer.text


@pytest.mark.parametrize("path", PATHS)
def test_a_bare_key_is_taken_by_the_session_path_only(
    service: Stack, client: httpx.Client, path: str
) -> None:
    answer = client.get(path, headers=authorization(good(service)))
    assert outcome(answer) == ("ok" if path == TENANT else refusal(path))


@pytest.mark.parametrize("path", PATHS)
def test_other_schemes_are_refused(service: Stack, client: httpx.Client, path: str) -> None:
    for value in (
        "Basic YTpi",
        "Bearer",
        f"Token {good(service)}",
        f"Bearer{good(service)}",
        "Bearer a b",
        "-",
    ):
        assert outcome(client.get(path, headers=authorization(value))) == refusal(path), value


@pytest.mark.parametrize("path", PATHS)
def test_each_path_takes_its_own_cookies_only(service: Stack, client: httpx.Client, path: str) -> None:
    own = {USER: {TUTOR_COOKIE, SECURE_COOKIE}, TEAM: {STORYDEN_COOKIE}}.get(path, set())
    names = (
        TUTOR_COOKIE,
        SECURE_COOKIE,
        STORYDEN_COOKIE,
        TUTOR_COOKIE.upper(),
        "session",
        f"x{STORYDEN_COOKIE}",
    )
    for name in names:
        answer = client.get(path, headers=cookie((name, good(service))))
        assert outcome(answer) == ("ok" if name in own else refusal(path, "MISSING")), name


@pytest.mark.parametrize(
    ("path", "name"), [(USER, TUTOR_COOKIE), (USER, SECURE_COOKIE), (TEAM, STORYDEN_COOKIE)]
)
def test_a_cookie_is_read_as_browsers_send_it(
    service: Stack, client: httpx.Client, path: str, name: str
) -> None:
    token = good(service)
    encoded = "".join(f"%{ord(character):02x}" for character in token)
    for held in (
        cookie((name, encoded)),
        cookie((name, quote(token, safe=""))),
        cookie(("a", "1"), (name, token), ("b", "2")),
        {"cookie": f"a=1;{name}={token};b"},
    ):
        assert outcome(client.get(path, headers=held)) == "ok"
    for held in (
        cookie((name, "")),
        {"cookie": name},
        cookie((name, "%ff%00%0d%0a")),
        {"cookie": f";;=;{name}"},
    ):
        assert outcome(client.get(path, headers=held)) == refusal(path)


@pytest.mark.parametrize(
    ("path", "name"), [(USER, TUTOR_COOKIE), (USER, SECURE_COOKIE), (TEAM, STORYDEN_COOKIE)]
)
def test_of_two_cookies_of_one_name_the_first_counts(
    service: Stack, client: httpx.Client, path: str, name: str
) -> None:
    token = good(service)
    assert outcome(client.get(path, headers=cookie((name, token), (name, "bad")))) == "ok"
    assert outcome(client.get(path, headers=cookie((name, "bad"), (name, token)))) == refusal(path)
    two_lines = [("cookie", f"{name}=bad"), ("cookie", f"{name}={token}")]
    assert outcome(client.get(path, headers=two_lines)) == refusal(path)


def test_a_bad_storyden_cookie_falls_through_to_the_header(service: Stack, client: httpx.Client) -> None:
    token, expired = good(service), good(service, expires_in=timedelta(seconds=-60))
    for bad in ("bad", "", "a.b.c", expired):
        for path in (TEAM, "/api/robots/sessions"):
            both = cookie((STORYDEN_COOKIE, bad)) | authorization(f"Bearer {token}")
            assert outcome(client.get(path, headers=both)) == "ok"
    both = cookie((STORYDEN_COOKIE, "bad")) | authorization("Bearer bad")
    assert outcome(client.get(TEAM, headers=both)) == refusal(TEAM)


def test_a_good_storyden_cookie_counts_before_the_header(service: Stack, client: httpx.Client) -> None:
    member, stranger = good(service), good(service, permissions=[])
    forbidden = 403, "permission-denied", FORBIDDEN
    for held, other, expected in (
        (member, stranger, "ok"),
        (stranger, member, forbidden),
        (member, "bad", "ok"),
    ):
        both = cookie((STORYDEN_COOKIE, held)) | authorization(f"Bearer {other}")
        assert outcome(client.get(TEAM, headers=both)) == expected


# What holds


def _unsigned(claims: Mapping[str, Any], secret: str, algorithm: str) -> str:
    """Return a token whose header names an algorithm that the signature is not of."""
    token = jwt.encode(dict(claims), secret, algorithm="HS256")
    header = base64.urlsafe_b64encode(orjson.dumps({"alg": algorithm, "typ": "JWT"})).rstrip(b"=").decode()
    return ".".join((header, *token.split(".")[1:]))


def forged(service: Stack) -> dict[str, str]:
    """Return tokens that must not hold, by what is wrong with each."""
    secret = secret_of(service)
    now = datetime.now(UTC)
    claims: dict[str, Any] = {
        "iss": "rollcall",
        "aud": "rollcall",
        "sub": "ada",
        "exp": now + timedelta(hours=1),
        "permissions": [ROBOTS],
        "scope": SCOPE,
    }
    assert jwt.decode(jwt.encode(claims, secret), secret, algorithms=["HS256"], audience="rollcall")
    token = jwt.encode(claims, secret)
    header, payload, signature = token.split(".")

    def signed(**changes: Any) -> str:
        return jwt.encode(claims | changes, secret)

    def without(name: str) -> str:
        return jwt.encode({key: value for key, value in claims.items() if key != name}, secret)

    return {
        "garbage": "x",
        "three parts of garbage": "a.b.c",
        "dots": "..",
        "not ASCII": "t\u00f6ken",
        "60 KB of garbage": "x" * 60_000,
        "60 KB of payload": signed(padding="x" * 40_000, aud="other"),
        "another audience": signed(aud="other"),
        "no audience": without("aud"),
        "another issuer": signed(iss="other"),
        "no issuer": without("iss"),
        "no expiry": without("exp"),
        "an expiry that is no number": signed(exp="never"),
        "no sub": without("sub"),
        "an empty sub": signed(sub=""),
        "a sub with NUL": signed(sub="ada\0"),
        "a developer_id that is no text": signed(developer_id=7),
        "permissions that are no list": signed(permissions=ROBOTS),
        "a scope that is no text": signed(scope=[SCOPE]),
        "not yet valid": signed(nbf=now + timedelta(hours=1)),
        "algorithm none": jwt.encode(claims, "", algorithm="none"),
        "algorithm none, signed": _unsigned(claims, secret, "none"),
        "another algorithm": jwt.encode(claims, secret * 2, algorithm="HS512"),
        "another algorithm, same secret": jwt.encode(claims, secret, algorithm="HS384"),
        "an algorithm that is not": _unsigned(claims, secret, "RS256"),
        "another key": jwt.encode(claims, "another secret, of at least 32 bytes"),
        "no signature": f"{header}.{payload}.",
        "a cut signature": token[:-1],
        "a longer signature": token + "A",
        "a changed payload": f"{header}.{payload[:-4]}AAAA.{signature}",
        "a payload of another": ".".join((header, signed(sub="bob").split(".")[1], signature)),
    }


@pytest.mark.parametrize("path", PATHS)
def test_a_token_that_does_not_hold_is_refused(service: Stack, client: httpx.Client, path: str) -> None:
    seen = {
        name: outcome(client.get(path, headers={b"authorization": b"Bearer " + token.encode()}))
        for name, token in forged(service).items()
    }
    assert {name: found for name, found in seen.items() if found != refusal(path)} == {}


@pytest.mark.parametrize("path", PATHS)
def test_an_expired_token_is_refused_as_expired(service: Stack, client: httpx.Client, path: str) -> None:
    for seconds in (1, 3600):
        token = good(service, expires_in=timedelta(seconds=-seconds))
        answer = client.get(path, headers=authorization(f"Bearer {token}"))
        assert outcome(answer) == refusal(path, "EXPIRED")


def test_a_token_that_was_good_is_refused_once_it_expires(service: Stack, client: httpx.Client) -> None:
    headers = authorization(f"Bearer {good(service, expires_in=timedelta(seconds=2))}")
    assert {path: outcome(client.get(path, headers=headers)) for path in PATHS} == dict.fromkeys(PATHS, "ok")
    time.sleep(2.1)
    for path in PATHS:
        assert outcome(client.get(path, headers=headers)) == refusal(path, "EXPIRED")


@pytest.mark.parametrize("path", PATHS)
def test_a_token_of_60_kb_holds_and_one_of_100_kb_is_over_the_proxy_s_limit(
    service: Stack, client: httpx.Client, path: str
) -> None:
    long = good(service, groups=[uid(number) for number in range(1150)])
    assert 59_000 < len(long) < 62_000
    assert outcome(client.get(path, headers=authorization(f"Bearer {long}"))) == "ok"
    answer = client.get(path, headers=authorization("Bearer " + "x" * 100_000))
    assert (answer.status_code, answer.headers["content-type"]) == (431, "application/json")
    error = answer.json()
    assert error["error"].pop("message")
    assert error == {"error": {"type": "BAD_REQUEST", "status": 431}}


@pytest.mark.parametrize("path", ["/robots", "/robots/sessions", "/api/robots/x", "/robots/sessions/x"])
def test_robots_are_for_those_with_the_permission(service: Stack, client: httpx.Client, path: str) -> None:
    for permissions in ([], ["use_robots"], ["USE_ROBOTS_X", "READ"], [f"{ROBOTS} ADMINISTRATOR"]):
        token = service.token("ada", permissions=permissions, scopes=[ROBOTS], groups=[ROBOTS])
        answer = client.get(path, headers=authorization(f"Bearer {token}"))
        assert outcome(answer) == (403, "permission-denied", FORBIDDEN)
    for permissions in ([ROBOTS], ["ADMINISTRATOR"], ["X", ROBOTS]):
        token = service.token("ada", permissions=permissions)
        answer = client.get(path, headers=authorization(f"Bearer {token}"))
        assert answer.status_code == (404 if path.endswith("/x") else 200)


def test_agent_sessions_are_for_those_with_the_scope(service: Stack, client: httpx.Client) -> None:
    denied: object = 403, "PERMISSION_DENIED", "GetAllSessionsAgentsPermissionDenied", {}
    for scopes in ([], [f"{SCOPE}r"], [SCOPE.upper()], ["api:aip-agents-read", "sessions:write"]):
        token = service.token("ada", scopes=scopes, permissions=[SCOPE, "ADMINISTRATOR"])
        assert outcome(client.get(FOUNDRY, headers=authorization(f"Bearer {token}"))) == denied
    token = service.token("ada", scopes=["a", SCOPE, "z"])
    assert outcome(client.get(FOUNDRY, headers=authorization(f"Bearer {token}"))) == "ok"


# Page tokens


def page(service: Stack, client: httpx.Client, token: str, sub: str = "ada", **claims: Any) -> object:
    """Return the outcome of a page token, and check that a refusal repeats it."""
    held = authorization(f"Bearer {good(service, sub, **claims)}")
    answer = client.get(f"{FOUNDRY}&pageToken={quote(token, safe='')}", headers=held)
    found = outcome(answer)
    if found != "ok":
        assert answer.json()["parameters"] == {"pageToken": token}
        return answer.status_code, answer.json()["errorCode"], answer.json()["errorName"]
    return found


INVALID = (400, "INVALID_ARGUMENT", "InvalidPageToken")


def first_token(service: Stack, client: httpx.Client) -> str:
    held = authorization(f"Bearer {good(service)}")
    token = client.get(f"{FOUNDRY}&pageSize=1", headers=held).json()["nextPageToken"]
    assert page(service, client, token) == "ok"
    return str(token)


def _decoded(token: str) -> bytes:
    body = token.removeprefix(PREFIX)
    return base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))


def _encoded(sealed: bytes) -> str:
    return PREFIX + base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()


def test_a_page_token_with_any_bit_flipped_is_refused(service: Stack, client: httpx.Client) -> None:
    sealed = _decoded(first_token(service, client))
    for bit in range(len(sealed) * 8):
        flipped = bytearray(sealed)
        flipped[bit // 8] ^= 1 << bit % 8
        assert page(service, client, _encoded(bytes(flipped))) == INVALID, bit


def test_a_page_token_that_is_cut_longer_or_spelled_otherwise_is_refused(
    service: Stack, client: httpx.Client
) -> None:
    token = first_token(service, client)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    cut = [token[:length] for length in range(len(token))]
    last = [token[:-1] + character for character in alphabet if character != token[-1]]
    around = [token + "=", token + "A", " " + token, token + "\n", token + "\0", token[3:], "V1" + token[2:]]
    around += ["v2" + token[2:], token * 2, token.lower(), token + "\u00e9", token.replace("v1.", "v1.v1.")]
    assert [each for each in (*cut, *last, *around) if page(service, client, each) != INVALID] == []


def test_a_page_token_of_another_caller_is_refused(service: Stack, client: httpx.Client) -> None:
    token = first_token(service, client)
    assert page(service, client, token, "bob") == INVALID
    assert page(service, client, token, client_id="field-app") == INVALID
    assert page(service, client, token, client_id="") == INVALID
    # Whatever else changes about the same caller, its pages go on.
    assert page(service, client, token, groups=["support"], tenant="acme") == "ok"


def test_a_page_token_of_another_query_key_or_time_is_refused(
    service: Stack, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, now = page_tokens_of(service.settings), time.time()
    position = ("2026-01-01T00:00:00.000000000Z", "ri.aip-agents..session.0")
    binding = ("allSessions", "ada", "console")
    assert page(service, client, ours.seal(position, *binding)) == "ok"
    assert page(service, client, ours.seal(position, "sessions", "ada", "console")) == INVALID
    assert page(service, client, ours.seal(position, *binding[:2])) == INVALID
    assert page(service, client, ours.seal(position)) == INVALID
    assert page(service, client, PageTokens(["k" * 32], 3600).seal(position, *binding)) == INVALID
    for hours, expected in ((23, "ok"), (25, INVALID)):
        monkeypatch.setattr(time, "time", lambda hours=hours: now - hours * 3600)
        old = ours.seal(position, *binding)
        monkeypatch.undo()
        assert page(service, client, old) == expected


# What clients must not get in


def exchange(service: Stack, request: bytes) -> tuple[int, http.client.HTTPMessage, bytes]:
    """Send bytes; return the status, headers and body of the answer to them."""
    with socket.create_connection(("127.0.0.1", service.settings.rest_port), timeout=15) as connection:
        connection.sendall(request)
        with http.client.HTTPResponse(connection) as answer:
            answer.begin()
            body = answer.read()
    assert [leak for leak in LEAKS if leak in body] == []
    return answer.status, answer.headers, body


BROKEN = {
    "NUL in a header": b"GET /session HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer a\0b\r\n\r\n",
    "NUL in a header's name": b"GET /session HTTP/1.1\r\nHost: a\r\nAuthor\0ization: Bearer a\r\n\r\n",
    "NUL in a path": b"GET /session\0 HTTP/1.1\r\nHost: a\r\n\r\n",
    "NUL in a query": b"GET /sessions?limit=\0 HTTP/1.1\r\nHost: a\r\n\r\n",
    "CR in a path": b"GET /session\rX HTTP/1.1\r\nHost: a\r\n\r\n",
    "no host": b"GET /robots HTTP/1.1\r\n\r\n",
    "no HTTP": b"\0\1\2\3\r\n\r\n",
    "two lengths": b"GET /api/v2/x HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "length and chunks": b"GET /sessions HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_request_with_nul_or_broken_lines_is_refused(service: Stack, name: str) -> None:
    status, headers, body = exchange(service, BROKEN[name])
    assert (status, headers["content-type"]) == (400, "application/json")
    assert orjson.loads(body) == {"error": {"message": "Bad request", "type": "BAD_REQUEST", "status": 400}}


def test_lines_are_not_smuggled_in(service: Stack) -> None:
    token = good(service).encode()
    for ending in (b"\r", b"\0\r\n", b"%0d%0a", b"\\r\\n", b"\x0b", b"\xe2\x80\xa8"):
        smuggled = b"X-A: b%bAuthorization: Bearer %b" % (ending, token)
        status, _, _ = exchange(service, b"GET /session HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n" % smuggled)
        assert status in {400, 401}, ending
    # A line that ends early is the old protocol without headers.
    status, _, body = exchange(service, b"GET /session\r\nAuthorization: Bearer %b HTTP/1.1\r\n\r\n" % token)
    refused = {"message": "Upgrade required", "type": "BAD_REQUEST", "status": 426}
    assert (status, orjson.loads(body)) == (426, {"error": refused})


@pytest.mark.parametrize(
    "target",
    [
        b"/sessions?limit=%0d%0aSet-Cookie:%20a=b%0d%0a%0d%0a<html>",
        b"/robots/sessions?account_id=%0d%0aSet-Cookie:%20a=b",
        b"/robots/%0d%0aSet-Cookie:%20a=b",
        b"/robots/sessions/%0d%0aSet-Cookie:%20a=b?before=%0d%0aSet-Cookie:%20a=b",
        b"/api/v2/aipAgents/agents/allSessions?preview=true&pageToken=%0d%0aSet-Cookie:%20a=b",
        b"/session/%0d%0aSet-Cookie:%20a=b",
    ],
)
def test_no_parameter_puts_lines_into_an_answer(service: Stack, target: bytes) -> None:
    token = good(service).encode()
    request = b"GET %b HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer %b\r\n\r\n"
    status, headers, body = exchange(service, request % (target, token))
    assert 400 <= status < 500
    assert "set-cookie" not in headers
    assert body.count(b"\n") == 0
    assert orjson.loads(body)


INSIDE = {
    "x-envoy-original-path": "/sessions?limit=1",
    "x-envoy-original-method": "POST",
    "x-envoy-upstream-rq-timeout-ms": "1",
    "x-envoy-expected-rq-timeout-ms": "1",
    "x-envoy-max-retries": "0",
    "x-envoy-retry-on": "5xx",
    "x-envoy-internal": "true",
    "x-envoy-decorator-operation": "x",
    "x-error-body": '{"forged":true}',
    "x-error-type": "text/html",
    "x-http-status": "418",
    "x-method": "HEAD",
    "x-request-id": "forged",
    "x-forwarded-for": "10.0.0.1",
    "x-http-method-override": "POST",
    "grpc-status": "16",
    "grpc-message": "forged",
    "grpc-timeout": "1n",
    "grpc-encoding": "gzip",
    "grpc-accept-encoding": "gzip",
    "content-type": "application/grpc",
    "te": "trailers",
}


def stable(response: httpx.Response) -> object:
    """Return an answer without what is another each time."""
    volatile = ("trace_id", "errorInstanceId")
    body = response.json()
    kept = body if isinstance(body, list) else {key: body[key] for key in body if key not in volatile}
    headers = {name for name in response.headers if name != "content-encoding"}
    return response.status_code, response.headers["content-type"], headers, kept


@pytest.mark.parametrize(
    "path",
    [
        *PATHS,
        "/sessions?limit=abc",
        "/robots/sessions?account_id=x",
        "/robots/nope",
        "/api/v2/aipAgents/agents/allSessions",
        "/nope",
        "/api/v2/nope",
        "/sessions/nope",
    ],
)
@pytest.mark.parametrize("authorized", [True, False])
def test_headers_that_mean_something_inside_have_no_effect(
    service: Stack,
    client: httpx.Client,
    path: str,
    authorized: bool,
) -> None:
    held = authorization(f"Bearer {good(service)}") if authorized else {}
    plain = stable(client.get(path, headers=held))
    seen = {name: stable(client.get(path, headers=held | {name: value})) for name, value in INSIDE.items()}
    assert {name: found for name, found in seen.items() if found != plain} == {}
    answer = client.get(path, headers=held | INSIDE)
    assert stable(answer) == plain
    assert "forged" not in answer.text + str(answer.headers)


HOSTILE = (
    "%00",
    "%ff%fe",
    "%ED%A0%80",
    "%0d%0a",
    "{{7*7}}",
    "%24where",
    "{'$gt':''}",
    "%7B%22$gt%22:%22%22%7D",
    "../../etc/passwd",
    "%2e%2e%2f",
    "<script>",
    "%F0%9F%99%82",
    "9" * 5000,
    "-1",
    "NaN",
    "1e999",
    "[" * 5000,
    "%5B" * 3000,
    "%",
    "%zz",
    "+",
    "%u0000",
    "\u202e",
    "%C0%80",
)
PARAMETERS = (
    "/session?x=",
    "/sessions?limit=",
    "/sessions?offset=",
    "/sessions?sort_by=",
    "/sessions?direction=",
    "/sessions?metadata_filter=",
    "/sessions?metadata_filter.a=",
    "/sessions?metadata_filter.",
    "/robots?page=",
    "/robots/",
    "/robots/sessions?page=",
    "/robots/sessions?account_id=",
    "/robots/sessions/",
    f"{FOUNDRY}&pageSize=",
    f"{FOUNDRY}&pageToken=",
    "/api/v2/aipAgents/agents/allSessions?preview=",
)


@pytest.mark.parametrize("parameter", PARAMETERS)
def test_hostile_input_gets_json_that_tells_nothing_of_the_inside(
    service: Stack, client: httpx.Client, parameter: str
) -> None:
    headers = authorization(f"Bearer {good(service)}")
    for value in HOSTILE:
        answer = client.get(parameter + value, headers=headers)
        assert answer.status_code in {200, 400, 404, 422}, value
        assert answer.json() is not None
        assert len(answer.content) < 20_000

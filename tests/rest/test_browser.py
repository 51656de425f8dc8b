"""The coding tutor's client in a browser: another origin, with credentials, and compressed answers."""

import gzip
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest

from tests.parts import FOUNDRY, ROBOTS, SCOPE, line, user_session
from tests.stack import Stack, running_stack

OURS, SECOND, FOREIGN = "https://tutor.example", "http://localhost:5173", "https://evil.example"
DEFAULT = "http://localhost:3000"
TUTOR_COOKIE = "better-auth.session_token"
LARGE = [user_session(uuid=f"{number:03}", llmContext="words " * 200) for number in range(200)]

PATHS = ("/session", "/sessions", "/api/sessions", "/robots", "/robots/sessions", FOUNDRY)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder: Path = tmp_path_factory.mktemp("browser") / "data"
    with running_stack(folder, environment={"ROLLCALL_CORS_ORIGINS": f"{OURS}, {SECOND}"}) as running:
        running.load(*(line("user_session", body, user_id="large") for body in LARGE))
        yield running


@pytest.fixture(scope="module")
def client(service: Stack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.rest, timeout=30, headers={"accept-encoding": "identity"}) as made:
        yield made


def bearer(service: Stack, sub: str = "ada") -> dict[str, str]:
    token = service.token(sub, scopes=[SCOPE], permissions=[ROBOTS], client_id="c")
    return {"authorization": f"Bearer {token}"}


def cors(response: httpx.Response) -> Mapping[str, str]:
    return {name: value for name, value in response.headers.items() if name.startswith("access-control-")}


def words(value: str) -> set[str]:
    return {word.strip().lower() for word in value.split(",")}


def preflight(client: httpx.Client, path: str, origin: str, method: str = "GET") -> httpx.Response:
    asked = {
        "origin": origin,
        "access-control-request-method": method,
        "access-control-request-headers": "authorization,content-type",
    }
    return client.options(path, headers=asked)


@pytest.mark.parametrize("path", [*PATHS, "/nope"])
@pytest.mark.parametrize("origin", [OURS, SECOND])
def test_a_preflight_of_an_allowed_origin_is_answered_without_credentials(
    client: httpx.Client, path: str, origin: str
) -> None:
    answer = preflight(client, path, origin)
    assert answer.is_success
    headers = cors(answer)
    assert headers["access-control-allow-origin"] == origin
    assert headers["access-control-allow-credentials"] == "true"
    assert words(headers["access-control-allow-methods"]) == {"get", "options"}
    assert words(headers["access-control-allow-headers"]) == {"content-type", "authorization"}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "origin",
    [FOREIGN, DEFAULT, f"{OURS}.evil.example", OURS.replace("https", "http"), f"{OURS}:444", "null", "*"],
)
def test_a_preflight_of_a_foreign_origin_allows_nothing(client: httpx.Client, path: str, origin: str) -> None:
    answer = preflight(client, path, origin)
    assert "access-control-allow-origin" not in cors(answer)
    assert "access-control-allow-credentials" not in cors(answer)


@pytest.mark.parametrize(
    "path", [*PATHS, "/nope", "/sessions/x", "/robots/nope", "/api/v2/nope", "/sessions?limit=x"]
)
def test_answers_and_errors_carry_the_headers_for_an_allowed_origin_only(
    service: Stack, client: httpx.Client, path: str
) -> None:
    for credentials in ({}, bearer(service)):
        allowed = client.get(path, headers={"origin": OURS, **credentials})
        foreign = client.get(path, headers={"origin": FOREIGN, **credentials})
        without = client.get(path, headers=credentials)
        assert allowed.status_code == foreign.status_code == without.status_code
        headers = cors(allowed)
        assert headers["access-control-allow-origin"] == OURS
        assert headers["access-control-allow-credentials"] == "true"
        assert cors(foreign) == cors(without) == {}
        assert allowed.json() is not None


def test_a_browser_session_works_from_preflight_to_list(service: Stack, client: httpx.Client) -> None:
    token = service.token("large")
    assert preflight(client, "/session", OURS).is_success
    answer = client.get("/session", headers={"origin": OURS, "cookie": f"{TUTOR_COOKIE}={token}"})
    assert (answer.status_code, len(answer.json())) == (200, len(LARGE))
    assert cors(answer)["access-control-allow-origin"] == OURS


def test_the_default_origin_is_the_tutor_s_development_server(stack: Stack) -> None:
    with httpx.Client(base_url=stack.rest) as client:
        assert cors(preflight(client, "/session", DEFAULT))["access-control-allow-origin"] == DEFAULT
        assert "access-control-allow-origin" not in cors(preflight(client, "/session", OURS))


def raw(client: httpx.Client, path: str, headers: Mapping[str, str]) -> tuple[httpx.Response, bytes]:
    """Return an answer and its body as it came over the wire."""
    with client.stream("GET", path, headers=dict(headers)) as answer:
        return answer, b"".join(answer.iter_raw())


def test_an_answer_is_gzipped_for_who_accepts_it(service: Stack, client: httpx.Client) -> None:
    plain = client.get("/session", headers=bearer(service, "large"))
    assert plain.json() == LARGE
    assert "content-encoding" not in plain.headers
    for accepted in ("gzip", "gzip, deflate", "gzip;q=1.0, identity;q=0.5", "deflate, gzip"):
        answer, body = raw(client, "/session", bearer(service, "large") | {"accept-encoding": accepted})
        assert answer.headers["content-encoding"] == "gzip"
        assert "accept-encoding" in words(answer.headers["vary"])
        assert len(body) < len(plain.content) / 10
        assert gzip.decompress(body) == plain.content


def test_an_answer_is_compressed_with_brotli_for_who_accepts_it(service: Stack, client: httpx.Client) -> None:
    plain = client.get("/session", headers=bearer(service, "large"))
    for accepted in ("br", "gzip, deflate, br", "gzip, deflate, br, zstd"):
        answer, body = raw(client, "/session", bearer(service, "large") | {"accept-encoding": accepted})
        assert answer.headers["content-encoding"] == "br"
        assert "accept-encoding" in words(answer.headers["vary"])
        assert len(body) < len(plain.content) / 10


@pytest.mark.parametrize("accepted", ["identity", "", "zstd", "gzip;q=0", "br;q=0, gzip;q=0"])
def test_an_answer_is_plain_for_who_accepts_no_other(
    service: Stack, client: httpx.Client, accepted: str
) -> None:
    answer, body = raw(client, "/session", bearer(service, "large") | {"accept-encoding": accepted})
    assert "content-encoding" not in answer.headers
    assert body.endswith(b"}]")


def test_errors_are_readable_for_who_accepts_compression(service: Stack, client: httpx.Client) -> None:
    for encoding in ("gzip", "br", "gzip, deflate, br"):
        for path in ("/session", "/sessions", "/robots", FOUNDRY, "/nope"):
            answer, body = raw(client, path, {"accept-encoding": encoding})
            assert answer.status_code >= 400
            assert "content-encoding" not in answer.headers
            assert body.startswith(b"{")
    long = f"/sessions?limit={'a' * 2000}"
    answer = client.get(long, headers=bearer(service) | {"accept-encoding": "gzip"})
    assert answer.json()["error"]["details"][0]["received"] == "a" * 1000

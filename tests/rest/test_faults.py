"""What callers see when a part behind Envoy is down, frozen or slow, and when answers are large."""

import base64
import http.client
import json
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

import httpx
import pytest

from tests.parts import (
    FOUNDRY,
    ROBOTS,
    SCOPE,
    Parts,
    agent_line,
    agent_session,
    line,
    robot,
    robot_session,
    running_parts,
    session,
    user_session,
    wait_until,
    xid,
)

ANSWER_SECONDS = 10.0
RECOVERY_SECONDS = 15.0
MEGABYTE = 1 << 20
GROWTH_BYTES = 100 * MEGABYTE
FIRST_BYTES = 2 * MEGABYTE

LARGE = [
    user_session(
        uuid=f"{number:02}",
        audios=[{"id": "a", "base64": base64.b64encode(os.urandom(MEGABYTE * 3 // 4)).decode()}],
    )
    for number in range(40)
]
"""40 sessions of 1 MB that do not compress."""

PATHS = (
    "/session",
    "/sessions",
    "/api/sessions?limit=3&metadata_filter.a=1",
    "/robots",
    f"/robots/{xid(1)}",
    "/robots/sessions?page=2",
    "/api/robots/sessions",
    f"/robots/sessions/{xid(1)}?limit=2",
    FOUNDRY,
)

Answers = Mapping[str, tuple[httpx.Response, float]]
"""By path: what came, and after how many seconds."""


class Outage(NamedTuple):
    """What callers got while the store was away: of every path, twice, and of the large list half-way."""

    first: Answers
    later: Answers
    beginning: bytes
    rest: bytes | None
    seconds: float


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    with running_parts(tmp_path_factory.mktemp("faults") / "data") as running:
        running.service.load(
            *(line("user_session", body, user_id="large") for body in LARGE),
            line("user_session", user_session(), user_id="ada"),
            line("session", session(), developer_id="ada"),
            line("robot", robot()),
            line("robot_session", robot_session()),
            agent_line("open", "*"),
            line("agent_session", agent_session("a", "open"), user_id="ada", client_id="c"),
        )
        yield running


def call(parts: Parts, path: str) -> tuple[httpx.Response, float]:
    """Return the answer and how long it took."""
    token = parts.service.token("ada", scopes=[SCOPE], permissions=[ROBOTS], client_id="c")
    begun = time.monotonic()
    return parts.service.get(path, token), time.monotonic() - begun


def call_all(parts: Parts) -> Answers:
    """Return the answers of all paths, called at once."""
    with ThreadPoolExecutor(len(PATHS)) as pool:
        return dict(zip(PATHS, pool.map(lambda path: call(parts, path), PATHS), strict=True))


def error_of(path: str, response: httpx.Response) -> object:
    """Return what names the error in its contract's body; check the rest of that."""
    body = response.json()
    assert response.content.isascii()
    if "/robots" in path:
        assert response.headers["content-type"] == "application/problem+json"
        assert body.keys() == {"type", "title", "detail", "trace_id"}
        assert body["trace_id"]
        return body["type"]
    assert response.headers["content-type"] == "application/json"
    if path == FOUNDRY:
        assert body.pop("errorInstanceId")
        return body
    if "/sessions" in path:
        assert body["error"].pop("message")
    return body


def failure(path: str, status: int) -> tuple[int, object]:
    """Return the status of a failure behind the proxy, and what names it in a path's contract."""
    if "/robots" in path:
        kind = {503: "service-unavailable", 504: "gateway-timeout"}[status]
        return status, f"urn:storyden:problem:{kind}"
    if path == FOUNDRY:  # Its table knows no timeout.
        return 503, {"errorCode": "INTERNAL", "errorName": "Default:Unavailable", "parameters": {}}
    if "/sessions" in path:
        return status, {"error": {"code": f"http_{status}", "type": "http_error"}}
    return status, {"error": {"message": "Internal server error", "type": "SERVER_ERROR", "status": status}}


def expect_failures(answers: Answers, *statuses: int) -> None:
    """Check that every path failed in time with one of the statuses, in its contract's words."""
    seen = {path: (response.status_code, error_of(path, response)) for path, (response, _) in answers.items()}
    due = {path: [failure(path, status) for status in statuses] for path in seen}
    assert {path: found for path, found in seen.items() if found not in due[path]} == {}
    assert {path: seconds for path, (_, seconds) in answers.items() if seconds > ANSWER_SECONDS} == {}


def expect_recovery(parts: Parts) -> None:
    parts.await_answer(RECOVERY_SECONDS)
    assert {path: response.status_code for path, (response, _) in call_all(parts).items()} == dict.fromkeys(
        PATHS, 200
    )


@contextmanager
def reading_slowly(parts: Parts) -> Iterator[http.client.HTTPResponse]:
    """Give the large list in the block, as an answer of which little is under way unread."""
    port = parts.service.settings.rest_port
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.sock = socket.socket()
    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    connection.sock.settimeout(30)
    connection.sock.connect(("127.0.0.1", port))
    token = parts.service.token("large")
    connection.request("GET", "/session", headers={"Authorization": f"Bearer {token}"})
    try:
        yield connection.getresponse()
    finally:
        connection.close()


def rest_of(response: http.client.HTTPResponse) -> bytes | None:
    """Return the rest of a body; None if the transfer visibly failed."""
    try:
        return response.read()
    except (http.client.HTTPException, ConnectionError):
        return None


def expect_visibly_failed(beginning: bytes, rest: bytes | None) -> None:
    assert len(beginning) == FIRST_BYTES
    if rest is not None:
        with pytest.raises(json.JSONDecodeError):
            json.loads(beginning + rest)


@contextmanager
def watched_memory(parts: Parts, *names: str) -> Iterator[dict[str, int]]:
    """Give, after the block, by how many bytes each part grew at most."""
    before = {name: parts.memory(name) for name in names}
    growth = dict.fromkeys(names, 0)
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.01):
            for name in names:
                growth[name] = max(growth[name], parts.memory(name) - before[name])

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield growth
    finally:
        done.set()
        watcher.join()


def test_a_list_of_40_mb_arrives_whole_while_memory_stays_small(parts: Parts) -> None:
    call_all(parts)
    with watched_memory(parts, "envoy", "serve") as growth:
        token = parts.service.token("large")
        response = parts.service.get("/session", token, headers={"accept-encoding": "identity"})
    assert len(response.content) > 40 * MEGABYTE
    assert response.json() == LARGE
    # What has sent 40 MB has grown: the watch was on what answers.
    assert growth["serve"] > MEGABYTE
    assert {name: grown for name, grown in growth.items() if grown >= GROWTH_BYTES} == {}


def test_ten_readers_who_do_not_read_take_little_memory_in_the_proxy(parts: Parts) -> None:
    with watched_memory(parts, "envoy") as growth, ExitStack() as readers:
        for _ in range(10):
            readers.enter_context(reading_slowly(parts)).read(1)
        time.sleep(0.5)
        assert call(parts, "/session")[0].is_success
    assert growth["envoy"] < GROWTH_BYTES


def test_a_server_that_is_down_is_503_in_every_contract_s_words(parts: Parts) -> None:
    parts.kill("serve")
    try:
        expect_failures(call_all(parts), 503)
    finally:
        parts.start("serve")
    expect_recovery(parts)


def test_a_server_that_hangs_is_an_error_of_every_contract_within_10_s(parts: Parts) -> None:
    with parts.stopped("serve"):
        answers = call_all(parts)
    expect_failures(answers, 503, 504)
    expect_recovery(parts)


@contextmanager
def store_away(parts: Parts, how: str) -> Iterator[None]:
    """Freeze or kill mongod in the block."""
    if how == "hangs":
        with parts.stopped("mongod"):
            yield
        return
    parts.kill("mongod")
    try:
        yield
    finally:
        parts.start("mongod")


@pytest.fixture(scope="module", params=["hangs", "dies"])
def outage(parts: Parts, request: pytest.FixtureRequest) -> Outage:
    with reading_slowly(parts) as response, ThreadPoolExecutor(1) as pool:
        beginning = response.read(FIRST_BYTES)
        with store_away(parts, request.param):
            begun = time.monotonic()
            first = pool.submit(call_all, parts)
            rest = rest_of(response)
            seconds = time.monotonic() - begun
            return Outage(first.result(), call_all(parts), beginning, rest, seconds)


def test_a_store_that_is_away_is_503_in_every_contract_s_words_until_it_is_back(
    parts: Parts, outage: Outage
) -> None:
    expect_failures(outage.first, 503)
    expect_failures(outage.later, 503)
    expect_recovery(parts)


def test_a_list_whose_store_goes_away_half_way_visibly_fails(outage: Outage) -> None:
    expect_visibly_failed(outage.beginning, outage.rest)
    assert outage.seconds < ANSWER_SECONDS + 2


def test_a_list_whose_server_dies_half_way_visibly_fails(parts: Parts) -> None:
    with reading_slowly(parts) as response:
        beginning = response.read(FIRST_BYTES)
        parts.kill("serve")
        try:
            rest = rest_of(response)
        finally:
            parts.start("serve")
    expect_visibly_failed(beginning, rest)
    expect_recovery(parts)


def test_a_proxy_that_starts_before_its_server_serves_once_that_is_there(parts: Parts) -> None:
    parts.kill("envoy")
    parts.kill("serve")
    parts.start("envoy")

    def answered() -> bool:
        try:
            call(parts, "/session")
        except httpx.TransportError:
            return False
        return True

    wait_until(answered)
    expect_failures({"/session": call(parts, "/session")}, 503)
    parts.start("serve")
    expect_recovery(parts)

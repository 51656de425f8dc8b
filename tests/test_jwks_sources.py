"""Where a JWKS comes from: what is refused, and sources that are cut, slow, endless or strange."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from server.auth import jwks as signing
from server.auth.authenticator import authenticator_of
from server.auth.jwks import Jwks, keys_of, load_jwks, read_jwks
from server.errors import IssuerUnavailableError, UnauthenticatedError
from server.settings import Settings, SettingsError
from tests.faults.waiting import until
from tests.test_auth import jwks, signed

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n"
SECONDS = 0.5
Serve = Callable[[socket.socket], None]


@contextmanager
def issuer(serve: Serve) -> Iterator[str]:
    """Give the URL of a JWKS; `serve` gets each connection once its request is there."""

    def accept(listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                try:
                    serve(connection)
                except OSError:
                    continue  # Its client has gone.

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept, args=(listener,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/jwks"
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def whole(connection: socket.socket) -> None:
    body = json.dumps(jwks("RS256")).encode()
    connection.sendall(HEAD % len(body) + body)


def cut(connection: socket.socket) -> None:
    connection.sendall(HEAD % 1000 + b'{"keys":')


def failing(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 500 No\r\ncontent-length: 2\r\n\r\n{}")


def dripping(connection: socket.socket) -> None:
    for byte in b"HTTP/1.1 200 OK\r\nx: " + b"x" * 10_000:
        connection.sendall(bytes([byte]))
        time.sleep(SECONDS / 10)


def endless(connection: socket.socket) -> None:
    connection.sendall(HEAD % (1 << 40))
    while True:
        connection.sendall(b" " * 65536)


UNREADABLE: dict[str, tuple[Serve, str]] = {
    "is cut": (cut, "RemoteProtocolError"),
    "fails": (failing, "HTTPStatusError"),
    "drips": (dripping, "TimeoutError"),
    "has no end": (endless, "JSONDecodeError"),
}


@pytest.mark.parametrize(("serve", "reason"), UNREADABLE.values(), ids=UNREADABLE)
async def test_no_keys_come_from_an_answer_that(
    serve: Serve, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The endless one comes to its bound of bytes first.
    seconds = SECONDS if serve is dripping else 30
    monkeypatch.setattr(signing, "FETCH_TIMEOUT_SECONDS", seconds)
    with issuer(serve) as url, pytest.raises(SettingsError, match=reason):
        await read_jwks(url)


async def until_due(begun: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait until keys that were read since `begun` are looked at again, beside the calls."""
    await asyncio.sleep(SECONDS)
    monkeypatch.setattr(signing, "REFRESH_SECONDS", (time.monotonic() - begun) / 1.5)


async def test_an_issuer_that_has_become_slow_holds_up_no_token_of_a_known_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(signing, "FETCH_TIMEOUT_SECONDS", 60)
    slow, over = threading.Event(), threading.Event()

    def serve(connection: socket.socket) -> None:
        if slow.is_set():
            over.wait(60)
        else:
            whole(connection)

    with issuer(serve) as url:
        authenticator, begun = authenticator_of(Settings(jwks=url)), time.monotonic()
        await authenticator.verify(signed("RS256"))
        slow.set()
        await until_due(begun, monkeypatch)
        async with asyncio.timeout(30):
            assert (await authenticator.verify(signed("RS256", sub="bo"))).sub == "bo"
        over.set()
        await until(lambda: len(asyncio.all_tasks()) == 1)


async def test_an_issuer_that_has_become_slow_holds_up_tokens_of_unknown_keys_for_a_moment_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(signing, "FETCH_TIMEOUT_SECONDS", 60)
    monkeypatch.setattr(signing, "PATIENCE_SECONDS", SECONDS)
    bodies, over = [jwks("RS256")], threading.Event()

    def serve(connection: socket.socket) -> None:
        if not bodies:
            over.wait(60)
        body = json.dumps(bodies.pop() if bodies else jwks("RS256", "ES256")).encode()
        connection.sendall(HEAD % len(body) + body)

    with issuer(serve) as url:
        authenticator = authenticator_of(Settings(jwks=url))
        await authenticator.verify(signed("RS256"))
        monkeypatch.setattr(signing, "REFETCH_FLOOR_SECONDS", SECONDS)
        await asyncio.sleep(SECONDS)
        async with asyncio.timeout(30):
            early = (authenticator.verify(signed("ES256", sub=str(number))) for number in range(9))
            refusals = await asyncio.gather(*early, return_exceptions=True)
            assert [type(each) for each in refusals] == [IssuerUnavailableError] * 9
            monkeypatch.setattr(signing, "REFETCH_FLOOR_SECONDS", 60)
            tasks = len(asyncio.all_tasks())
            with pytest.raises(IssuerUnavailableError):
                await authenticator.verify(signed("ES256"))
            assert len(asyncio.all_tasks()) == tasks
            assert (await authenticator.verify(signed("RS256", sub="bo"))).sub == "bo"
        over.set()
        await until(lambda: len(asyncio.all_tasks()) == 1)
        assert (await authenticator.verify(signed("ES256", sub="bo"))).sub == "bo"


async def test_a_caller_who_goes_ends_no_look_at_the_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signing, "FETCH_TIMEOUT_SECONDS", 60)
    asked, answers = threading.Event(), threading.Event()

    def serve(connection: socket.socket) -> None:
        asked.set()
        answers.wait(60)
        whole(connection)

    with issuer(serve) as url:
        authenticator = authenticator_of(Settings(jwks=url))
        gone = asyncio.create_task(authenticator.verify(signed("RS256")))
        await until(asked.is_set)
        gone.cancel()
        await asyncio.wait([gone])
        answers.set()
        assert (await authenticator.verify(signed("RS256", sub="bo"))).sub == "bo"


async def test_an_issuer_that_has_never_answered_is_asked_again_and_no_task_fails(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with issuer(failing) as url:
        keys, begun = Jwks(url), time.monotonic()
        with pytest.raises(IssuerUnavailableError):
            await keys.find(signed("RS256"))
        await until_due(begun, monkeypatch)
        with pytest.raises(IssuerUnavailableError):
            await keys.find(signed("RS256"))
        (look,) = asyncio.all_tasks() - {asyncio.current_task()}
        await look
    assert caplog.text.count("the keys stay as they were") == 2


async def test_a_look_beside_the_calls_that_fails_unexpectedly_is_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with issuer(whole) as url:
        keys, begun = Jwks(url), time.monotonic()
        await keys.find(signed("RS256"))
        monkeypatch.delattr(signing, "FETCH_TIMEOUT_SECONDS")
        await until_due(begun, monkeypatch)
        await keys.find(signed("RS256"))
        await until(lambda: "could not look at the keys" in caplog.text)
    assert "NameError" in caplog.text


async def test_keys_that_were_not_looked_at_for_long_are_looked_at_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = [jwks("RS256"), jwks("ES256")]

    def serve(connection: socket.socket) -> None:
        body = json.dumps(answers.pop(0)).encode()
        connection.sendall(HEAD % len(body) + body)

    monkeypatch.setattr(signing, "REFRESH_SECONDS", SECONDS)
    with issuer(serve) as url:
        authenticator = authenticator_of(Settings(jwks=url))
        await authenticator.verify(signed("RS256"))
        await asyncio.sleep(2 * SECONDS + 0.1)
        with pytest.raises(Exception, match="not valid"):
            await authenticator.verify(signed("RS256", sub="bo"))


STRANGE = {
    "nests too deep": "[" * 100_000,
    "is a number": "1",
    "is nothing": "null",
    "has keys that are no list": '{"keys": {"a": 1}}',
    "has a list of algorithms": json.dumps({"keys": [jwks("RS256")["keys"][0] | {"alg": ["RS256"]}]}),
    "has keys that encrypt": json.dumps({"keys": [jwks("RS256")["keys"][0] | {"use": "enc"}]}),
    "has keys that are none": '{"keys": [null, 1, ["a"], {}, {"kty": 5}, {"kty": "RSA", "n": 5, "e": []}]}',
}


@pytest.mark.parametrize("text", STRANGE.values(), ids=STRANGE)
def test_no_keys_come_from_a_document_that(text: str, tmp_path: Path) -> None:
    path = tmp_path / "jwks.json"
    path.write_text(text)
    with pytest.raises(SettingsError, match="ROLLCALL_JWKS"):
        load_jwks(path)


@pytest.mark.parametrize("text", STRANGE.values(), ids=STRANGE)
async def test_the_keys_stay_as_they_were_where_a_document(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signing, "REFETCH_FLOOR_SECONDS", 0)
    bodies = [json.dumps(jwks("RS256")).encode(), text.encode()]

    def serve(connection: socket.socket) -> None:
        body = bodies.pop(0)
        connection.sendall(HEAD % len(body) + body)

    with issuer(serve) as url:
        authenticator = authenticator_of(Settings(jwks=url))
        await authenticator.verify(signed("RS256"))
        with pytest.raises(UnauthenticatedError):
            await authenticator.verify(signed("ES256"))
        assert not bodies
        assert (await authenticator.verify(signed("RS256", sub="bo"))).sub == "bo"


@pytest.mark.parametrize("change", [{"kid": ["a"]}, {"use": ["sig"]}])
def test_a_strange_key_is_passed_over(change: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / "jwks.json"
    first, second = jwks("RS256", "ES256")["keys"]
    path.write_text(json.dumps({"keys": [first | change, second]}))
    assert list(load_jwks(path)) == ["es256"]


def test_a_jwks_url_with_a_password_is_refused_and_not_printed() -> None:
    with pytest.raises(SettingsError) as refused:
        keys_of(Settings(jwks="https://user:hunter2@issuer.example/jwks"))
    assert "hunter2" not in str(refused.value)

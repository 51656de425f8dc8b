"""API keys: `rollcall key`, what is stored of a key, and for how long an answer about it is kept."""

import asyncio
import json
import re
import secrets
from collections.abc import AsyncIterator
from datetime import timedelta

import grpc
import pytest
from pydantic import SecretStr
from rollcall.v1 import session_pb2, session_pb2_grpc

from server.auth import remembered
from server.auth.api_keys import NewKey, new_key
from server.auth.authenticator import Authenticator, authenticator_of
from server.errors import EXPIRED, AlreadyExistsError, RollcallError, UnavailableError
from server.records.caller import Caller
from server.settings import Settings, SettingsError
from server.store import driver
from server.store.api_keys import API_KEYS, StoredKeys
from tests.parts import line, robot, session, uid
from tests.stack import Stack
from tests.test_auth import SECRET, signed

LIFETIME_SECONDS = 1
ADA = Caller(
    sub="ada",
    tenant="acme",
    client_id="console",
    permissions=frozenset({"USE_ROBOTS"}),
    scopes=frozenset({"sessions:read"}),
    groups=frozenset({"support"}),
)


def add(stack: Stack, *options: str, stdin: str = "") -> tuple[str, str]:
    """The id of a new key, and the key."""
    ran = stack.command("key", "add", *options, stdin=stdin.encode())
    assert ran.returncode == 0, ran.stderr
    return ran.stderr.decode().split()[-1], ran.stdout.decode().strip()


@pytest.fixture
async def stored(stack: Stack) -> AsyncIterator[StoredKeys]:
    async with stack.database() as database:
        yield StoredKeys(database)


def authenticator(stack: Stack, stored: StoredKeys, seconds: float = 30) -> Authenticator:
    return authenticator_of(stack.settings.model_copy(update={"credential_cache_seconds": seconds}), stored)


async def put(
    stored: StoredKeys, key: str | None, hashing: list[str], lifetime: timedelta | None = None
) -> NewKey:
    """Import a key of Ada's, or make one."""
    made = new_key(ADA, lifetime, key, hashing)
    await stored.add(made.document, made.older)
    return made


async def outcome(authenticator: Authenticator, credential: str) -> str:
    try:
        return (await authenticator.verify(credential)).sub
    except RollcallError as error:
        return error.reason


async def test_a_key_stands_for_the_caller_that_it_was_added_for(stack: Stack, stored: StoredKeys) -> None:
    claims = "--sub ada --developer-id acme --client-id console --permission USE_ROBOTS"
    _, key = add(stack, *claims.split(), *("--scope", "sessions:read", "--group", "support"))
    assert re.fullmatch(r"rck_[A-Za-z0-9_-]{43}", key)
    assert await authenticator(stack, stored).verify(key) == ADA


@pytest.mark.parametrize(
    "key",
    [
        "sdak_0123456789",
        "a.b.c",
        "short",
        "your-super-secret+key/with=signs",
        signed("HS512", "a secret of the system before, which was longer than sixty-four bytes", sub="eve"),
    ],
)
async def test_a_key_of_any_form_can_be_imported(key: str, stack: Stack, stored: StoredKeys) -> None:
    made = await put(stored, key, stack.settings.secrets("api_key_secret"))
    assert await outcome(authenticator(stack, stored), key) == "ada"
    await stored.revoke(made.document["id"])


async def test_a_key_is_imported_from_stdin(stack: Stack, stored: StoredKeys) -> None:
    key = f"old-{secrets.token_hex(8)}"
    _, printed = add(stack, "--sub", "bo", "--key", "-", stdin=f"{key}\n")
    assert printed == ""
    assert await outcome(authenticator(stack, stored), key) == "bo"


async def test_only_hashes_are_stored(stack: Stack) -> None:
    imported = f"old-{secrets.token_hex(8)}"
    _, key = add(stack, "--sub", "cy")
    add(stack, "--sub", "cy", "--key", imported)
    async with stack.database() as database:
        documents = await database[API_KEYS].find({"claims.sub": "cy"}).to_list(None)
    assert len(documents) == 2
    for secret in (key, key[4:], imported):
        assert secret not in str(documents)


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/session", "Bearer"),
        ("/session", "better-auth.session_token"),
        ("/sessions", "bare"),
        ("/robots", "storyden-session"),
        ("/v1/sessions", "bare"),
    ],
)
def test_a_key_goes_wherever_a_token_goes(path: str, place: str, stack: Stack) -> None:
    _, key = add(stack, "--sub", "places", "--permission", "USE_ROBOTS")
    headers = {"Bearer": {"authorization": f"Bearer {key}"}, "bare": {"authorization": key}}
    answer = stack.get(path, headers=headers.get(place, {"cookie": f"{place}={key}"}))
    assert answer.status_code == 200
    assert stack.get(path, f"{key[:-1]}!").status_code in {401, 403}


def test_a_key_sees_its_tenant_s_records_over_grpc(stack: Stack) -> None:
    tenant = secrets.token_hex(8)
    stack.load(line("session", session(id=uid(1)), developer_id=tenant), line("robot", robot()))
    _, key = add(stack, "--sub", "dee", "--developer-id", tenant)
    with grpc.insecure_channel(stack.grpc) as channel:
        page = session_pb2_grpc.SessionServiceStub(channel).ListSessions(
            session_pb2.ListSessionsRequest(), metadata=(("authorization", f"Bearer {key}"),)
        )
    assert [found.id for found in page.sessions] == [uid(1)]


async def test_a_bad_cookie_falls_through_to_a_key(stack: Stack) -> None:
    _, key = add(stack, "--sub", "ed", "--permission", "USE_ROBOTS")
    assert stack.get("/robots", key, headers={"cookie": "storyden-session=bad"}).status_code == 200


async def test_a_revocation_holds_when_the_answer_is_no_longer_kept(stack: Stack, stored: StoredKeys) -> None:
    id_, key = add(stack, "--sub", "flo")
    keeping, asking = (authenticator(stack, stored, seconds) for seconds in (30, 0))
    brief = authenticator(stack, stored, 0.5)
    assert [await outcome(each, key) for each in (keeping, brief)] == ["flo", "flo"]

    assert stack.command("key", "revoke", id_).returncode == 0

    assert await outcome(asking, key) == "CREDENTIALS_INVALID"
    assert await outcome(keeping, key) == "flo"
    await asyncio.sleep(0.5)
    assert await outcome(brief, key) == "CREDENTIALS_INVALID"


async def test_a_key_that_has_expired_is_told_so(stack: Stack, stored: StoredKeys) -> None:
    hashing = stack.settings.secrets("api_key_secret")
    made = await put(stored, None, hashing, timedelta(seconds=LIFETIME_SECONDS))
    keeping = authenticator(stack, stored)
    assert await outcome(keeping, made.key) == "ada"
    await asyncio.sleep(LIFETIME_SECONDS)
    assert await outcome(keeping, made.key) == EXPIRED


def test_keys_are_listed_with_their_claims_and_times(stack: Stack) -> None:
    id_, _ = add(stack, "--sub", "hal", "--scope", "sessions:read", "--expires-in", "1h")
    lines = [json.loads(line) for line in stack.command("key", "list").stdout.splitlines()]
    (listed,) = [line for line in lines if line["id"] == id_]
    assert listed.pop("created") < listed.pop("expires")
    assert listed == {"id": id_, "sub": "hal", "scope": "sessions:read"}


REFUSED = {
    "an unknown key's revocation": (("revoke", "none"), 1, "there is no key none"),
    "no text": (("add", "--sub", "x", "--key", ""), 2, "--key: must be"),
    "a space": (("add", "--sub", "x", "--key", "a b"), 2, "--key: must be"),
    "not ASCII": (("add", "--sub", "x", "--key", "schlüssel"), 2, "--key: must be"),
    "a wrong lifetime": (("add", "--sub", "x", "--expires-in", "1y"), 2, "--expires-in"),
    "no caller": (("add",), 2, "--sub"),
}


@pytest.mark.parametrize(("arguments", "status", "text"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_a_key_is_refused(
    arguments: tuple[str, ...], status: int, text: str, stack: Stack
) -> None:
    ran = stack.command("key", *arguments)
    assert ran.returncode == status
    assert text in ran.stderr.decode()


def test_the_same_key_is_not_added_twice(stack: Stack) -> None:
    add(stack, "--sub", "ian", "--key", "twice")
    ran = stack.command("key", "add", "--sub", "eve", "--key", "twice")
    assert ran.returncode == 1
    assert ran.stderr == b"rollcall: there is such a key already\n"


def test_a_foreign_key_needs_a_secret_to_be_hashed_by() -> None:
    with pytest.raises(SettingsError, match="ROLLCALL_API_KEY_SECRET"):
        new_key(ADA, timedelta(1), "old", [])


def hashing(stack: Stack, *secrets_: str) -> Stack:
    """The same service by other secrets that hash imported keys, for commands and authenticators."""
    other = Stack(stack.folder, stack.process, stack.settings)
    other.environment |= {"ROLLCALL_API_KEY_SECRET": ",".join(secrets_)}
    changes = {"api_key_secret": SecretStr(",".join(secrets_)), "api_key_secret_file": None}
    other.settings = stack.settings.model_copy(update=changes)
    return other


async def test_the_secret_of_imported_keys_can_be_rotated(stack: Stack, stored: StoredKeys) -> None:
    old, new = (secrets.token_hex(16) for _ in range(2))
    before, during, after = hashing(stack, old), hashing(stack, new, old), hashing(stack, new)
    again, left = (f"old-{secrets.token_hex(8)}" for _ in range(2))
    for key in (again, left):
        await put(stored, key, [old])
    assert [await outcome(authenticator(during, stored), key) for key in (again, left)] == ["ada", "ada"]

    add(during, "--sub", "joy", "--key", again)

    for each in (during, after):
        assert await outcome(authenticator(each, stored), again) == "joy"
    assert await outcome(authenticator(before, stored), again) == "CREDENTIALS_INVALID"
    assert await outcome(authenticator(after, stored), left) == "CREDENTIALS_INVALID"


async def test_one_revocation_ends_a_key_that_was_rotated(stack: Stack, stored: StoredKeys) -> None:
    old, new = (secrets.token_hex(16) for _ in range(2))
    during, key = hashing(stack, new, old), f"old-{secrets.token_hex(8)}"
    await put(stored, key, [old])
    made = await put(stored, key, [new, old])
    await stored.revoke(made.document["id"])
    assert await outcome(authenticator(during, stored), key) == "CREDENTIALS_INVALID"


async def test_a_rotation_that_was_interrupted_is_ended_by_the_next(stack: Stack, stored: StoredKeys) -> None:
    old, new = (secrets.token_hex(16) for _ in range(2))
    during, key = hashing(stack, new, old), f"old-{secrets.token_hex(8)}"
    await put(stored, key, [old])
    await put(stored, key, [new])  # as far as an interrupted call comes
    again = new_key(ADA, None, key, [new, old])
    with pytest.raises(AlreadyExistsError):
        await stored.add(again.document, again.older)
    (listed,) = [each for each in await stored.all() if each["_id"] == again.document["_id"]]
    await stored.revoke(listed["id"])
    assert await outcome(authenticator(during, stored), key) == "CREDENTIALS_INVALID"


def test_each_of_several_secrets_has_its_length() -> None:
    with pytest.raises(SettingsError, match="ROLLCALL_API_KEY_SECRET: must be at least 32 bytes"):
        Settings(api_key_secret=SecretStr(f"{SECRET},short")).secrets("api_key_secret")


def away() -> Settings:
    """A store that does not answer."""
    return Settings(
        jwt_secret=SecretStr(SECRET),
        api_key_secret=SecretStr(SECRET),
        mongodb_uri=SecretStr("mongodb://127.0.0.1:9/"),
        mongodb_seconds=0.3,
    )


@pytest.mark.parametrize("key", [new_key(ADA, None, None, []).key, "old"], ids=["new", "old"])
async def test_a_store_that_is_away_is_no_verdict_on_a_key(key: str) -> None:
    connection = driver.connect(away())
    unsure = authenticator_of(away(), StoredKeys(connection.database))
    with pytest.raises(UnavailableError):
        await unsure.identify([key])
    assert (await unsure.identify([key, signed("HS256", SECRET)])).sub == "ada"
    with pytest.raises(UnavailableError):
        await unsure.identify(["", key, signed("HS256", SECRET, exp=1)])
    await connection.close()


async def test_calls_that_ask_at_once_ask_the_store_once() -> None:
    asked = 0

    async def ask(_: str) -> remembered.Known | None:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0.05)
        return remembered.Known(ADA)

    source = remembered.Remembered(ask, 30)
    impatient = asyncio.create_task(source.find("key"))
    others = [asyncio.create_task(source.find("key")) for _ in range(10)]
    await asyncio.sleep(0.01)
    impatient.cancel()
    assert await asyncio.gather(*others) == [ADA] * 10
    assert await source.find("key") == ADA
    assert asked == 1

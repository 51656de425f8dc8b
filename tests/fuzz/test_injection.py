"""A caller's key is data: what MongoDB itself says it was asked has it nowhere as a key."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import pytest
from bson.codec_options import CodecOptions
from hypothesis import example, given
from hypothesis import strategies as st
from rollcall.v1 import session_pb2

from tests.fuzz import wild
from tests.fuzz.report import fuzzing, tries
from tests.fuzz.verdict import DELIBERATE, quiet_log
from tests.services import kit
from tests.stack import Stack

MARK = "mark7f3a"
OURS = frozenset(
    (
        *("$db", "$clusterTime", "$readPreference", "$truncated"),
        *("$all", "$and", "$eq", "$exists", "$gt", "$gte", "$in", "$lt", "$lte", "$nin", "$or"),
        *("$inc", "$set", "$setOnInsert"),
    )
)
"""Keys of every command, and the operators that the service itself may send."""
PROFILE_BYTES = 64 << 20

KEYS = (
    f"${MARK}",
    f"$where{MARK}",
    f"{MARK}.a",
    f"{MARK}.$ne",
    f".{MARK}",
    f"{MARK}.",
    f"${MARK}.$gt",
    f"__proto__{MARK}",
    f"{MARK}[$ne]",
)
VALUES: tuple[Any, ...] = (
    "plain",
    {f"$ne{MARK}": None},
    {"$ne": None},
    {"$gt": ""},
    {"$where": "sleep(10000)"},
    {"$regex": ".*"},
    [{"$ne": 1}],
    {"$in": ["plain"]},
    None,
    "$owner",
)
keys = st.sampled_from(KEYS) | wild.texts().filter(lambda text: "\0" not in text).map(
    lambda text: MARK + text
)
values = st.sampled_from(VALUES) | st.dictionaries(keys, st.sampled_from(VALUES), max_size=2)


@pytest.fixture(scope="module")
def who(stack: Stack) -> Iterator[kit.Caller]:
    with quiet_log(stack):
        yield kit.writer(stack)


@asynccontextmanager
async def profiled(stack: Stack) -> AsyncIterator[list[dict[str, Any]]]:
    """Have MongoDB write down all that it is asked in the block, and what that was afterwards."""
    asked: list[dict[str, Any]] = []
    async with stack.database() as database:
        await database.drop_collection("system.profile")
        await database.create_collection("system.profile", capped=True, size=PROFILE_BYTES)
        await database.command("profile", 2)
        try:
            yield asked
        finally:
            await database.command("profile", 0)
            # Long entries are cut, some within a character.
            lenient = CodecOptions[dict[str, Any]](unicode_decode_error_handler="replace")
            asked += await database["system.profile"].with_options(lenient).find().to_list(None)
            await database.drop_collection("system.profile")


def keys_of(value: Any) -> Iterator[str]:
    """Yield every key in a command, at any depth."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from keys_of(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from keys_of(inner)


@tries(15, 300)
@given(keys, values)
@example("$where", "1")
@example("", None)
def found_by_its_own_key_alone(stack: Stack, key: str, value: Any) -> None:
    """Store a session with a key, and look for it by all ways there are."""
    owner = kit.writer(stack)
    created = owner(kit.SESSION.create(kit.SESSION.record(metadata={key: value})))
    for others in ({}, {"plain": "plain"}):
        owner(kit.SESSION.create(kit.SESSION.record(metadata=others)))
    request = session_pb2.ListSessionsRequest()
    request.metadata_filter.update({key: value})
    assert [each.id for each in owner(request).sessions] == [created.id]

    query = quote(json.dumps({key: value}))
    answer = stack.get(f"/sessions?metadata_filter={query}", owner.token)
    assert [each["id"] for each in answer.json()["items"]] == [created.id]
    if value == "plain":
        answer = stack.get(f"/sessions?metadata_filter.{quote(key)}={value}", owner.token)
        assert [each["id"] for each in answer.json()["items"]] == [created.id]
    with fuzzing("operator injection") as row:
        for _ in range(3):
            row.count(refused=False)


@pytest.mark.usefixtures("who")
async def test_a_key_that_looks_like_an_operator_is_stored_and_found_as_data(stack: Stack) -> None:
    async with profiled(stack) as asked:
        found_by_its_own_key_alone(stack)
    assert asked
    sent = {key for entry in asked for key in keys_of(entry.get("command", {}))}
    assert sent
    assert not [key for key in sent if MARK in key]
    assert {key for key in sent if key.startswith("$")} <= OURS


async def test_no_stored_document_has_a_key_of_its_writer(stack: Stack, who: kit.Caller) -> None:
    record = kit.SESSION.record(metadata={key: {key: 1} for key in KEYS})
    created = who(kit.SESSION.create(record))
    async with stack.database() as database:
        document = await database["sessions"].find_one({"id": created.id})
    assert document is not None
    assert not [key for key in keys_of(document) if MARK in key or key.startswith("$")]


@tries(40, 1000)
@given(st.sampled_from(kit.RESOURCES), wild.texts() | st.sampled_from(VALUES).map(json.dumps))
def looked_up(who: kit.Caller, resource: kit.Resource, key: str) -> None:
    code = who.code(resource.get(key))
    with fuzzing("operator injection") as row:
        row.count(refused=True)
    assert code in DELIBERATE


async def test_a_name_is_never_an_operator(stack: Stack, who: kit.Caller) -> None:
    async with profiled(stack) as asked:
        looked_up(who)
    sent = {key for entry in asked for key in keys_of(entry.get("command", {}))}
    assert {key for key in sent if key.startswith("$")} <= OURS

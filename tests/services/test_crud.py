"""Create, get, update, delete and batch create of every typed resource, by the generated stubs."""

import re
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct
from rollcall.v1 import agent_session_pb2, robot_pb2, session_pb2, user_session_pb2

from tests.services import kit
from tests.services.kit import Caller, Resource
from tests.stack import Stack

Code = grpc.StatusCode

every = pytest.mark.parametrize("resource", kit.RESOURCES, ids=str)
timed = pytest.mark.parametrize("resource", kit.TIMED, ids=str)
batched = pytest.mark.parametrize("resource", kit.BATCHED, ids=str)


@pytest.fixture
def who(stack: Stack) -> Caller:
    return kit.writer(stack)


def together(count: int, call: Callable[[int], Any]) -> list[Any]:
    """Return what concurrent calls answer, or how they are refused."""

    def one(index: int) -> Any:
        try:
            return call(index)
        except grpc.RpcError as error:
            return kit.refusal_of(error)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def plain(record: Any, *but: str) -> Any:
    """Return a record without these fields and without its etag."""
    copy = type(record)()
    copy.CopyFrom(record)
    for name in ("etag", *but):
        copy.ClearField(name)
    return copy


# --- create and get --------------------------------------------------------------------------------


@every
def test_a_created_record_is_answered_as_it_is_read_back(resource: Resource, who: Caller) -> None:
    record = resource.record()
    created = who(resource.create(record))
    assert created.etag
    assert resource.key_of(created) == resource.key_of(record)
    assert resource.label_of(created) == "old"
    assert who(resource.get(resource.key_of(record))) == created


@every
def test_a_key_left_out_is_made_in_the_contracts_form(resource: Resource, who: Caller) -> None:
    keys = {resource.key_of(who(resource.create(resource.make()))) for _ in range(3)}
    assert len(keys) == 3
    assert all(re.fullmatch(resource.key_form, key) for key in keys), keys


@timed
def test_times_left_out_are_now(resource: Resource, who: Caller) -> None:
    before = time.time()
    created = who(resource.create(resource.record()))
    for path in (resource.born, resource.changed):
        moment = kit.value_at(created, path).ToNanoseconds() / 1e9
        assert before - 0.001 <= moment <= time.time() + 0.001, path


@timed
def test_times_given_are_kept_to_the_nanosecond(resource: Resource, who: Caller) -> None:
    record = resource.record()
    given = {resource.born: kit.at(1_700_000_000, 1), resource.changed: kit.at(1_700_000_001, 999_999_999)}
    for path, moment in given.items():
        kit.value_at(record, path).CopyFrom(moment)
    if resource is kit.AGENT_SESSION:
        record.metadata.estimated_expires_time.CopyFrom(kit.at(4_000_000_000, 123_456_789))
    who(resource.create(record))
    found = who(resource.get(resource.key_of(record)))
    assert {path: kit.value_at(found, path) for path in given} == given


def test_an_agent_session_expires_a_day_after_its_last_change_unless_it_says_when(who: Caller) -> None:
    created = who(kit.AGENT_SESSION.create(kit.AGENT_SESSION.record()))
    lasts = created.metadata.estimated_expires_time.ToSeconds() - created.metadata.updated_time.ToSeconds()
    assert lasts == 24 * 3600


def test_an_expired_agent_session_is_gone_and_its_rid_is_free_again(who: Caller) -> None:
    record = kit.AGENT_SESSION.record()
    record.metadata.estimated_expires_time.CopyFrom(kit.at(1_700_000_000))
    who(kit.AGENT_SESSION.create(record))
    for request in (
        kit.AGENT_SESSION.get(record.rid),
        kit.AGENT_SESSION.update(kit.AGENT_SESSION.relabelled(record.rid)),
        kit.AGENT_SESSION.delete(record.rid),
    ):
        assert who.code(request) is Code.NOT_FOUND
    record.metadata.ClearField("estimated_expires_time")
    who(kit.AGENT_SESSION.create(record))
    assert who(kit.AGENT_SESSION.get(record.rid)).rid == record.rid


@every
def test_a_key_that_is_there_is_already_exists(resource: Resource, who: Caller) -> None:
    record = resource.record()
    first = who(resource.create(record))
    refusal = who.refused(resource.create(resource.make(**{resource.key: resource.key_of(record)})))
    assert (refusal.code, refusal.reason) == (Code.ALREADY_EXISTS, "RECORD_EXISTS")
    assert refusal.details["ResourceInfo"].resource_name == resource.key_of(record)
    assert who(resource.get(resource.key_of(record))) == first


@every
def test_a_key_that_is_not_there_is_not_found(resource: Resource, who: Caller) -> None:
    key = resource.new_key()
    for request in (
        resource.get(key),
        resource.update(resource.relabelled(key)),
        resource.update(resource.relabelled(key), "*"),
        resource.delete(key),
        resource.delete(key, etag="x"),
    ):
        refusal = who.refused(request)
        assert (refusal.code, refusal.reason) == (Code.NOT_FOUND, "RECORD_NOT_FOUND")
        assert refusal.details["ResourceInfo"].resource_name == key


@every
def test_a_key_is_required_where_the_proto_says_so(resource: Resource, who: Caller) -> None:
    for request, field in (
        (resource.get(""), resource.key),
        (resource.delete(""), resource.key),
        (resource.delete("", allow_missing=True), resource.key),
        (resource.update(resource.relabelled("")), f"{resource.name}.{resource.key}"),
        (resource.update(resource.relabelled(""), allow_missing=True), f"{resource.name}.{resource.key}"),
    ):
        refusal = who.refused(request)
        assert (refusal.code, refusal.fields) == (Code.INVALID_ARGUMENT, [field]), request


@every
def test_a_record_is_required_where_the_proto_says_so(resource: Resource, who: Caller) -> None:
    request = resource.create(None)
    refusal = who.refused(request)
    assert refusal.code is Code.INVALID_ARGUMENT
    assert refusal.fields[0].split(".")[0] == resource.name


@pytest.mark.parametrize(
    ("resource", "key"),
    [
        (kit.USER_SESSION, "a/b?c#d %2F ü"),
        (kit.USER_SESSION, "x" * 1000),
        (kit.USER_SESSION, "$ne"),
        (kit.ROBOT, "a.b/$c"),
        (kit.SESSION, "ABCDEF00-0000-4000-8000-00000000000A"),
        (kit.AGENT_SESSION, "ri.a.b.c.D_e.f-9"),
    ],
)
def test_odd_keys_are_data(resource: Resource, key: str, who: Caller) -> None:
    key = key if resource is not kit.ROBOT else f"{key}{uuid.uuid4()}"
    who(resource.create(resource.make(**{resource.key: key})))
    assert resource.key_of(who(resource.get(key))) == key
    assert resource.key_of(who(resource.delete(key))) == key


def test_recall_options_are_completed_at_the_write(who: Caller) -> None:
    record = kit.SESSION.record(recall_options=session_pb2.RecallOptions(limit=3))
    options = who(kit.SESSION.create(record)).recall_options
    assert (options.mode, options.limit, options.num_search_messages, options.max_query_length) == (
        session_pb2.RecallOptions.MODE_VECTOR,
        3,
        4,
        1000,
    )
    assert (options.alpha, options.confidence, options.lang, options.mmr_strength) == (0.7, 0.6, "en-US", 0)
    assert not who(kit.SESSION.create(kit.SESSION.record())).HasField("recall_options")


def test_user_info_left_out_of_a_create_is_the_user_id(who: Caller) -> None:
    created = who(kit.USER_SESSION.create(kit.USER_SESSION.record()))
    assert created.user_info.string_value == created.user_id == who.sub
    named = who(kit.USER_SESSION.create(kit.USER_SESSION.record(user_id="somebody")))
    assert named.user_info.string_value == named.user_id == "somebody"


def test_the_tenant_is_always_the_callers(who: Caller) -> None:
    for resource in (kit.USER_SESSION, kit.SESSION, kit.AGENT_SESSION):
        created = who(resource.create(resource.record(developer_id="another")))
        assert created.developer_id == who.tenant
        key = resource.key_of(created)
        updated = who(resource.update(resource.of(key, developer_id="another"), "developer_id"))
        assert updated.developer_id == who.tenant
        replaced = who(
            resource.update(resource.record(**{resource.key: key, "developer_id": "another"}), "*")
        )
        assert replaced.developer_id == who.tenant


def test_an_etag_in_a_create_means_nothing(who: Caller) -> None:
    created = who(kit.SESSION.create(kit.SESSION.record(etag="mine")))
    assert created.etag != "mine"


# --- update ----------------------------------------------------------------------------------------


@every
@pytest.mark.parametrize("masked", [True, False], ids=["mask", "populated fields"])
def test_an_update_changes_what_it_names_and_nothing_else(
    resource: Resource, masked: bool, who: Caller
) -> None:
    created = who(resource.create(resource.record()))
    key = resource.key_of(created)
    change = resource.relabelled(key)
    updated = who(resource.update(change, *([resource.label] if masked else [])))
    assert resource.label_of(updated) == "new"
    assert updated.etag != created.etag
    assert who(resource.get(key)) == updated
    top = resource.changed.split(".", maxsplit=1)[0]
    unchanged = (resource.label, top) if top else (resource.label,)
    assert plain(updated, *unchanged) == plain(created, *unchanged)


@every
def test_a_mask_takes_only_its_fields_of_the_record(resource: Resource, who: Caller) -> None:
    created = who(resource.create(resource.record()))
    key = resource.key_of(created)
    change = resource.record(**{resource.key: key})
    change.MergeFrom(resource.relabelled(key))
    updated = who(resource.update(change, resource.key))
    assert resource.label_of(updated) == "old"


@every
def test_a_star_takes_all_fields_and_clears_what_is_left_out(resource: Resource, who: Caller) -> None:
    created = who(resource.create(resource.record()))
    key = resource.key_of(created)
    changed = resource.record(**{resource.key: key})
    changed.ClearField(resource.label)
    changed.MergeFrom(resource.relabelled(key))
    optional = {"user_session": "llm_context", "session": "summary"}.get(resource.name)
    if optional:
        changed.ClearField(optional)
    updated = who(resource.update(changed, "*"))
    assert resource.label_of(updated) == "new"
    if optional:
        assert not updated.HasField(optional)
    if "user_id" in created.DESCRIPTOR.fields_by_name:
        assert updated.user_id == created.user_id


def test_a_nested_mask_changes_one_nested_field(who: Caller) -> None:
    record = kit.USER_SESSION.record(
        tutorial=user_session_pb2.Tutorial(is_tutorial=True, tutorial_id=7, progress=1),
        stats=user_session_pb2.SessionStats(total_user_messages=5),
    )
    who(kit.USER_SESSION.create(record))
    change = kit.USER_SESSION.of(record.uuid)
    change.tutorial.progress = 50
    change.tutorial.tutorial_id = 8
    change.stats.total_user_messages = 9
    updated = who(kit.USER_SESSION.update(change, "tutorial.progress"))
    assert updated.tutorial == user_session_pb2.Tutorial(is_tutorial=True, tutorial_id=7, progress=50)
    assert updated.stats.total_user_messages == 5


def test_a_nested_mask_keeps_an_agent_sessions_other_metadata(who: Caller) -> None:
    created = who(kit.AGENT_SESSION.create(kit.AGENT_SESSION.record()))
    change = kit.AGENT_SESSION.of(created.rid)
    change.metadata.message_count = 4
    updated = who(kit.AGENT_SESSION.update(change, "metadata.message_count"))
    assert (updated.metadata.message_count, updated.metadata.title) == (4, "title")
    assert updated.metadata.created_time == created.metadata.created_time
    assert updated.metadata.updated_time.ToNanoseconds() > created.metadata.updated_time.ToNanoseconds()


def test_a_nested_mask_makes_the_message_around_it(who: Caller) -> None:
    created = who(kit.SESSION.create(kit.SESSION.record()))
    change = kit.SESSION.of(created.id, recall_options=session_pb2.RecallOptions(limit=3))
    updated = who(kit.SESSION.update(change, "recall_options.limit"))
    assert (updated.recall_options.limit, updated.recall_options.lang) == (3, "en-US")


@pytest.mark.parametrize(
    ("resource", "mask"),
    [
        (kit.USER_SESSION, "name"),
        (kit.USER_SESSION, "tutorial.progress"),
        (kit.SESSION, "metadata"),
        (kit.SESSION, "summary"),
        (kit.ROBOT, "tools"),
        (kit.ROBOT, "misc"),
        (kit.AGENT_SESSION, "metadata.message_count"),
    ],
    ids=str,
)
def test_a_masked_field_that_the_record_leaves_out_is_cleared(
    resource: Resource, mask: str, who: Caller
) -> None:
    filled: dict[str, Any] = {
        "metadata": {"a": 1},
        "misc": {"a": 1},
        "tutorial": user_session_pb2.Tutorial(progress=5),
    }
    top = mask.split(".", maxsplit=1)[0]
    extra = {top: filled[top]} if top in filled and resource is not kit.AGENT_SESSION else {}
    created = who(resource.create(resource.record(**extra)))
    assert kit.value_at(created, mask)
    updated = who(resource.update(resource.of(resource.key_of(created)), mask))
    assert not _filled(kit.value_at(updated, mask))


def _filled(value: Any) -> bool:
    return bool(value.fields) if isinstance(value, Struct) else bool(value)


@every
@pytest.mark.parametrize(
    "path",
    ["nothing", "", "name.first", "*.name", "isReplying", ".", "etag.x", "metadata.fields.x", "\u2603"],
)
def test_an_unknown_path_of_a_mask_is_refused(resource: Resource, path: str, who: Caller) -> None:
    created = who(resource.create(resource.record()))
    request = resource.update(resource.relabelled(resource.key_of(created)), resource.label, path)
    refusal = who.refused(request)
    assert (refusal.code, refusal.fields) == (Code.INVALID_ARGUMENT, ["update_mask"])
    assert who(resource.get(resource.key_of(created))) == created


@timed
@pytest.mark.parametrize("mask", ["label", "populated", "star"])
def test_an_update_moves_the_time_of_the_last_change(resource: Resource, mask: str, who: Caller) -> None:
    record = resource.record()
    kit.value_at(record, resource.changed).CopyFrom(kit.at(1_700_000_000))
    if resource is kit.AGENT_SESSION:
        record.metadata.estimated_expires_time.CopyFrom(kit.at(4_000_000_000))
    who(resource.create(record))
    before = time.time()
    key = resource.key_of(record)
    change = resource.record(**{resource.key: key}) if mask == "star" else resource.relabelled(key)
    paths = {"label": [resource.label], "populated": [], "star": ["*"]}[mask]
    updated = who(resource.update(change, *paths))
    assert before - 0.001 <= kit.value_at(updated, resource.changed).ToNanoseconds() / 1e9 <= time.time()


@timed
@pytest.mark.parametrize("masked", [True, False], ids=["mask", "populated fields"])
def test_an_update_may_say_when_the_last_change_was(resource: Resource, masked: bool, who: Caller) -> None:
    created = who(resource.create(resource.record()))
    change = resource.relabelled(resource.key_of(created))
    if "." in resource.changed:
        change.metadata.CopyFrom(created.metadata)
    kit.value_at(change, resource.changed).CopyFrom(kit.at(1_700_000_000, 5))
    updated = who(resource.update(change, *([resource.label, resource.changed] if masked else [])))
    assert kit.value_at(updated, resource.changed) == kit.at(1_700_000_000, 5)


@timed
def test_an_update_leaves_the_time_of_creation(resource: Resource, who: Caller) -> None:
    created = who(resource.create(resource.record()))
    change = resource.relabelled(resource.key_of(created))
    updated = who(resource.update(change, resource.label))
    assert kit.value_at(updated, resource.born) == kit.value_at(created, resource.born)


@every
def test_allow_missing_makes_an_update_an_upsert(resource: Resource, who: Caller) -> None:
    record = resource.record()
    key = resource.key_of(record)
    made = who(resource.update(record, resource.label, allow_missing=True))
    assert who(resource.get(key)) == made
    updated = who(resource.update(resource.relabelled(key), resource.label, allow_missing=True))
    assert resource.label_of(updated) == "new"
    assert who.code(resource.create(record)) is Code.ALREADY_EXISTS


def test_an_upsert_makes_what_a_create_makes(who: Caller) -> None:
    made = who(kit.USER_SESSION.update(kit.USER_SESSION.record(), allow_missing=True))
    assert made.user_info.string_value == who.sub
    assert (made.user_id, made.developer_id) == (who.sub, who.tenant)


def test_an_upsert_of_a_record_that_cannot_be_is_refused(who: Caller) -> None:
    refusal = who.refused(kit.SESSION.update(kit.session(id="no uuid"), allow_missing=True))
    assert refusal.fields == ["session.id"]


@every
def test_an_update_with_the_current_etag_wins_and_a_stale_one_is_aborted(
    resource: Resource, who: Caller
) -> None:
    created = who(resource.create(resource.record()))
    key = resource.key_of(created)
    change = resource.relabelled(key)
    change.etag = created.etag
    updated = who(resource.update(change, resource.label))
    for mask in ([resource.label], ["*"], []):
        again = resource.record(**{resource.key: key})
        again.etag = created.etag
        for allow_missing in (False, True):
            refusal = who.refused(resource.update(again, *mask, allow_missing=allow_missing))
            assert (refusal.code, refusal.reason) == (Code.ABORTED, "ETAG_STALE")
            assert refusal.details["ResourceInfo"].resource_name == key
    assert who(resource.get(key)) == updated


@every
def test_of_writers_with_one_etag_exactly_one_wins(resource: Resource, who: Caller) -> None:
    for _ in range(3):
        created = who(resource.create(resource.record()))
        key = resource.key_of(created)

        def write(index: int, key: str = key, etag: str = created.etag) -> Any:
            change = resource.relabelled(key, f"w{index}")
            change.etag = etag
            return who(resource.update(change, resource.label))

        answers = together(8, write)
        won = [index for index, answer in enumerate(answers) if not isinstance(answer, kit.Refusal)]
        lost = {answer.code for answer in answers if isinstance(answer, kit.Refusal)}
        assert (len(won), lost) == (1, {Code.ABORTED})
        assert resource.label_of(who(resource.get(key))) == f"w{won[0]}"


@every
def test_writers_without_an_etag_all_win_in_some_order(resource: Resource, who: Caller) -> None:
    created = who(resource.create(resource.record()))
    key = resource.key_of(created)
    answers = together(
        4, lambda index: who(resource.update(resource.relabelled(key, f"w{index}"), resource.label))
    )
    assert {answer.code for answer in answers if isinstance(answer, kit.Refusal)} <= {Code.ABORTED}
    assert len({answer.etag for answer in answers if not isinstance(answer, kit.Refusal)}) >= 1


# --- delete ----------------------------------------------------------------------------------------


@every
def test_a_delete_answers_what_was_there_and_it_is_gone(resource: Resource, who: Caller) -> None:
    created = who(resource.create(resource.record()))
    key = resource.key_of(created)
    assert who(resource.delete(key)) == created
    assert who.code(resource.get(key)) is Code.NOT_FOUND
    assert who.code(resource.delete(key)) is Code.NOT_FOUND
    assert who(resource.delete(key, allow_missing=True)) == resource.of("")
    remade = who(resource.create(resource.record(**{resource.key: key})))
    assert remade.etag != created.etag


@every
def test_a_delete_with_a_stale_etag_is_aborted(resource: Resource, who: Caller) -> None:
    created = who(resource.create(resource.record()))
    key = resource.key_of(created)
    updated = who(resource.update(resource.relabelled(key)))
    for allow_missing in (False, True):
        refusal = who.refused(resource.delete(key, etag=created.etag, allow_missing=allow_missing))
        assert (refusal.code, refusal.reason) == (Code.ABORTED, "ETAG_STALE")
    assert who(resource.delete(key, etag=updated.etag)) == updated


@every
def test_of_a_delete_and_an_update_with_one_etag_exactly_one_wins(resource: Resource, who: Caller) -> None:
    created = who(resource.create(resource.record()))
    key = resource.key_of(created)
    change = resource.relabelled(key)
    change.etag = created.etag

    def write(index: int) -> Any:
        delete = resource.delete(key, etag=created.etag)
        return who(delete if index % 2 else resource.update(change, resource.label))

    answers = together(6, write)
    refusals = [answer for answer in answers if isinstance(answer, kit.Refusal)]
    assert len(refusals) == len(answers) - 1
    assert {refusal.code for refusal in refusals} <= {Code.ABORTED, Code.NOT_FOUND}


def test_deleting_a_robot_session_deletes_its_messages(who: Caller) -> None:
    record = who(kit.ROBOT_SESSION.create(kit.ROBOT_SESSION.record()))
    who(robot_pb2.CreateRobotMessageRequest(robot_message=kit.robot_message(session_id=record.id)))
    who(kit.ROBOT_SESSION.delete(record.id))
    messages = robot_pb2.ListRobotMessagesRequest(session_id=record.id)
    assert who.code(messages) is Code.NOT_FOUND
    who(kit.ROBOT_SESSION.create(kit.ROBOT_SESSION.record(id=record.id)))
    assert not who(messages).robot_messages


def test_a_message_never_outlives_its_session(who: Caller) -> None:
    """A message written while its session is deleted is refused or deleted with it, in every interleaving."""
    left = []
    for _ in range(25):
        record = who(kit.ROBOT_SESSION.create(kit.ROBOT_SESSION.record()))

        def write(index: int, id_: str = record.id) -> Any:
            message = kit.robot_message(session_id=id_)
            create = robot_pb2.CreateRobotMessageRequest(robot_message=message)
            return who(kit.ROBOT_SESSION.delete(id_) if index == 3 else create)

        together(8, write)
        who(kit.ROBOT_SESSION.create(kit.ROBOT_SESSION.record(id=record.id)))
        left += who(robot_pb2.ListRobotMessagesRequest(session_id=record.id)).robot_messages
    assert not left


# --- robot messages --------------------------------------------------------------------------------


def test_a_message_is_created_in_its_session_and_listed_newest_first(who: Caller) -> None:
    record = who(kit.ROBOT_SESSION.create(kit.ROBOT_SESSION.record()))
    made = [
        who(
            robot_pb2.CreateRobotMessageRequest(
                robot_message=kit.robot_message(session_id=record.id, created_at=kit.at(second))
            )
        )
        for second in (5, 7, 6)
    ]
    listed = who(robot_pb2.ListRobotMessagesRequest(session_id=record.id)).robot_messages
    assert [*listed] == [made[1], made[2], made[0]]
    assert {re.fullmatch(r"[0-9a-v]{20}", message.id) is not None for message in made} == {True}
    assert {message.session_id for message in made} == {record.id}


def test_a_message_id_is_unique_in_its_session_only(who: Caller) -> None:
    first, second = (who(kit.ROBOT_SESSION.create(kit.ROBOT_SESSION.record())).id for _ in range(2))
    message = kit.robot_message(session_id=first, id="m")
    who(robot_pb2.CreateRobotMessageRequest(robot_message=message))
    refusal = who.refused(robot_pb2.CreateRobotMessageRequest(robot_message=message))
    assert (refusal.code, refusal.reason) == (Code.ALREADY_EXISTS, "RECORD_EXISTS")
    other = kit.robot_message(session_id=second, id="m")
    assert who(robot_pb2.CreateRobotMessageRequest(robot_message=other)).id == "m"


def test_messages_of_an_unknown_session_are_not_found(who: Caller) -> None:
    id_ = kit.ROBOT_SESSION.new_key()
    message = kit.robot_message(session_id=id_)
    for request in (
        robot_pb2.CreateRobotMessageRequest(robot_message=message),
        robot_pb2.ListRobotMessagesRequest(session_id=id_),
    ):
        refusal = who.refused(request)
        assert (refusal.code, refusal.reason) == (Code.NOT_FOUND, "RECORD_NOT_FOUND")
        assert refusal.details["ResourceInfo"].resource_name == id_


# --- batches ---------------------------------------------------------------------------------------


@batched
@pytest.mark.parametrize("count", [1, 7])
def test_a_batch_creates_all_in_the_order_of_its_requests(
    resource: Resource, count: int, who: Caller
) -> None:
    records = [resource.record() for _ in range(count)]
    made = resource.items(who(resource.batch(records)))
    assert [resource.key_of(each) for each in made] == [resource.key_of(each) for each in records]
    assert len({each.etag for each in made}) == count
    assert [who(resource.get(resource.key_of(each))) for each in made] == made


@batched
def test_a_batch_makes_the_keys_that_are_left_out(resource: Resource, who: Caller) -> None:
    made = resource.items(who(resource.batch([resource.make() for _ in range(3)])))
    assert len({resource.key_of(each) for each in made}) == 3


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "user_session": ({"user_info": {"bool_value": True}}, "user_info"),
    "session": ({"id": "no uuid"}, "id"),
    "robot": ({"name": "NUL \0"}, "name"),
    "robot_session": ({"id": "no xid"}, "id"),
    "agent_session": ({"agent_rid": "no rid"}, "agent_rid"),
}


@batched
@pytest.mark.parametrize("place", [0, 2, 4])
def test_a_batch_with_one_bad_item_writes_nothing_and_names_it(
    resource: Resource, place: int, who: Caller
) -> None:
    changes, field = BAD[resource.name]
    records = [resource.record(**(changes if index == place else {})) for index in range(5)]
    refusal = who.refused(resource.batch(records))
    assert refusal.code is Code.INVALID_ARGUMENT
    assert refusal.fields == [f"requests[{place}].{resource.name}.{field}"]
    for index, record in enumerate(records):
        if index != place:
            assert who.code(resource.get(resource.key_of(record))) is Code.NOT_FOUND


@batched
@pytest.mark.parametrize("twice", [False, True], ids=["on record", "twice in the batch"])
def test_a_batch_with_a_key_that_exists_writes_nothing_and_names_it(
    resource: Resource, twice: bool, who: Caller
) -> None:
    records = [resource.record() for _ in range(4)]
    if twice:
        setattr(records[3], resource.key, resource.key_of(records[1]))
    else:
        who(resource.create(resource.record(**{resource.key: resource.key_of(records[3])})))
    refusal = who.refused(resource.batch(records))
    assert refusal.code is Code.ALREADY_EXISTS
    assert "requests[3]" in refusal.message
    assert refusal.details["ResourceInfo"].resource_name == resource.key_of(records[3])
    for record in records[:3]:
        assert who.code(resource.get(resource.key_of(record))) is Code.NOT_FOUND


@batched
def test_a_batch_has_up_to_1000_records(resource: Resource, who: Caller) -> None:
    records = [resource.make() for _ in range(1001)]
    refusal = who.refused(resource.batch(records))
    assert (refusal.code, refusal.fields) == (Code.INVALID_ARGUMENT, ["requests"])
    if resource in {kit.ROBOT, kit.ROBOT_SESSION}:  # All tests share their lists: no thousand more.
        return
    made = resource.items(who(resource.batch(records[:1000])))
    assert len({resource.key_of(each) for each in made}) == 1000


# --- request ids -----------------------------------------------------------------------------------


@every
def test_one_request_id_makes_one_record(resource: Resource, who: Caller) -> None:
    request = resource.create(resource.make(), str(uuid.uuid4()))
    first = who(request)
    assert who(request) == first
    assert who(request) == first


@every
def test_one_request_id_makes_one_record_also_at_once(resource: Resource, who: Caller) -> None:
    request = resource.create(resource.make(), str(uuid.uuid4()))
    answers = together(8, lambda _: who(request))
    assert not [answer for answer in answers if isinstance(answer, kit.Refusal)]
    assert len({resource.key_of(answer) for answer in answers}) == 1
    assert len({answer.etag for answer in answers}) == 1


@every
def test_another_record_under_a_used_request_id_is_refused(resource: Resource, who: Caller) -> None:
    id_ = str(uuid.uuid4())
    first = who(resource.create(resource.record(), id_))
    other = resource.record()
    refusal = who.refused(resource.create(other, id_))
    assert (refusal.code, refusal.reason) == (Code.INVALID_ARGUMENT, "REQUEST_ID_REUSED")
    assert refusal.fields == ["request_id"]
    assert who.code(resource.get(resource.key_of(other))) is Code.NOT_FOUND
    assert who(resource.get(resource.key_of(first))) == first


def test_message_creations_have_request_ids_too(who: Caller) -> None:
    record = who(kit.ROBOT_SESSION.create(kit.ROBOT_SESSION.record()))
    request = robot_pb2.CreateRobotMessageRequest(
        robot_message=kit.robot_message(session_id=record.id), request_id=str(uuid.uuid4())
    )
    assert len({who(request).id for _ in range(3)}) == 1
    assert len({answer.id for answer in together(6, lambda _: who(request))}) == 1
    assert len(who(robot_pb2.ListRobotMessagesRequest(session_id=record.id)).robot_messages) == 1


@batched
def test_a_batch_sent_again_makes_nothing_new(resource: Resource, who: Caller) -> None:
    ids = [str(uuid.uuid4()) for _ in range(3)]
    request = resource.batch([resource.make() for _ in range(3)], ids)
    first = who(request)
    assert who(request) == first
    part = resource.batch([resource.make() for _ in range(2)], ids[1:])
    assert resource.items(who(part)) == resource.items(first)[1:]
    single = resource.create(resource.make(), ids[0])
    assert who(single) == resource.items(first)[0]


@batched
def test_a_batch_sent_at_once_makes_its_records_once(resource: Resource, who: Caller) -> None:
    request = resource.batch([resource.make() for _ in range(3)], [str(uuid.uuid4()) for _ in range(3)])
    answers = together(6, lambda _: who(request))
    assert not [answer for answer in answers if isinstance(answer, kit.Refusal)]
    assert len({answer.SerializeToString(deterministic=True) for answer in answers}) == 1


@batched
def test_a_batch_with_a_used_request_id_writes_nothing_and_names_it(resource: Resource, who: Caller) -> None:
    id_ = str(uuid.uuid4())
    who(resource.create(resource.record(), id_))
    records = [resource.record() for _ in range(3)]
    refusal = who.refused(resource.batch(records, ["", "", id_]))
    assert (refusal.code, refusal.reason) == (Code.INVALID_ARGUMENT, "REQUEST_ID_REUSED")
    assert refusal.fields == ["requests[2].request_id"]
    for record in records:
        assert who.code(resource.get(resource.key_of(record))) is Code.NOT_FOUND


@batched
def test_a_request_id_twice_in_one_batch_is_refused(resource: Resource, who: Caller) -> None:
    id_ = str(uuid.uuid4())
    refusal = who.refused(resource.batch([resource.record(), resource.record()], [id_, id_]))
    assert (refusal.code, refusal.fields) == (Code.INVALID_ARGUMENT, ["requests[1].request_id"])


def test_a_request_id_of_what_was_deleted_since_is_not_found(who: Caller) -> None:
    request = kit.SESSION.create(kit.SESSION.record(), str(uuid.uuid4()))
    who(kit.SESSION.delete(who(request).id))
    assert who.code(request) is Code.NOT_FOUND


def test_a_request_id_answers_the_record_as_it_is_now(who: Caller) -> None:
    request = kit.SESSION.create(kit.SESSION.record(), str(uuid.uuid4()))
    created = who(request)
    updated = who(kit.SESSION.update(kit.SESSION.relabelled(created.id)))
    assert who(request) == updated


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("u", "t"), ("u", "t2")),
        (("u", "t"), ("u2", "t")),
        (("v", "t/u"), ("u/v", "t")),
    ],
    ids=["another tenant", "another user", "names with slashes"],
)
def test_a_request_id_is_the_callers_own(one: tuple[str, str], other: tuple[str, str], stack: Stack) -> None:
    unique = str(uuid.uuid4())
    first, second = (kit.caller(stack, sub, f"{unique}{tenant}", kit.WRITE) for sub, tenant in (one, other))
    request = kit.SESSION.create(kit.session(), unique)
    assert first(request).id != (made := second(request)).id
    assert made.developer_id == second.tenant


def test_request_ids_of_different_resources_are_different(who: Caller) -> None:
    id_ = str(uuid.uuid4())
    for resource in kit.RESOURCES:
        who(resource.create(resource.record(), id_))


# --- size ------------------------------------------------------------------------------------------


def test_a_record_of_many_megabytes_comes_back_whole(who: Caller) -> None:
    record = kit.USER_SESSION.record(screenshot="x" * 6_000_000, user_audio="y" * 6_000_000)
    who(kit.USER_SESSION.create(record))
    found = who(kit.USER_SESSION.get(record.uuid))
    assert (len(found.screenshot), len(found.user_audio)) == (6_000_000, 6_000_000)
    updated = who(kit.USER_SESSION.update(kit.USER_SESSION.relabelled(record.uuid), "name"))
    assert (updated.name, len(updated.screenshot)) == ("new", 6_000_000)
    who(kit.USER_SESSION.delete(record.uuid))


def test_a_record_that_no_document_holds_is_refused(who: Caller) -> None:
    record = kit.USER_SESSION.record(screenshot="x" * (15 << 20))
    refusal = who.refused(kit.USER_SESSION.create(record))
    assert (refusal.code, refusal.fields) == (Code.INVALID_ARGUMENT, ["user_session"])


def test_an_update_that_its_contract_cannot_print_is_refused_and_changes_nothing(who: Caller) -> None:
    table: list[tuple[Resource, Message, str, str]] = [
        (kit.USER_SESSION, user_session_pb2.UserSession(name="\0"), "name", "user_session.name"),
        (kit.SESSION, session_pb2.Session(kind="\0"), "kind", "session.kind"),
        (kit.ROBOT, robot_pb2.Robot(), "author", "robot.author.id"),
        (kit.ROBOT_SESSION, robot_pb2.RobotSession(name="\0"), "name", "robot_session.name"),
        (
            kit.AGENT_SESSION,
            agent_session_pb2.AgentSession(agent_rid="x"),
            "agent_rid",
            "agent_session.agent_rid",
        ),
        (kit.AGENT, agent_session_pb2.Agent(viewers=["user:a", "nobody"]), "viewers", "agent.viewers[1]"),
    ]
    for resource, change, mask, field in table:
        created = who(resource.create(resource.record()))
        setattr(change, resource.key, resource.key_of(created))
        refusal = who.refused(resource.update(change, mask))
        assert (refusal.code, refusal.fields) == (Code.INVALID_ARGUMENT, [field])
        assert who(resource.get(resource.key_of(created))) == created

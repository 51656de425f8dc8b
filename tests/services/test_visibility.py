"""Who sees and who writes what: every RPC, by tenant, user, client, scope and permission.

A caller with `sessions:write` may create and change records and name their user and client; one with
`sessions:read` may name an owner in a List or Get; all others see what their REST list shows.  Nobody
crosses a tenant: a record of another one is NOT_FOUND.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from rollcall.v1 import agent_session_pb2, robot_pb2, session_pb2, user_session_pb2

from tests import parts
from tests.services import kit
from tests.services.kit import AGENTS, READ, ROBOTS, WRITE, Caller, Resource
from tests.stack import Stack

Code = grpc.StatusCode
OK, DENIED, MISSING = Code.OK, Code.PERMISSION_DENIED, Code.NOT_FOUND

FOUNDRY = "/api/v2/aipAgents/agents/allSessions?preview=true"
SCOPES = [
    frozenset(each) for size in range(4) for each in itertools.combinations((READ, WRITE, AGENTS), size)
]


@dataclass(frozen=True)
class World:
    """Records of one owner, `ann` of tenant `home` by client `app`, and what they need around them."""

    home: str
    ann: Caller
    writer: Caller
    agent: str
    closed: str
    keys: dict[str, str]
    closed_session: str
    message: str

    def owner(self, resource: Resource) -> dict[str, str]:
        """Return what a request says to name `ann` and her client."""
        return {
            "user_session": {"user_id": self.ann.sub},
            "agent_session": {"user_id": self.ann.sub, "client_id": self.ann.client_id},
        }.get(resource.name, {})


def make_world(stack: Stack) -> World:
    ann = kit.caller(stack, client_id="app")
    service = kit.caller(stack, "", ann.tenant, WRITE, client_id="service")
    agent = service(kit.AGENT.create(kit.agent(viewers=["*"]))).rid
    closed = service(kit.AGENT.create(kit.agent(viewers=["user:nobody"]))).rid
    named: dict[str, dict[str, str]] = {
        "user_session": {"user_id": ann.sub},
        "agent_session": {"user_id": ann.sub, "client_id": "app", "agent_rid": agent},
    }
    keys = {
        resource.name: resource.key_of(
            service(resource.create(resource.record(**named.get(resource.name, {}))))
        )
        for resource in kit.RESOURCES
        if resource is not kit.AGENT
    }
    hidden = kit.AGENT_SESSION.record(**named["agent_session"] | {"agent_rid": closed})
    closed_session = service(kit.AGENT_SESSION.create(hidden)).rid
    message = service(
        robot_pb2.CreateRobotMessageRequest(robot_message=kit.robot_message(session_id=keys["robot_session"]))
    ).id
    return World(ann.tenant, ann, service, agent, closed, {**keys, "agent": agent}, closed_session, message)


@pytest.fixture(scope="module")
def world(stack: Stack) -> World:
    """Shared by tests that write nothing, or only what they make themselves."""
    return make_world(stack)


def ways(*scopes: str) -> dict[str, bool]:
    return {"read": READ in scopes or WRITE in scopes, "write": WRITE in scopes}


# --- reads -----------------------------------------------------------------------------------------


def _read_code(
    who: Caller, resource: Resource, world: World, named: dict[str, str]
) -> tuple[Code, Code, bool]:
    """Return how Get and List end for a caller, and whether the list has the record."""
    key = world.keys[resource.name]
    get = who.code(resource.get(key, **named))
    try:
        listed = key in resource.walk(who, page_size=1000, **named)
    except grpc.RpcError as error:
        return get, kit.refusal_of(error).code, False
    return get, OK, listed


SEEN, NOTHING, FORBIDDEN = (OK, OK, True), (MISSING, OK, False), (DENIED, DENIED, False)


@pytest.mark.parametrize("scopes", SCOPES, ids=lambda scopes: "+".join(sorted(scopes)) or "none")
@pytest.mark.parametrize("home", [True, False], ids=["same tenant", "another tenant"])
@pytest.mark.parametrize("user", ["ann", "bob"])
def test_user_sessions_are_seen_by_their_user_and_by_who_may_name_one_of_the_tenant(
    scopes: frozenset[str], home: bool, user: str, stack: Stack, world: World
) -> None:
    ann = user == "ann"
    who = kit.caller(stack, world.ann.sub if ann else "", world.home if home else "", *scopes)
    names = bool(scopes & {READ, WRITE})
    own = _read_code(who, kit.USER_SESSION, world, {})
    named = _read_code(who, kit.USER_SESSION, world, world.owner(kit.USER_SESSION))
    assert own == (SEEN if ann else NOTHING)
    if ann:
        assert named == SEEN
    elif not names:
        assert named == FORBIDDEN
    else:
        assert named == (SEEN if home else NOTHING)
    documented = stack.get("/session", who.token).json()
    assert bool(documented) is ann


@pytest.mark.parametrize("scopes", SCOPES, ids=lambda scopes: "+".join(sorted(scopes)) or "none")
@pytest.mark.parametrize("home", [True, False], ids=["same tenant", "another tenant"])
@pytest.mark.parametrize("user", ["ann", "bob"])
def test_sessions_are_seen_by_their_whole_tenant_and_nobody_else(
    scopes: frozenset[str], home: bool, user: str, stack: Stack, world: World
) -> None:
    who = kit.caller(stack, world.ann.sub if user == "ann" else "", world.home if home else "", *scopes)
    assert _read_code(who, kit.SESSION, world, {}) == (SEEN if home else NOTHING)
    documented = {item["id"] for item in stack.get("/sessions", who.token).json()["items"]}
    assert (world.keys["session"] in documented) is home


@pytest.mark.parametrize("scopes", SCOPES, ids=lambda scopes: "+".join(sorted(scopes)) or "none")
@pytest.mark.parametrize("permission", ["", ROBOTS, "ADMINISTRATOR", "use_robots"])
@pytest.mark.parametrize("resource", [kit.ROBOT, kit.ROBOT_SESSION], ids=str)
def test_robots_are_seen_by_who_has_the_permission_or_a_scope_of_any_tenant(
    scopes: frozenset[str], permission: str, resource: Resource, stack: Stack, world: World
) -> None:
    who = kit.caller(stack, "", "", *scopes, permissions=[permission] if permission else [])
    may = permission in {ROBOTS, "ADMINISTRATOR"}
    expected = SEEN if may or scopes & {READ, WRITE} else FORBIDDEN
    assert _read_code(who, resource, world, {}) == expected
    messages = robot_pb2.ListRobotMessagesRequest(session_id=world.keys["robot_session"])
    assert who.code(messages) is expected[0]
    path = {"robot": "/robots", "robot_session": "/robots/sessions"}[resource.name]
    assert stack.get(path, who.token).status_code == (200 if may else 403)


@pytest.mark.parametrize("scopes", SCOPES, ids=lambda scopes: "+".join(sorted(scopes)) or "none")
@pytest.mark.parametrize("home", [True, False], ids=["same tenant", "another tenant"])
@pytest.mark.parametrize("user", ["ann", "bob"])
@pytest.mark.parametrize("client", ["app", "other"])
def test_agent_sessions_are_seen_by_their_user_at_their_client_and_by_who_may_name_them(  # noqa: PLR0913, PLR0917
    scopes: frozenset[str], home: bool, user: str, client: str, stack: Stack, world: World
) -> None:
    sub = world.ann.sub if user == "ann" else ""
    who = kit.caller(stack, sub, world.home if home else "", *scopes, client_id=client)
    names, mine = bool(scopes & {READ, WRITE}), user == "ann" and client == "app"
    own = _read_code(who, kit.AGENT_SESSION, world, {})
    named = _read_code(who, kit.AGENT_SESSION, world, world.owner(kit.AGENT_SESSION))
    if not names and AGENTS not in scopes:
        assert (own, named) == (FORBIDDEN, FORBIDDEN)
        return
    assert own == (SEEN if mine else NOTHING)
    if mine:
        assert named == SEEN
    elif not names:
        assert named == FORBIDDEN
    else:
        assert named == (SEEN if home else NOTHING)
    answer = stack.get(FOUNDRY, who.token)
    assert answer.status_code == (200 if AGENTS in scopes else 403)
    if AGENTS in scopes:
        listed = {item["rid"] for item in answer.json()["data"]}
        assert (world.keys["agent_session"] in listed) is mine
        assert world.closed_session not in listed


@pytest.mark.parametrize("scopes", [(AGENTS,), (READ,), (WRITE,), (AGENTS, READ)], ids="+".join)
def test_sessions_of_agents_that_let_nobody_in_are_seen_by_who_may_name_owners_only(
    scopes: tuple[str, ...], stack: Stack, world: World
) -> None:
    who = kit.caller(stack, world.ann.sub, world.home, *scopes, client_id="app")
    sees = READ in scopes or WRITE in scopes
    assert who.code(kit.AGENT_SESSION.get(world.closed_session)) is (OK if sees else MISSING)
    assert (world.closed_session in kit.AGENT_SESSION.walk(who)) is sees


@pytest.mark.parametrize("scopes", SCOPES, ids=lambda scopes: "+".join(sorted(scopes)) or "none")
def test_agents_are_seen_by_their_viewers_and_by_who_may_name_owners(
    scopes: frozenset[str], stack: Stack, world: World
) -> None:
    who = kit.caller(stack, "", "", *scopes)
    listed = kit.AGENT.walk(who, page_size=1000)
    sees = bool(scopes & {READ, WRITE})
    assert world.agent in listed
    assert who.code(kit.AGENT.get(world.agent)) is OK
    assert (world.closed in listed) is sees
    assert who.code(kit.AGENT.get(world.closed)) is (OK if sees else MISSING)


def test_naming_oneself_needs_no_scope(stack: Stack, world: World) -> None:
    who = kit.caller(stack, world.ann.sub, world.home, AGENTS, client_id="app")
    for resource in (kit.USER_SESSION, kit.AGENT_SESSION):
        assert _read_code(who, resource, world, world.owner(resource)) == SEEN
    for partly in ({"user_id": world.ann.sub}, {"client_id": "app"}):
        assert _read_code(who, kit.AGENT_SESSION, world, partly) == SEEN
    for other in ({"user_id": "x"}, {"client_id": "x"}):
        assert _read_code(who, kit.AGENT_SESSION, world, other) == FORBIDDEN


def test_without_a_client_a_caller_has_no_agent_sessions_of_a_client(stack: Stack, world: World) -> None:
    who = kit.caller(stack, world.ann.sub, world.home, AGENTS, client_id="")
    assert _read_code(who, kit.AGENT_SESSION, world, {}) == NOTHING


def test_a_user_without_a_tenant_is_a_tenant_of_its_own(stack: Stack) -> None:
    alone = kit.writer(stack, sub := f"u-{kit.uid()}", sub)
    key = alone(kit.SESSION.create(kit.SESSION.record())).id
    assert kit.SESSION.walk(alone) == [key]
    assert kit.writer(stack, sub, "").code(kit.SESSION.get(key)) is MISSING


# --- writes ----------------------------------------------------------------------------------------


def _writes(world: World) -> Iterator[Message]:
    """Yield every RPC that writes, once with keys that are there and once with new ones."""
    for resource in kit.RESOURCES:
        key, owner = world.keys[resource.name], world.owner(resource)
        for name in (key, resource.new_key()):
            record = resource.relabelled(name)
            for field, value in owner.items():
                setattr(record, field, value)
            yield resource.create(resource.record(**{resource.key: name}, **owner))
            yield resource.create(resource.record(**{resource.key: name}))
            yield resource.create(resource.record(**{resource.key: name}), kit.uid())
            for allow_missing in (False, True):
                yield resource.update(record, resource.label, allow_missing=allow_missing)
                yield resource.update(resource.relabelled(name), "*", allow_missing=allow_missing)
                yield resource.delete(name, allow_missing=allow_missing, **owner)
                yield resource.delete(name, allow_missing=allow_missing)
            if resource.batches:
                yield resource.batch([resource.record(**{resource.key: name}, **owner)])
                yield resource.batch([])
        yield resource.create(None)
        yield resource.update(None)
        yield resource.delete("")
    for session_id in (world.keys["robot_session"], kit.ROBOT_SESSION.new_key(), ""):
        message = kit.robot_message(session_id=session_id)
        yield robot_pb2.CreateRobotMessageRequest(robot_message=message)


def _snapshot(world: World) -> list[Any]:
    reads = [resource.get(world.keys[resource.name], **world.owner(resource)) for resource in kit.RESOURCES]
    messages = robot_pb2.ListRobotMessagesRequest(session_id=world.keys["robot_session"])
    lists = [
        kit.USER_SESSION.listing(**world.owner(kit.USER_SESSION)),
        kit.SESSION.listing(),
        kit.AGENT_SESSION.listing(**world.owner(kit.AGENT_SESSION)),
    ]
    counts = [
        world.writer(resource.listing(page_size=1)).total_size for resource in (kit.ROBOT, kit.ROBOT_SESSION)
    ]
    return [world.writer(request) for request in (*reads, messages, *lists)] + counts


@pytest.mark.parametrize(
    "scopes",
    [each for each in SCOPES if WRITE not in each],
    ids=lambda scopes: "+".join(sorted(scopes)) or "none",
)
def test_a_caller_without_sessions_write_writes_nothing_and_learns_nothing(
    scopes: frozenset[str], stack: Stack, world: World
) -> None:
    before = _snapshot(world)
    permissions = [ROBOTS, "ADMINISTRATOR"]
    for who in (
        kit.caller(stack, world.ann.sub, world.home, *scopes, client_id="app", permissions=permissions),
        kit.caller(stack, "", "", *scopes, permissions=permissions),
    ):
        for request in _writes(world):
            refusal = who.refused(request)
            assert (refusal.code, refusal.reason) == (DENIED, "SCOPE_MISSING"), request
    assert _snapshot(world) == before


@pytest.mark.parametrize("scope", ["sessions:writer", "sessions", "SESSIONS:WRITE", "sessions:write:x", "*"])
def test_only_the_scope_itself_is_the_scope(scope: str, stack: Stack, world: World) -> None:
    who = kit.caller(stack, world.ann.sub, world.home, scope)
    assert who.code(kit.SESSION.create(kit.session())) is DENIED
    assert who.code(kit.USER_SESSION.listing(user_id="x")) is DENIED


@pytest.mark.parametrize("resource", [kit.USER_SESSION, kit.AGENT_SESSION], ids=str)
def test_a_writer_names_the_user_and_client_of_a_record(resource: Resource, stack: Stack) -> None:
    world = make_world(stack)
    owner, key = world.owner(resource), world.keys[resource.name]
    writer = kit.caller(stack, "", world.home, WRITE)
    record = resource.relabelled(key)
    for field, value in owner.items():
        setattr(record, field, value)
    updated = writer(resource.update(record, resource.label))
    assert resource.label_of(updated) == "new"
    assert {field: getattr(updated, field) for field in owner} == owner
    assert updated.developer_id == world.home
    assert writer.code(resource.update(resource.relabelled(key))) is MISSING
    assert writer.code(resource.delete(key)) is MISSING
    batch = [resource.record(**owner), resource.record()]
    one, other = resource.items(writer(resource.batch(batch)))
    assert (one.user_id, other.user_id) == (world.ann.sub, writer.sub)
    assert writer(resource.delete(key, **owner)) == updated
    assert writer.code(resource.get(key, **owner)) is MISSING


@pytest.mark.parametrize("resource", [kit.USER_SESSION, kit.SESSION, kit.AGENT_SESSION], ids=str)
def test_nobody_changes_or_deletes_a_record_of_another_tenant(resource: Resource, stack: Stack) -> None:
    world = make_world(stack)
    before = _snapshot(world)
    owner, key = world.owner(resource), world.keys[resource.name]
    etag = world.writer(resource.get(key, **owner)).etag
    strangers = [kit.writer(stack, client_id="service"), kit.writer(stack, world.writer.sub, client_id="app")]
    for stranger in strangers:
        for etags in ("", etag):
            record = resource.relabelled(key)
            record.etag = etags
            for field, value in owner.items():
                setattr(record, field, value)
            for request in (
                resource.get(key, **owner),
                resource.update(record, resource.label),
                resource.update(record, "*"),
                resource.delete(key, etag=etags, **owner),
            ):
                assert stranger.code(request) is MISSING, request
        assert key not in resource.walk(stranger, **owner)
        assert stranger(resource.delete(key, allow_missing=True, **owner)) == resource.of("")
    assert _snapshot(world)[:-2] == before[:-2]


def test_the_same_session_id_in_another_tenant_is_another_record(stack: Stack) -> None:
    one, other = kit.writer(stack), kit.writer(stack)
    id_ = kit.uid()
    first = one(kit.SESSION.create(kit.session(id=id_)))
    second = other(kit.SESSION.create(kit.session(id=id_, situation="another")))
    other(kit.SESSION.update(kit.SESSION.relabelled(id_)))
    assert one(kit.SESSION.get(id_)) == first
    other(kit.SESSION.delete(id_, etag=other(kit.SESSION.get(id_)).etag))
    assert one(kit.SESSION.get(id_)) == first
    assert second.developer_id == other.tenant


def test_an_upsert_never_takes_over_a_record_of_another_tenant(stack: Stack) -> None:
    world = make_world(stack)
    stranger = kit.writer(stack)
    for resource in (kit.USER_SESSION, kit.AGENT_SESSION):
        owner, key = world.owner(resource), world.keys[resource.name]
        before = world.writer(resource.get(key, **owner))
        record = resource.record(**{resource.key: key}, **owner)
        assert stranger.code(resource.update(record, allow_missing=True)) is not OK
        assert stranger.code(resource.create(record)) is not OK
        assert world.writer(resource.get(key, **owner)) == before


def test_an_imported_record_belongs_to_no_tenant_and_is_its_users(stack: Stack) -> None:
    user = f"u-{kit.uid()}"
    stack.load(parts.line("user_session", parts.user_session(uuid="i"), user_id=user))
    own = kit.caller(stack, user)
    found = own(kit.USER_SESSION.get("i"))
    assert (found.user_id, found.developer_id) == (user, "")
    stranger = kit.caller(stack)
    assert stranger.code(kit.USER_SESSION.get("i")) is MISSING
    assert stranger.code(kit.USER_SESSION.get("i", user_id=user)) is DENIED


def test_no_page_mixes_tenants(stack: Stack) -> None:
    """One user's sessions, written by services of two tenants: each service sees its own, the user all."""
    user = f"u-{kit.uid()}"
    services = [kit.writer(stack), kit.writer(stack)]
    made: list[list[str]] = [[], []]
    for index in range(10):
        record = kit.USER_SESSION.record(uuid=f"{index}", user_id=user, updated_at=kit.at(100 - index))
        services[index % 2](kit.USER_SESSION.create(record))
        made[index % 2].append(record.uuid)
    for service, keys in zip(services, made, strict=True):
        for size in (1, 2, 100):
            assert kit.USER_SESSION.walk(service, user_id=user, page_size=size) == keys
    assert len(kit.USER_SESSION.walk(kit.caller(stack, user))) == 10


def test_the_matrix_above_covers_every_rpc(world: World) -> None:
    modules = (user_session_pb2, session_pb2, robot_pb2, agent_session_pb2)
    requests = {
        method.input_type.name
        for module in modules
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    written = {request.DESCRIPTOR.name for request in _writes(world)}
    assert {name for name in requests if not name.startswith(("Get", "List"))} == written

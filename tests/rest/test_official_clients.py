"""The official clients of Julep and of Foundry find nothing to complain about."""

import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, Literal

import foundry_sdk
import httpx
import julep
import pytest
from foundry_sdk import v2
from foundry_sdk.v2.aip_agents import errors as agent_errors
from foundry_sdk.v2.core import errors as core_errors

from tests.stack import Stack, lines_of
from tests.strategies import RECALL_DEFAULTS, example, fresh_uuid, instant

MANY = 250

Document = dict[str, Any]

# --- Julep ------------------------------------------------------------------------------------------

RECALLS: tuple[Document | None, ...] = (
    None,
    {},
    {"mode": "vector", "limit": 5},
    {"mode": "text", "lang": "fi-FI", "trigram_similarity_threshold": 0.5},
    {"mode": "hybrid", "alpha": 0.5, "k_multiplier": 7},
)


@pytest.fixture(scope="module")
def tenant(stack: Stack) -> str:
    """Return a tenant of 250 sessions; those of one second and those of one update are several."""
    name = fresh_uuid()
    stack.load(*lines_of("session", {"developer_id": name}, *SESSIONS))
    return name


def _session(number: int) -> Document:
    return example(
        "session",
        id=str(uuid.UUID(int=(number * 7919) % MANY)),
        # Seven sessions share each time, so that pages end amid equal ones.
        created_at=f"2026-01-01T00:{number // 7:02}:00.123456789Z",
        updated_at=f"2026-02-01T00:{(MANY - number) // 7:02}:00Z",
        recall_options=RECALLS[number % len(RECALLS)],
        context_overflow=(None, "truncate", "adaptive")[number % 3],
        token_budget=(None, 0, 2**31 - 1)[number % 3],
        metadata={
            "number": number,
            "parity": ("even", "odd")[number % 2],
            "third": number % 3 == 0,
            "a.b": 0.5,
        },
        **({} if number % 4 else {"situation": None, "summary": None, "system_template": None, "kind": None}),
    )


SESSIONS = [_session(number) for number in range(MANY)]


def in_order(sort_by: str, direction: str) -> list[str]:
    """Return the ids in order; equal times by id, in the same direction."""
    ordered = sorted(SESSIONS, key=lambda item: (instant(item[sort_by]), item["id"]))
    return [item["id"] for item in (ordered if direction == "asc" else ordered[::-1])]


@pytest.fixture(params=["/", "/api"], scope="module")
def client(request: pytest.FixtureRequest, stack: Stack, tenant: str) -> Iterator[julep.Julep]:
    """Return Julep's client, which refuses an answer that breaks its own types."""
    with julep.Julep(
        base_url=stack.rest + request.param,
        api_key=stack.token("anybody", tenant),
        _strict_response_validation=True,
        max_retries=0,
    ) as made:
        yield made


def test_julep_reads_every_session_as_it_was_written(client: julep.Julep) -> None:
    found = {session.id: session for session in client.sessions.list()}
    assert len(found) == MANY
    for written in SESSIONS:
        read = found[written["id"]].model_dump(mode="python")
        for key in ("situation", "summary", "system_template", "kind", "context_overflow", "token_budget"):
            assert read[key] == written[key]
        for key in ("render_templates", "auto_run_tools", "forward_tool_calls", "metadata"):
            assert read[key] == written[key]
        for key in ("created_at", "updated_at"):
            # The client's times keep microseconds.
            assert read[key].isoformat().startswith(written[key][:26].rstrip("Z"))
        options = written["recall_options"]
        if options is None:
            assert read["recall_options"] is None
        else:
            whole = {**RECALL_DEFAULTS, **options}
            assert {
                name: value for name, value in read["recall_options"].items() if value is not None
            } == whole


@pytest.mark.parametrize("limit", [100, 7, 250, 1000])
def test_julep_pages_through_all_sessions_once_and_in_order(client: julep.Julep, limit: int) -> None:
    assert [each.id for each in client.sessions.list(limit=limit)] == in_order("created_at", "desc")


@pytest.mark.parametrize("sort_by", ["created_at", "updated_at"])
@pytest.mark.parametrize("direction", ["asc", "desc"])
def test_julep_lists_by_every_option(
    client: julep.Julep, sort_by: Literal["created_at", "updated_at"], direction: Literal["asc", "desc"]
) -> None:
    page = client.sessions.list(limit=20, offset=95, sort_by=sort_by, direction=direction)
    assert [each.id for each in page.items] == in_order(sort_by, direction)[95:115]


def test_julep_ends_at_an_empty_page(client: julep.Julep) -> None:
    page = client.sessions.list(limit=100, offset=200)
    sizes = []
    while page.items:
        sizes.append(len(page.items))
        page = page.get_next_page()
    assert sizes == [50]
    assert not page.has_next_page()


FILTERS: list[tuple[Document, Callable[[int], bool]]] = [
    ({"parity": "odd"}, lambda number: number % 2 == 1),
    ({"number": 7}, lambda number: number == 7),
    ({"number": "7.0"}, lambda number: number == 7),
    ({"a.b": 0.5}, lambda _: True),
    ({"parity": "odd", "number": 9}, lambda number: number == 9),
    ({"parity": "even", "a.b": 0.5}, lambda number: number % 2 == 0),
    ({"parity": "even", "number": 9}, lambda _: False),
    # The client sends `true`, which Julep reads as text.
    ({"third": True}, lambda _: False),
    ({"unknown": 1}, lambda _: False),
    ({"$where": "1"}, lambda _: False),
    ({}, lambda _: True),
]


@pytest.mark.parametrize(("wanted", "holds"), FILTERS, ids=[str(wanted) for wanted, _ in FILTERS])
def test_julep_filters_by_metadata(
    client: julep.Julep, wanted: Document, holds: Callable[[int], bool]
) -> None:
    found = [each.id for each in client.sessions.list(metadata_filter=wanted, limit=100)]
    kept = {item["id"] for item in SESSIONS if holds(item["metadata"]["number"])}
    assert found == [id_ for id_ in in_order("created_at", "desc") if id_ in kept]


async def test_julep_async_client_pages_through_all_sessions(stack: Stack, tenant: str) -> None:
    async with julep.AsyncJulep(
        base_url=stack.rest,
        api_key=stack.token("anybody", tenant),
        _strict_response_validation=True,
        max_retries=0,
    ) as client:
        found = [each.id async for each in client.sessions.list(limit=100)]
    assert found == in_order("created_at", "desc")


@pytest.mark.parametrize(
    ("options", "error", "status"),
    [
        ({"limit": -1}, julep.BadRequestError, 400),
        ({"offset": -1}, julep.BadRequestError, 400),
        ({"offset": 2**63}, julep.BadRequestError, 400),
        ({"limit": "many"}, julep.UnprocessableEntityError, 422),
        ({"sort_by": "name"}, julep.UnprocessableEntityError, 422),
        ({"direction": "up"}, julep.UnprocessableEntityError, 422),
    ],
)
def test_julep_raises_its_typed_error(
    client: julep.Julep, options: Document, error: type[julep.APIStatusError], status: int
) -> None:
    with pytest.raises(error) as caught:
        client.sessions.list(**options)
    assert caught.value.status_code == status
    assert isinstance(caught.value.body, dict)


@pytest.mark.parametrize("key", ["wrong", "a.b.c", "Bearer"])
def test_julep_with_a_wrong_key_is_denied(stack: Stack, key: str) -> None:
    with (
        julep.Julep(base_url=stack.rest, api_key=key, max_retries=0) as client,
        pytest.raises(julep.PermissionDeniedError) as caught,
    ):
        client.sessions.list()
    error = {"message": "Could not validate API KEY", "code": "http_403", "type": "http_error"}
    # The client hands on what is under `error`, as it does with OpenAI's errors.
    assert caught.value.body in (error, {"error": error})


async def test_julep_async_client_with_a_wrong_key_is_denied(stack: Stack) -> None:
    async with julep.AsyncJulep(base_url=stack.rest, api_key="wrong", max_retries=0) as client:
        with pytest.raises(julep.PermissionDeniedError):
            await client.sessions.list()


def test_julep_on_an_unknown_route_raises_not_found(stack: Stack) -> None:
    with (
        julep.Julep(base_url=stack.rest, api_key=stack.token("anybody"), max_retries=0) as client,
        pytest.raises(julep.NotFoundError),
    ):
        client.sessions.get(str(uuid.uuid4()))


# --- Foundry ----------------------------------------------------------------------------------------

SCOPE = "api:aip-agents-write"
USER, CLIENT = fresh_uuid(), fresh_uuid()


def _agent_session(number: int, agent: str) -> Document:
    made = example("agent_session", rid=f"ri.aip-agents..session.{uuid.UUID(int=number * 7919 % MANY)}")
    made["agentRid"] = agent
    made["agentVersion"] = f"{number % 3}.{number % 5}"
    made["metadata"] |= {
        "title": f"Question {number}",
        "updatedTime": f"2026-01-01T00:{number // 7:02}:00.123456789Z",
        "messageCount": number % 2,
    }
    return made


AGENTS = [f"ri.aip-agents..agent.{uuid.uuid4()}" for _ in range(3)]
AGENT_SESSIONS = [_agent_session(number, AGENTS[number % 3]) for number in range(MANY)]
RIDS = [
    item["rid"]
    for item in sorted(
        AGENT_SESSIONS, key=lambda item: (-instant(item["metadata"]["updatedTime"]), item["rid"])
    )
]


@pytest.fixture(scope="module")
def sessions_of_agents(stack: Stack) -> None:
    """Store 250 sessions of one user and client, and others that must not show."""
    owner = {"user_id": USER, "client_id": CLIENT}
    hidden = f"ri.aip-agents..agent.{uuid.uuid4()}"
    expired = example("agent_session", agentRid=AGENTS[0], rid="ri.aip-agents..session.expired")
    expired["metadata"]["estimatedExpiresTime"] = "2026-01-02T00:00:00Z"
    other = example("agent_session", agentRid=AGENTS[0], rid="ri.aip-agents..session.other")
    stack.load(
        *lines_of("agent", {"viewers": ["*"]}, {"rid": AGENTS[0]}),
        *lines_of("agent", {"viewers": [f"user:{USER}"]}, {"rid": AGENTS[1]}),
        *lines_of("agent", {"viewers": ["group:support"]}, {"rid": AGENTS[2]}),
        *lines_of("agent", {"viewers": ["group:pilot"]}, {"rid": hidden}),
        *lines_of("agent_session", owner, *AGENT_SESSIONS, expired),
        *lines_of(
            "agent_session",
            owner,
            example("agent_session", agentRid=hidden, rid="ri.aip-agents..session.denied"),
            example("agent_session", agentRid=f"{hidden}x", rid="ri.aip-agents..session.unrecorded"),
        ),
        *lines_of("agent_session", {"user_id": USER, "client_id": "another"}, other),
        *lines_of("agent_session", {"user_id": "another", "client_id": CLIENT}, other),
    )


def agents_of(stack: Stack, token: str | None = None, **claims: Any) -> v2.FoundryClient:
    """Return Foundry's client, for a caller or with a token of its own."""
    if token is None:
        token = stack.token(USER, **{"client_id": CLIENT, "scopes": [SCOPE], "groups": ["support"], **claims})
    return v2.FoundryClient(
        auth=foundry_sdk.UserTokenAuth(token),
        hostname=stack.rest.removeprefix("http://"),
        config=foundry_sdk.Config(scheme="http", propagate_qos="PROPAGATE_429_AND_503_TO_CALLER", timeout=30),
    )


@pytest.mark.usefixtures("sessions_of_agents")
@pytest.mark.parametrize("page_size", [1, 2, 100, None, 1000])
def test_foundry_lists_all_sessions_once_and_in_order(stack: Stack, page_size: int | None) -> None:
    agent = agents_of(stack).aip_agents.Agent
    assert [each.rid for each in agent.all_sessions(page_size=page_size, preview=True)] == RIDS


@pytest.mark.usefixtures("sessions_of_agents")
def test_foundry_reads_every_session_as_it_was_written(stack: Stack) -> None:
    written = {item["rid"]: item for item in AGENT_SESSIONS}
    for session in agents_of(stack).aip_agents.Agent.all_sessions(preview=True):
        item = written[session.rid]
        assert (session.agent_rid, session.agent_version) == (item["agentRid"], item["agentVersion"])
        assert session.metadata.title == item["metadata"]["title"]
        assert session.metadata.message_count == item["metadata"]["messageCount"]
        # The client's times keep microseconds.
        assert session.metadata.updated_time.isoformat()[:26] == item["metadata"]["updatedTime"][:26]


@pytest.mark.usefixtures("sessions_of_agents")
def test_foundry_goes_on_from_a_token_in_another_client_and_page_size(stack: Stack) -> None:
    first = agents_of(stack).aip_agents.Agent.all_sessions(page_size=30, preview=True)
    assert [each.rid for each in first.data] == RIDS[:30]
    rest = agents_of(stack).aip_agents.Agent.all_sessions(
        page_size=77, page_token=first.next_page_token, preview=True
    )
    assert [each.rid for each in rest] == RIDS[30:]
    assert rest.next_page_token is None


def test_foundry_lists_nothing_for_a_stranger(stack: Stack) -> None:
    agent = agents_of(stack, stack.token(fresh_uuid(), client_id=CLIENT, scopes=[SCOPE])).aip_agents.Agent
    assert list(agent.all_sessions(preview=True)) == []


async def test_foundry_async_client_lists_all_sessions(stack: Stack, sessions_of_agents: None) -> None:
    assert sessions_of_agents is None
    token = stack.token(USER, client_id=CLIENT, scopes=[SCOPE], groups=["support"])
    client = v2.AsyncFoundryClient(
        auth=foundry_sdk.UserTokenAuth(token),
        hostname=stack.rest.removeprefix("http://"),
        config=foundry_sdk.Config(scheme="http"),
        preview=True,
    )
    found = [each.rid async for each in client.aip_agents.Agent.all_sessions(page_size=60, preview=True)]
    assert found == RIDS


Call = Callable[[Stack], Any]


def _all_sessions(stack: Stack, **options: Any) -> Any:
    return agents_of(stack).aip_agents.Agent.all_sessions(**options)


def _token_of_another(stack: Stack) -> str:
    page = agents_of(stack).aip_agents.Agent.all_sessions(page_size=1, preview=True)
    return str(page.next_page_token)


def _with_the_token_of_another(stack: Stack) -> Any:
    agent = agents_of(stack, client_id="another").aip_agents.Agent
    return agent.all_sessions(page_token=_token_of_another(stack), preview=True)


def _with_token(token: Callable[[Stack], str]) -> Call:
    return lambda stack: agents_of(stack, token(stack)).aip_agents.Agent.all_sessions(preview=True)


FAILURES: list[tuple[Call, type[foundry_sdk.PalantirRPCException], str, Any]] = [
    (
        _with_token(lambda _: "not.a.token"),
        foundry_sdk.UnauthorizedError,
        "Default:Unauthorized",
        {"error": "INVALID"},
    ),
    (
        _with_token(lambda stack: stack.token(USER, scopes=[SCOPE], expires_in=-timedelta(hours=1))),
        foundry_sdk.UnauthorizedError,
        "Default:Unauthorized",
        {"error": "EXPIRED"},
    ),
    (
        _with_token(lambda stack: stack.token(USER, scopes=["api:aip-agents-read"])),
        agent_errors.GetAllSessionsAgentsPermissionDenied,
        "GetAllSessionsAgentsPermissionDenied",
        {},
    ),
    (_all_sessions, foundry_sdk.BadRequestError, "ApiFeaturePreviewUsageOnly", {}),
    (
        lambda stack: _all_sessions(stack, preview=False, page_size=0),
        foundry_sdk.BadRequestError,
        "ApiFeaturePreviewUsageOnly",
        {},
    ),
    *(
        (
            lambda stack, size=size: _all_sessions(stack, preview=True, page_size=size),
            foundry_sdk.BadRequestError,
            "InvalidPageSize",
            {"pageSize": size},
        )
        for size in (0, -1, -(2**40))
    ),
    *(
        (
            lambda stack, token=token: _all_sessions(stack, preview=True, page_token=token),
            foundry_sdk.BadRequestError,
            "InvalidPageToken",
            {"pageToken": token},
        )
        for token in ("", "x", "v1.", "v1.QnVpbGQgdGhlIEZ1dHVyZQ", "v2.abc", "v1.é")
    ),
    (_with_the_token_of_another, foundry_sdk.BadRequestError, "InvalidPageToken", None),
    (
        lambda stack: agents_of(stack).aip_agents.Agent.get(AGENTS[0], preview=True),
        foundry_sdk.NotFoundError,
        "Default:NotFound",
        {},
    ),
]


@pytest.mark.usefixtures("sessions_of_agents")
@pytest.mark.parametrize(("call", "error", "name", "parameters"), FAILURES)
def test_foundry_raises_its_typed_error(
    stack: Stack, call: Call, error: type[foundry_sdk.PalantirRPCException], name: str, parameters: Any
) -> None:
    with pytest.raises(error) as caught:
        call(stack)
    assert caught.value.name == name
    assert uuid.UUID(caught.value.error_instance_id)
    if parameters is not None:
        assert caught.value.parameters == parameters


@pytest.mark.usefixtures("sessions_of_agents")
@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("", core_errors.ApiFeaturePreviewUsageOnly),
        ("?preview=true&pageSize=0", core_errors.InvalidPageSize),
        ("?preview=true&pageToken=x", core_errors.InvalidPageToken),
    ],
)
def test_foundry_knows_the_parameters_of_each_common_error(
    stack: Stack, query: str, error: type[foundry_sdk.PalantirRPCException]
) -> None:
    """The client has types for these errors, although this call does not ask for them."""
    token = stack.token(USER, client_id=CLIENT, scopes=[SCOPE])
    body = stack.get(f"/api/v2/aipAgents/agents/allSessions{query}", token).json()
    made = foundry_sdk._errors.deserialize_error(body, {error.__name__: error})  # noqa: SLF001 # its own reader
    assert isinstance(made, error)


def test_foundry_without_an_authorization_header_misses_credentials(stack: Stack) -> None:
    """The client always sends one; this row of the table is read by hand."""
    body = httpx.get(f"{stack.rest}/api/v2/aipAgents/agents/allSessions?preview=true").json()
    assert body["errorName"] == "Conjure:MissingCredentials"

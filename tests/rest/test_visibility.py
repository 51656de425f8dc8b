"""Who sees what: every sort of caller gets exactly the records that the contracts grant, of every kind."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Any

import httpx
import pytest

from tests.parts import (
    FOUNDRY,
    LONG_AGO,
    NEVER,
    ROBOTS,
    SCOPE,
    Body,
    agent_line,
    agent_rid,
    agent_session,
    line,
    message,
    robot,
    robot_session,
    session,
    session_rid,
    uid,
    user_session,
    xid,
)
from tests.stack import Stack, running_stack

PERMISSIONS = ((), (ROBOTS,), ("ADMINISTRATOR",), ("OTHER",))
SCOPES = ((), (SCOPE,), ("sessions:read", "sessions:write"))
GROUPS = ((), ("support",), ("support", "ada"))

# Names of one sort are also names of others: a user may be called as a tenant, a client or a group is.
USERS = ("ada", "bob", "acme", "console", "nobody")
TENANTS = ("acme", "other", "ada", "bob")
CLIENTS = ("console", "field-app", "ada")


@dataclass(frozen=True)
class Asker:
    """A caller, as its token describes it."""

    sub: str
    tenant: str | None = None
    client: str = ""
    permissions: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


@dataclass(frozen=True)
class Conversation:
    """An agent session: whose it is, through which client, with which agent, and whether it has expired."""

    user: str
    client: str
    agent: str
    expired: bool = False

    @property
    def body(self) -> Body:
        name = f"{self.agent}-{'old' if self.expired else 'new'}"
        return agent_session(name, self.agent, expires="2026-01-03T00:00:00Z" if self.expired else NEVER)


VIEWERS: dict[str, tuple[str, ...]] = {
    "everybody": ("*",),
    "nobody": (),
    "ada": ("user:ada",),
    "support": ("group:support",),
    "group-ada": ("group:ada",),
    "user-support": ("user:support",),
    "bob-or-support": ("user:bob", "group:support"),
    "others": ("user:eve", "group:eves"),
    "literal": ("user:*", "group:*"),
}
UNRECORDED = "unrecorded"
CONVERSATIONS = [
    Conversation(user, client, agent, expired)
    for user, client, agent, expired in product(
        ("ada", "bob", "console"), CLIENTS, (*VIEWERS, UNRECORDED), (False, True)
    )
]

ASKERS = [
    *(Asker(sub, tenant) for sub, tenant in product(USERS, (None, *TENANTS))),
    *(
        Asker(sub, tenant, client, permissions, scopes, groups)
        for sub, tenant, client, permissions, scopes, groups in product(
            ("ada", "bob"), (None, "acme"), ("", *CLIENTS), PERMISSIONS[:2], SCOPES[:2], GROUPS
        )
    ),
    *(Asker("console", None, "ada", permissions, scopes) for permissions in PERMISSIONS for scopes in SCOPES),
]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_stack(tmp_path_factory.mktemp("visibility") / "data") as running:
        running.load(
            # The same ids under every owner: they are different records.
            *(
                line("user_session", user_session(uuid=str(number), name=user), user_id=user)
                for user in USERS[:-1]
                for number in range(2)
            ),
            *(
                line("session", session(id=uid(number), situation=tenant), developer_id=tenant)
                for tenant in TENANTS
                for number in range(3)
            ),
            line("robot", robot()),
            line("robot_session", robot_session() | {"messages": [message()]}),
            *(agent_line(name, *viewers) for name, viewers in VIEWERS.items()),
            *(
                line("agent_session", each.body, user_id=each.user, client_id=each.client)
                for each in CONVERSATIONS
            ),
        )
        yield running


@pytest.fixture(scope="module")
def client(service: Stack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.rest, timeout=30) as made:
        yield made


def answers(service: Stack, client: httpx.Client, path: str) -> dict[Asker, httpx.Response]:
    """Return what every caller gets of a path."""
    return {asker: client.get(path, headers=_credentials(service, asker)) for asker in ASKERS}


@cache
def _credentials(service: Stack, asker: Asker) -> dict[str, str]:
    token = service.token(
        asker.sub,
        asker.tenant,
        client_id=asker.client,
        permissions=asker.permissions,
        scopes=asker.scopes,
        groups=asker.groups,
    )
    return {"authorization": f"Bearer {token}"}


def differences(seen: dict[Asker, Any], due: dict[Asker, Any]) -> dict[Asker, tuple[Any, Any]]:
    return {asker: (found, due[asker]) for asker, found in seen.items() if found != due[asker]}


def test_a_user_sees_strictly_the_own_user_sessions(service: Stack, client: httpx.Client) -> None:
    seen = {
        asker: sorted((item["name"], item["uuid"]) for item in answer.json())
        for asker, answer in answers(service, client, "/session").items()
    }
    due = {asker: [] if asker.sub == "nobody" else [(asker.sub, "0"), (asker.sub, "1")] for asker in ASKERS}
    assert differences(seen, due) == {}


@pytest.mark.parametrize("path", ["/sessions", "/api/sessions"])
def test_a_tenant_s_sessions_are_seen_by_all_its_callers_and_nobody_else(
    service: Stack, client: httpx.Client, path: str
) -> None:
    seen = {
        asker: sorted((item["situation"], item["id"]) for item in answer.json()["items"])
        for asker, answer in answers(service, client, path).items()
    }
    # A caller without a tenant is a tenant alone.
    tenants = {asker: asker.tenant or asker.sub for asker in ASKERS}
    due = {
        asker: [(tenant, uid(number)) for number in range(3)] if tenant in TENANTS else []
        for asker, tenant in tenants.items()
    }
    assert differences(seen, due) == {}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/robots", lambda body: [item["id"] for item in body["robots"]]),
        (f"/robots/{xid(1)}", lambda body: [body["id"]]),
        ("/robots/sessions", lambda body: [item["id"] for item in body["sessions"]]),
        (
            f"/robots/sessions/{xid(1)}",
            lambda body: [item["id"] for item in body["message_list"]["messages"]],
        ),
    ],
    ids=["robots", "robot", "sessions", "messages"],
)
def test_robots_are_seen_by_the_whole_team_and_nobody_else(
    service: Stack, client: httpx.Client, path: str, found: Any
) -> None:
    seen = {
        asker: found(answer.json()) if answer.is_success else answer.status_code
        for asker, answer in answers(service, client, path).items()
    }
    due = {
        asker: [xid(1)] if "USE_ROBOTS" in asker.permissions or "ADMINISTRATOR" in asker.permissions else 403
        for asker in ASKERS
    }
    assert differences(seen, due) == {}


def may_access(asker: Asker, agent: str) -> bool:
    """Say whether an agent is on record and lets a caller in."""
    for viewer in VIEWERS.get(agent, ()):
        if viewer == "*":
            return True
        sort, _, name = viewer.partition(":")
        if sort == "user" and name == asker.sub:
            return True
        if sort == "group" and name in asker.groups:
            return True
    return False


def test_agent_sessions_are_seen_by_their_user_through_their_client_if_the_agent_lets_in(
    service: Stack, client: httpx.Client
) -> None:
    seen = {
        asker: sorted(item["rid"] for item in answer.json()["data"])
        if answer.is_success
        else answer.status_code
        for asker, answer in answers(service, client, FOUNDRY).items()
    }
    due = {
        asker: sorted(
            each.body["rid"]
            for each in CONVERSATIONS
            if each.user == asker.sub
            and each.client == asker.client
            and not each.expired
            and may_access(asker, each.agent)
        )
        if SCOPE in asker.scopes
        else 403
        for asker in ASKERS
    }
    assert differences(seen, due) == {}
    # The matrix is worth something: some see nothing, some all that there is to see.
    assert {len(rids) for rids in due.values() if isinstance(rids, list)} >= {0, 1, 2, 4, 5}


def test_access_to_an_agent_counts_as_it_is_now(service: Stack, client: httpx.Client) -> None:
    asker = Asker("late", None, "console", (), (SCOPE,))
    service.load(line("agent_session", agent_session("late", "late"), user_id="late", client_id="console"))

    def rids() -> list[str]:
        answer = client.get(FOUNDRY, headers=_credentials(service, asker))
        return [item["rid"] for item in answer.json()["data"]]

    assert rids() == []
    for viewers, expected in (
        (("user:late",), [session_rid("late")]),
        ((), []),
        (("*",), [session_rid("late")]),
        (("group:late",), []),
    ):
        service.load(line("agent", {"rid": agent_rid("late")}, viewers=list(viewers)))
        assert rids() == expected


def test_an_agent_session_is_gone_from_the_moment_it_expires(service: Stack, client: httpx.Client) -> None:
    asker = Asker("brief", None, "console", (), (SCOPE,))
    for expires, count in ((NEVER, 1), (LONG_AGO, 0), ("9999-12-31T23:59:59.999999999Z", 1)):
        body = agent_session("brief", "everybody", expires=expires)
        service.load(line("agent_session", body, user_id="brief", client_id="console"))
        answer = client.get(FOUNDRY, headers=_credentials(service, asker))
        assert len(answer.json()["data"]) == count

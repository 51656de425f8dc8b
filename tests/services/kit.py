"""What tests of the typed services share: callers, records of every resource, refusals."""

import os
import signal
import subprocess
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import grpc
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2, status_pb2
from rollcall.v1 import (
    agent_session_pb2,
    agent_session_pb2_grpc,
    robot_pb2,
    robot_pb2_grpc,
    session_pb2,
    session_pb2_grpc,
    user_session_pb2,
    user_session_pb2_grpc,
)

from server.records.xid import new_xid
from tests.stack import ROLLCALL, Stack, free_port

READ, WRITE, AGENTS, ROBOTS = "sessions:read", "sessions:write", "api:aip-agents-write", "USE_ROBOTS"

OPTIONS = (("grpc.max_receive_message_length", 16 << 20), ("grpc.max_send_message_length", -1))
SECONDS = 30

STUBS: dict[str, Callable[[Any], Any]] = {
    "UserSessionService": user_session_pb2_grpc.UserSessionServiceStub,
    "SessionService": session_pb2_grpc.SessionServiceStub,
    "RobotService": robot_pb2_grpc.RobotServiceStub,
    "AgentSessionService": agent_session_pb2_grpc.AgentSessionServiceStub,
}
_DETAILS = {
    message.DESCRIPTOR.full_name: message
    for message in (
        error_details_pb2.ErrorInfo,
        error_details_pb2.BadRequest,
        error_details_pb2.ResourceInfo,
        error_details_pb2.RetryInfo,
    )
}


@dataclass(frozen=True)
class Refusal:
    """A failed call, its google.rpc.Status taken apart."""

    code: grpc.StatusCode
    message: str
    status: status_pb2.Status
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def reason(self) -> str:
        return str(self.details["ErrorInfo"].reason)

    @property
    def fields(self) -> list[str]:
        bad_request = self.details.get("BadRequest", error_details_pb2.BadRequest())
        return [violation.field for violation in bad_request.field_violations]


def refusal_of(error: Any) -> Refusal:
    """Return what a failed call of either sort of stub says."""
    status = status_pb2.Status()
    for name, value in error.trailing_metadata() or ():
        if name == "grpc-status-details-bin":
            status.MergeFromString(value)
    details = {}
    for packed in status.details:
        detail = _DETAILS[packed.type_url.rpartition("/")[2]]()
        assert packed.Unpack(detail)
        details[detail.DESCRIPTOR.name] = detail
    return Refusal(error.code(), error.details() or "", status, details)


@cache
def channel(address: str) -> grpc.Channel:
    return grpc.insecure_channel(address, options=OPTIONS)


def method_of(stubs: Any, request: Message) -> Any:
    """Return the stub's method that takes a request of this type."""
    service = next(iter(request.DESCRIPTOR.file.services_by_name))
    return getattr(stubs(service), request.DESCRIPTOR.name.removesuffix("Request"))


@dataclass(frozen=True)
class Caller:
    """Somebody who calls, by the generated stubs; each call's request says which RPC it is."""

    address: str
    token: str | None
    sub: str = ""
    tenant: str = ""
    client_id: str = ""

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        return () if self.token is None else (("authorization", f"Bearer {self.token}"),)

    def __call__(self, request: Message, timeout: float = SECONDS) -> Any:
        method = method_of(lambda service: STUBS[service](channel(self.address)), request)
        return method(request, metadata=self.metadata, timeout=timeout)

    def refused(self, request: Message) -> Refusal:
        """Return the refusal of a call that must fail."""
        try:
            answer = self(request)
        except grpc.RpcError as error:
            return refusal_of(error)
        raise AssertionError(f"{request.DESCRIPTOR.name} was answered: {answer!r:.500}")

    def code(self, request: Message) -> grpc.StatusCode:
        """Return how a call ends."""
        try:
            self(request)
        except grpc.RpcError as error:
            return refusal_of(error).code
        return grpc.StatusCode.OK


def caller(stack: Stack, sub: str = "", tenant: str = "", *scopes: str, **claims: Any) -> Caller:
    """Return a caller with these scopes; without a name, a stranger to all others."""
    sub = sub or f"u-{uuid.uuid4()}"
    tenant = tenant or f"t-{uuid.uuid4()}"
    client_id = claims.setdefault("client_id", "app")
    token = stack.token(sub, tenant, scopes=list(scopes), **claims)
    return Caller(stack.grpc, token, sub, tenant, client_id)


def writer(stack: Stack, sub: str = "", tenant: str = "", **claims: Any) -> Caller:
    """Return a caller that may do everything in its tenant."""
    return caller(stack, sub, tenant, WRITE, AGENTS, permissions=[ROBOTS], **claims)


@contextmanager
def serving(stack: Stack, **settings: object) -> Iterator[str]:
    """Run another server, over the same store unless told otherwise; yield its address."""
    address = f"127.0.0.1:{(port := free_port())}"
    wanted = {
        "grpc_port": port,
        "mongodb_uri": stack.settings.mongodb_uri.get_secret_value(),
        "mongodb_database": stack.settings.mongodb_database,
        "jwt_secret": stack.settings.secret("jwt_secret"),
        "page_token_keys": "k" * 32,
        "workers": 1,
    } | settings
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ROLLCALL_")}
    environment = kept | {f"ROLLCALL_{name.upper()}": str(value) for name, value in wanted.items()}
    process = subprocess.Popen(
        [ROLLCALL, "serve"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        ready = grpc.channel_ready_future(channel(address))
        while True:
            assert process.poll() is None, "the server has ended"
            with suppress(grpc.FutureTimeoutError):
                ready.result(0.5)
                break
        yield address
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(SECONDS)


# --- resources -------------------------------------------------------------------------------------


def at(seconds: int, nanos: int = 0) -> Timestamp:
    return Timestamp(seconds=seconds, nanos=nanos)


def uid() -> str:
    return str(uuid.uuid4())


def session_rid() -> str:
    return f"ri.aip-agents..session.{uid()}"


def agent_rid() -> str:
    return f"ri.aip-agents..agent.{uid()}"


def account(id_: str = "cc5lnd2s1s4652adtu50") -> robot_pb2.Account:
    return robot_pb2.Account(id=id_, joined=at(1), handle="ada", name="Ada")


def _with(changes: dict[str, Any], **defaults: Any) -> dict[str, Any]:
    return defaults | changes


def user_session(**changes: Any) -> user_session_pb2.UserSession:
    fields = _with(changes, session_id="s", response_mode="text", name="old", llm_context="context")
    return user_session_pb2.UserSession(**fields)


def session(**changes: Any) -> session_pb2.Session:
    return session_pb2.Session(**_with(changes, situation="old", summary="summary", token_budget=7))


def robot(**changes: Any) -> robot_pb2.Robot:
    return robot_pb2.Robot(**_with(changes, name="old", model="m", author=account(), tools=["t"]))


def robot_session(**changes: Any) -> robot_pb2.RobotSession:
    return robot_pb2.RobotSession(**_with(changes, name="old", created_by=account()))


def robot_message(**changes: Any) -> robot_pb2.RobotMessage:
    fields = _with(changes, role=robot_pb2.RobotMessage.ROLE_USER, parts=[{"text": "hi"}])
    return robot_pb2.RobotMessage(**fields)


def agent_session(**changes: Any) -> agent_session_pb2.AgentSession:
    metadata = agent_session_pb2.AgentSessionMetadata(title="title", message_count=3)
    fields = _with(changes, agent_rid="ri.aip-agents..agent.none", agent_version="old", metadata=metadata)
    return agent_session_pb2.AgentSession(**fields)


def agent(**changes: Any) -> agent_session_pb2.Agent:
    return agent_session_pb2.Agent(**_with(changes, viewers=["user:old", "*"]))


@dataclass(frozen=True)
class Resource:
    """One typed resource: how its requests are called, and a record that may be written.

    `label` is a field to change, from `old` to `new`; `changed` says when a record last changed.
    """

    name: str
    module: Any
    key: str
    new_key: Callable[[], str]
    key_form: str
    make: Callable[..., Any]
    label: str = "name"
    changed: str = "updated_at"
    born: str = "created_at"
    batches: bool = True

    def __str__(self) -> str:
        return self.name

    @property
    def title(self) -> str:
        return "".join(word.capitalize() for word in self.name.split("_"))

    def record(self, **changes: Any) -> Any:
        """Return a record with a key of its own."""
        return self.make(**{self.key: self.new_key()} | changes)

    def of(self, key: str, **changes: Any) -> Any:
        """Return a record that has this key and nothing else but the changes."""
        message = getattr(self.module, self.title)(**{self.key: key})
        for path, value in changes.items():
            if isinstance(value, list):
                getattr(message, path).extend(value)
            elif isinstance(value, Message):
                getattr(message, path).CopyFrom(value)
            else:
                setattr(message, path, value)
        return message

    def relabelled(self, key: str, to: str = "new") -> Any:
        return self.of(key, **{self.label: [f"user:{to}"] if self.label == "viewers" else to})

    def label_of(self, record: Any) -> str:
        value = getattr(record, self.label)
        return value if isinstance(value, str) else value[0].removeprefix("user:")

    def key_of(self, record: Any) -> str:
        return str(getattr(record, self.key))

    def create(self, record: Any, request_id: str = "") -> Any:
        request = getattr(self.module, f"Create{self.title}Request")
        return request(**{self.name: record, "request_id": request_id})

    def batch(self, records: Sequence[Any], request_ids: Sequence[str] = ()) -> Any:
        ids = [*request_ids, *[""] * (len(records) - len(request_ids))]
        requests = [self.create(record, id_) for record, id_ in zip(records, ids, strict=True)]
        return getattr(self.module, f"BatchCreate{self.title}sRequest")(requests=requests)

    def get(self, key: str, **owner: str) -> Any:
        return getattr(self.module, f"Get{self.title}Request")(**{self.key: key}, **owner)

    def update(self, record: Any, *mask: str, allow_missing: bool = False) -> Any:
        request = getattr(self.module, f"Update{self.title}Request")
        update_mask = FieldMask(paths=mask) if mask else None
        return request(**{self.name: record}, update_mask=update_mask, allow_missing=allow_missing)

    def delete(self, key: str, **options: Any) -> Any:
        return getattr(self.module, f"Delete{self.title}Request")(**{self.key: key}, **options)

    def listing(self, **arguments: Any) -> Any:
        return getattr(self.module, f"List{self.title}sRequest")(**arguments)

    def items(self, response: Any) -> list[Any]:
        return [*getattr(response, f"{self.name}s")]

    def keys(self, response: Any) -> list[str]:
        return [self.key_of(item) for item in self.items(response)]

    def pages(self, who: Caller, **arguments: Any) -> Iterator[Any]:
        """Yield every page of a list, by its tokens."""
        token = ""
        while True:
            page = who(self.listing(**arguments, page_token=token))
            yield page
            token = page.next_page_token
            if not token:
                return

    def walk(self, who: Caller, **arguments: Any) -> list[str]:
        """Return the keys of a whole list."""
        return [key for page in self.pages(who, **arguments) for key in self.keys(page)]


_UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_XID = r"[0-9a-v]{20}"

USER_SESSION = Resource("user_session", user_session_pb2, "uuid", uid, _UUID, user_session)
SESSION = Resource("session", session_pb2, "id", uid, _UUID, session, label="situation")
ROBOT = Resource("robot", robot_pb2, "id", new_xid, _XID, robot)
ROBOT_SESSION = Resource("robot_session", robot_pb2, "id", new_xid, _XID, robot_session)
AGENT_SESSION = Resource(
    "agent_session",
    agent_session_pb2,
    "rid",
    session_rid,
    rf"ri\.aip-agents\.\.session\.{_UUID}",
    agent_session,
    label="agent_version",
    changed="metadata.updated_time",
    born="metadata.created_time",
)
AGENT = Resource(
    "agent",
    agent_session_pb2,
    "rid",
    agent_rid,
    rf"ri\.aip-agents\.\.agent\.{_UUID}",
    agent,
    label="viewers",
    changed="",
    born="",
    batches=False,
)
RESOURCES = (USER_SESSION, SESSION, ROBOT, ROBOT_SESSION, AGENT_SESSION, AGENT)
TIMED = tuple(resource for resource in RESOURCES if resource.changed)
BATCHED = tuple(resource for resource in RESOURCES if resource.batches)


def value_at(record: Any, path: str) -> Any:
    for name in path.split("."):
        record = getattr(record, name)
    return record

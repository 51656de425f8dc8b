"""Bytes at every RPC, directly and through Envoy: each call ends as somebody meant it to."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given
from hypothesis import strategies as st
from rollcall.v1 import rest_pb2

from server.app import REST_SERVICE, TYPED_SERVICES
from tests.fuzz import wild
from tests.fuzz.report import fuzzing, tries
from tests.fuzz.verdict import Code, judge, quiet_log
from tests.services import kit
from tests.stack import Stack

SERVICES = (REST_SERVICE, *(service for service, _ in TYPED_SERVICES))
METHODS: tuple[MethodDescriptor, ...] = tuple(method for service in SERVICES for method in service.methods)
SECONDS = 30


@dataclass(frozen=True)
class Doors:
    """Where the service is called, and by whom."""

    addresses: tuple[str, str]
    token: str

    def call(self, address: str, method: MethodDescriptor, data: bytes, token: str) -> tuple[Code, str]:
        """Return how a call of raw bytes ends, and all that its error says."""
        channel = kit.channel(address)
        path = f"/{method.containing_service.full_name}/{method.name}"
        shape: Any = channel.unary_stream if method.server_streaming else channel.unary_unary
        metadata = (("authorization", token),) if token else ()
        try:
            answer: Any = shape(path)(data, metadata=metadata, timeout=SECONDS)
            if method.server_streaming:
                list(answer)
        except grpc.RpcError as error:
            known: Any = error
            said = (str(value) for _, value in known.trailing_metadata() or ())
            return known.code(), f"{known.details()} {' '.join(said)}"
        return Code.OK, ""


@pytest.fixture(scope="module")
def doors(stack: Stack) -> Iterator[Doors]:
    who = kit.writer(stack)
    with quiet_log(stack):
        yield Doors((stack.grpc, stack.envoy_grpc), f"Bearer {who.token}")


def methods() -> st.SearchStrategy[MethodDescriptor]:
    return st.sampled_from(METHODS)


@cache
def good(method: MethodDescriptor) -> Message:
    """Return a request that the method takes as it is, its record included."""
    request: Any = GetMessageClass(method.input_type)()
    for resource in kit.RESOURCES:
        verb = method.name.removesuffix(resource.title)
        if verb in {"Create", "Update"} and method.name.endswith(resource.title):
            getattr(request, resource.name).CopyFrom(resource.make())
        if method.name == f"BatchCreate{resource.title}s":
            getattr(request.requests.add(), resource.name).CopyFrom(resource.make())
    return cast("Message", request)


@tries(90, 5000)
@given(st.sampled_from((0, 1)), methods(), st.binary(max_size=64))
def test_random_bytes_are_answered_or_refused(
    doors: Doors, door: int, method: MethodDescriptor, data: bytes
) -> None:
    with fuzzing("RPCs: random bytes") as row:
        judge(row, *doors.call(doors.addresses[door], method, data, doors.token))


@tries(90, 5000)
@given(st.data(), st.sampled_from((0, 1)), methods())
def test_damaged_requests_are_answered_or_refused(
    doors: Doors, data: st.DataObject, door: int, method: MethodDescriptor
) -> None:
    sent = data.draw(wild.damaged(good(method).SerializeToString()))
    with fuzzing("RPCs: damaged requests") as row:
        judge(row, *doors.call(doors.addresses[door], method, sent, doors.token))


@tries(60, 6000)
@given(st.data(), st.sampled_from((0, 1)), methods())
def test_requests_of_wild_values_are_answered_or_refused(
    doors: Doors, data: st.DataObject, door: int, method: MethodDescriptor
) -> None:
    request = data.draw(wild.wilder(good(method)))
    with fuzzing("RPCs: wild values") as row:
        judge(row, *doors.call(doors.addresses[door], method, request.SerializeToString(), doors.token))


@tries(60, 1500)
@given(
    st.sampled_from((0, 1)),
    methods(),
    st.binary(max_size=64),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40),
)
def test_a_call_without_good_credentials_is_never_answered(
    doors: Doors, door: int, method: MethodDescriptor, data: bytes, token: str
) -> None:
    with fuzzing("RPCs: credentials") as row:
        code, text = doors.call(doors.addresses[door], method, data, token)
        judge(row, code, text)
        public = method.input_type.file is rest_pb2.DESCRIPTOR and not method.name.startswith(
            ("List", "GetRobot")
        )
        assert public or code is Code.UNAUTHENTICATED


@pytest.mark.usefixtures("doors")
def test_a_name_of_megabytes_is_refused_by_its_field(stack: Stack) -> None:
    who = kit.writer(stack)
    rid = f"ri.aip-agents..agent.{'x' * (5 << 20)}"
    refusals = [
        who.refused(kit.AGENT.create(kit.AGENT.record(rid=rid))),
        who.refused(kit.AGENT_SESSION.create(kit.AGENT_SESSION.record(agent_rid=rid))),
    ]
    assert [refusal.fields for refusal in refusals] == [["agent.rid"], ["agent_session.agent_rid"]]

"""What a documented call carries: whatever it is, it is read as parameters or ignored."""

import json
import time
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from rollcall.v1 import rest_pb2

from server.metadata import request_id
from server.records import session
from server.rest.call import read_fields, rest_call
from server.rest.session import metadata_filter
from tests.fuzz import wild
from tests.fuzz.report import fuzzing, tries

RPCS = rest_pb2.DESCRIPTOR.services_by_name["RestService"].methods


@tries(100, 3000)
@given(st.sampled_from(list(RPCS)), st.binary(max_size=40))
@example(RPCS[1], b"\xff" * 10_000)
@example(RPCS[1], b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f")
def test_bytes_of_a_documented_call_are_read_as_texts(rpc: Any, data: bytes) -> None:
    with fuzzing("parsers: parameters") as row:
        read = read_fields(rpc.input_type, data)
        assert all(isinstance(value, str) and value.encode() for value in read.values() if value)
        row.count(refused=False)


@tries(100, 3000)
@given(wild.any_texts(), st.dictionaries(wild.texts(), wild.texts(), max_size=2))
def test_any_original_path_is_read_as_parameters(path: str, bound: dict[str, str]) -> None:
    with fuzzing("parsers: parameters") as row:
        call = rest_call(bound, (("x-envoy-original-path", path), ("x-request-id", path)))
        assert all(isinstance(value, str) for value in call.query.values())
        assert request_id(call.metadata) is None or len(call.trace_id) == 36
        row.count(refused=False)


@tries(150, 4000)
@given(
    st.dictionaries(
        st.just("metadata_filter") | wild.texts().map("metadata_filter.{}".format),
        wild.texts() | wild.jsons().map(json.dumps),
        max_size=4,
    )
)
def test_a_metadata_filter_becomes_terms_and_nothing_else(query: dict[str, str]) -> None:
    with fuzzing("parsers: filters") as row:
        found = session.owned_by({"developer_id": "t"}, 1, metadata_filter=metadata_filter(query)).filter
        assert found.keys() <= {"owner", "terms"}
        terms = found.get("terms", "")
        if isinstance(terms, dict):
            assert list(terms) == ["$all"]
            terms = terms["$all"]
        assert all(
            type(term) is str and term[0] in "[#-"
            for term in ([terms] if type(terms) is str else terms)
            if term
        )
        row.count(refused=False)


def test_numbers_without_an_end_and_endless_fields_hold_up_nobody() -> None:
    rpc = next(rpc for rpc in RPCS if rpc.name == "ListSessions")
    for data in (b"\xff" * (16 << 20), b"\x0a\x00" * (8 << 20)):
        begun = time.process_time()
        read_fields(rpc.input_type, data)
        assert time.process_time() - begun < 2, "walking all of it takes far longer"

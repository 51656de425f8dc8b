"""Values of records: each is refused by the one documented error, or canonical for good."""

import json
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import example, given
from hypothesis import strategies as st

from server.records import agent, anyjson, fields, times
from server.records.violation import FieldError
from tests.fuzz import wild
from tests.fuzz.report import fuzzing, tries
from tests.fuzz.verdict import MAX_TEXT

CODECS = {
    "time": fields.TIME,
    "int32": fields.INTEGER,
    "number": fields.NUMBER,
    "flag": fields.FLAG,
    "name": fields.NAME,
    "label": fields.LABEL,
    "uuid": fields.UUID,
    "xid": fields.XID,
    "rid": agent.RID,
    "viewers": agent.VIEWERS,
    "object": fields.OBJECT,
}


@pytest.mark.parametrize("name", CODECS)
@tries(20, 800)
@given(value=wild.jsons())
def test_a_codec_refuses_a_value_or_makes_it_canonical_once_and_for_all(name: str, value: Any) -> None:
    codec = CODECS[name]
    with fuzzing("parsers: values") as row:
        refused = False
        try:
            checked = codec.check(value)
        except FieldError as error:
            refused = True
            assert len(str(error)) <= MAX_TEXT
        else:
            assert codec.check(checked) == checked
            json.dumps(checked, allow_nan=False).encode()
        row.count(refused=refused)


_DATES = st.from_regex(
    r"\A[0-9]{4}-[01][0-9]-[0-3][0-9][Tt][0-2][0-9]:[0-6][0-9]:[0-6][0-9](\.[0-9]{1,10})?([Zz]|[+-][0-9]{2}:[0-9]{2})\Z"
)


@tries(100, 3000)
@given(_DATES)
@example("0001-01-01T00:00:00+00:01")
@example("9999-12-31T23:59:59.999999999-00:01")
@example("2026-01-01T24:00:00Z")
def test_a_time_is_refused_or_comes_back_from_its_timestamp(text: str) -> None:
    with fuzzing("parsers: times") as row:
        refused = False
        try:
            canonical = times.canonical(text)
        except FieldError:
            refused = True
        else:
            assert times.from_proto(times.to_proto(canonical)) == canonical
            assert times.canonical(canonical) == canonical
            assert len(times.sortable(canonical)) == 30
        row.count(refused=refused)


@tries(50, 2000)
@given(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**31), 2**31 - 1))
def test_a_timestamp_is_refused_or_comes_back_from_its_text(seconds: int, nanos: int) -> None:
    with fuzzing("parsers: times") as row:
        refused = False
        try:
            text = times.from_proto(Timestamp(seconds=seconds, nanos=nanos))
        except FieldError:
            refused = True
        else:
            assert times.to_proto(text) == Timestamp(seconds=seconds, nanos=nanos)
        row.count(refused=refused)


@tries(100, 3000)
@given(wild.any_texts() | st.binary(max_size=40) | wild.jsons().map(json.dumps))
@example("[" * 100_000)
@example('{"a":' * 100_000)
@example("9" * 5000)
@example("-" + "9" * 5000)
@example(b"\xff\xfe[\x001\x00]\x00")
def test_what_is_not_json_is_one_error(data: str | bytes) -> None:
    with fuzzing("parsers: JSON") as row:
        refused = False
        try:
            anyjson.parse(data)
        except ValueError:
            refused = True
        row.count(refused=refused)

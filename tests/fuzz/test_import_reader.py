"""Import lines of any bytes: records, or the one error, which a terminal can print."""

import json
from typing import Any

import orjson
from hypothesis import example, given
from hypothesis import strategies as st

from server.app import KINDS
from server.commands.import_lines import read_line
from server.commands.importing import told
from server.records.violation import FieldError
from tests import parts
from tests.fuzz import wild
from tests.fuzz.report import fuzzing, tries

NAMES = {kind.name: kind for kind in KINDS}
MAX_TOLD = 1000

GOOD: tuple[parts.Body, ...] = (
    parts.line("user_session", parts.user_session(), user_id="ada"),
    parts.line("session", parts.session(), developer_id="acme"),
    parts.line("robot", parts.robot()),
    parts.line("robot_session", parts.robot_session(messages=[parts.message()])),
    parts.line("agent_session", parts.agent_session("s", "a"), user_id="ada", client_id="console"),
    parts.agent_line("a", "*"),
)


def judge(text: str | bytes) -> None:
    """Read a line; what is refused has a printable, short text."""
    with fuzzing("parsers: import lines") as row:
        refused = False
        try:
            records = read_line(NAMES, text)
        except FieldError as error:
            refused = True
            assert told(error).isprintable()
            assert len(told(error)) <= MAX_TOLD
        else:
            assert records
        row.count(refused=refused)


@tries(100, 4000)
@given(st.data(), st.sampled_from(GOOD))
def test_a_damaged_line_is_read_or_refused(data: st.DataObject, good: parts.Body) -> None:
    judge(data.draw(wild.damaged(orjson.dumps(good))))


@st.composite
def changed(draw: st.DrawFn, good: parts.Body) -> Any:
    """Return a line in which a value somewhere is any other, or has a key more."""
    line = orjson.loads(orjson.dumps(good))
    place = line
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = draw(st.sampled_from(keys)) if keys else None
        if key is None or not isinstance(place[key], (dict, list)) or draw(st.booleans()):
            break
        place = place[key]
    if isinstance(place, dict) and draw(st.booleans()):
        key = draw(wild.any_texts())
    if isinstance(place, list) and key is None:
        place.append(draw(wild.jsons()))
    else:
        place["more" if key is None else key] = draw(wild.jsons())
    return line


@tries(100, 4000)
@given(st.data(), st.sampled_from(GOOD))
def test_a_line_with_any_value_anywhere_is_read_or_refused(data: st.DataObject, good: parts.Body) -> None:
    judge(json.dumps(data.draw(changed(good))))


@tries(50, 2000)
@given(st.binary(max_size=60) | wild.any_texts())
@example(b"[" * 100_000)
@example(b'{"kind": "robot", "owner": {}, "body": {"\\ud800": 1}}')
@example(b'{"kind": "robot", "owner": {}, "body": {"\\u001b[2J": 1}}')
@example(b'{"kind": "robot", "owner": {"' + b"x" * 100_000 + b'": 1}, "body": {}}')
@example('{"kind": "agent", "owner": {"viewers": []}, "body": {"rid": "ri.a..b.' + "x" * 5_000_000 + '"}}')
def test_what_is_no_line_is_refused(text: str | bytes) -> None:
    judge(text)

"""Page tokens: only the very token, of its caller and its list, under a key that is known, opens."""

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from server.page_tokens import PREFIX, PageTokenError, PageTokens
from tests.fuzz import wild
from tests.fuzz.report import fuzzing, tries

HOUR = 3600
OLD, NEW, OTHER = ("o" * 32, "n" * 32, "x" * 32)
TOKENS = PageTokens([NEW, OLD], HOUR)
LIST = ("allSessions", "ada", "console")

positions = st.lists(wild.texts(), max_size=3)
bindings = st.lists(wild.texts(), max_size=3)


def refused(token: str, *bound_to: str) -> None:
    with fuzzing("parsers: page tokens") as row:
        row.count(refused=True)
        with pytest.raises(PageTokenError) as refusal:
            TOKENS.open(token, *bound_to)
        assert str(refusal.value) == ""


@tries(80, 3000)
@given(positions, bindings)
def test_a_token_gives_back_its_position(position: list[str], bound_to: list[str]) -> None:
    with fuzzing("parsers: page tokens") as row:
        row.count(refused=False)
        assert TOKENS.open(TOKENS.seal(position, *bound_to), *bound_to) == tuple(position)
        assert TOKENS.open(PageTokens([OLD], HOUR).seal(position, *bound_to), *bound_to) == tuple(position)


@tries(150, 4000)
@given(st.data(), positions)
def test_a_token_with_any_change_is_refused(data: st.DataObject, position: list[str]) -> None:
    token = TOKENS.seal(position, *LIST)
    changed = data.draw(wild.damaged(token.encode())).decode("latin-1")
    if changed != token:
        refused(changed, *LIST)


@tries(150, 4000)
@given(wild.any_texts() | wild.any_texts().map(PREFIX.__add__) | st.binary(max_size=80).map(bytes.hex))
@example("v1.")
@example("v1.=")
@example("v1." + "A" * 15)
@example("v1." + "A" * 100_000)
def test_text_that_is_no_token_is_refused(text: str) -> None:
    refused(text, *LIST)


@tries(50, 2000)
@given(positions, bindings, bindings)
@example([], ["a", "b"], ["ab"])
@example([], ['a", "b'], ["a", "b"])
@example([], [], [""])
def test_a_token_of_another_list_or_caller_is_refused(
    position: list[str], bound_to: list[str], others: list[str]
) -> None:
    if bound_to != others:
        refused(TOKENS.seal(position, *bound_to), *others)


@tries(20, 1000)
@given(positions)
def test_a_token_of_an_unknown_key_or_of_long_ago_is_refused(position: list[str]) -> None:
    refused(PageTokens([OTHER], HOUR).seal(position, *LIST), *LIST)
    long_ago = time.time() - HOUR - 2
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", lambda: long_ago)
        old = TOKENS.seal(position, *LIST)
    refused(old, *LIST)

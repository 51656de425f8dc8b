"""Inputs that coverage leads to, by atheris: `python -m tests.fuzz.guided tokens|lines RUNS`.

A process of its own, as libFuzzer ends the one in which it runs.
"""

import sys
from collections.abc import Callable

import atheris  # type: ignore[import-untyped,import-not-found,unused-ignore] # it has no types, nor a wheel for each Python

with atheris.instrument_imports(
    include=["server.page_tokens", "server.commands.import_lines", "server.records"]
):
    from server.app import KINDS
    from server.commands.import_lines import read_line
    from server.page_tokens import PageTokenError, PageTokens
    from server.records.violation import FieldError

NAMES = {kind.name: kind for kind in KINDS}
TOKENS = PageTokens(["k" * 32], 3600)


def tokens(data: bytes) -> None:
    """Open any text as a token; and what a key seals, as it is and with the text in its place."""
    text = data.decode(errors="surrogateescape" if len(data) % 2 else "replace")
    for token in (text, f"v1.{text}"):
        try:
            TOKENS.open(token, "list")
        except PageTokenError:
            continue
        raise AssertionError("a token was guessed")
    position = data.decode(errors="replace")
    if TOKENS.open(TOKENS.seal([position], position), position) != (position,):
        raise AssertionError("a position was lost")


def lines(data: bytes) -> None:
    """Read any bytes as an import line."""
    try:
        read_line(NAMES, data)
    except FieldError:
        return


TARGETS: dict[str, Callable[[bytes], None]] = {"tokens": tokens, "lines": lines}

if __name__ == "__main__":
    atheris.Setup(
        ["fuzz", f"-runs={sys.argv[2]}", "-max_len=4096", "-print_final_stats=1", *sys.argv[3:]],
        TARGETS[sys.argv[1]],
    )
    atheris.Fuzz()

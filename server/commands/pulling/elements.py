"""The elements of a JSON array of any length, one at a time."""

import re
from collections.abc import Iterator
from typing import IO

CHUNK_BYTES = 1 << 20

_OUTSIDE = re.compile(rb'"(?:[^"\\]+|\\.)*+"|["\[\]{},]', re.DOTALL)
"""A whole string, or a mark; a quote alone begins a string that its chunk does not end."""
_IN_STRING = re.compile(rb'["\\]')


def elements(stream: IO[bytes]) -> Iterator[bytes]:
    """Yield the text of each element; raise ValueError if the stream is not one whole array.

    An element is what lies between the array's own commas; whether it is JSON is not judged.
    """
    chunk = stream.read(CHUNK_BYTES).lstrip()
    if not chunk.startswith(b"["):
        raise ValueError("is not an array")
    parts: list[bytes] = []
    begin = place = depth = 1
    in_string = False
    between = False
    while chunk:
        while found := (_IN_STRING if in_string else _OUTSIDE).search(chunk, place):
            mark, place = found[0], found.end()
            if in_string or mark[:1] == b'"':
                in_string = mark == (b"\\" if in_string else b'"')
                place += mark == b"\\"  # what it escapes, which may begin the next chunk
                continue
            depth += (mark in b"[{") - (mark in b"]}")
            if depth > 1 or (depth == 1 and mark != b","):
                continue
            element = b"".join((*parts, chunk[begin : place - 1])).strip()
            parts, begin = [], place
            if element:
                yield element
            elif mark == b"," or between:
                raise ValueError("has a comma too many")
            between = mark == b","
            if depth == 0:
                _end(mark, chunk[place:], stream)
                return
        parts.append(chunk[begin:])
        begin, place = 0, max(0, place - len(chunk))
        chunk = stream.read(CHUNK_BYTES)
    raise ValueError("ends before its array")


def _end(mark: bytes, rest: bytes, stream: IO[bytes]) -> None:
    """Raise ValueError unless an array, and nothing else, ends here."""
    if mark != b"]" or rest.strip() or stream.read(CHUNK_BYTES).strip():
        raise ValueError("does not end with its array")

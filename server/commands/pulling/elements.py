"""The elements of a JSON array of any length, one at a time."""

import re
from collections.abc import Iterator
from typing import IO

CHUNK_BYTES = 1 << 20

_OUTSIDE = re.compile(rb'["\[\]{},]')
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
            if in_string:
                in_string = mark != b'"'
                place += mark == b"\\"  # what it escapes, which may begin the next chunk
                continue
            in_string = mark == b'"'
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
                if mark != b"]" or chunk[place:].strip() or stream.read(CHUNK_BYTES).strip():
                    raise ValueError("does not end with its array")
                return
        parts.append(chunk[begin:])
        begin, place = 0, max(0, place - len(chunk))
        chunk = stream.read(CHUNK_BYTES)
    raise ValueError("ends before its array")

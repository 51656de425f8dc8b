"""A documented GET call, as a REST module sees it."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from urllib.parse import parse_qsl

from google.protobuf.descriptor import Descriptor

from server.metadata import Metadata, header, request_id
from server.records.wire import LENGTH_DELIMITED, read_varint

ECHO_CHARS = 1000
"""How much of the caller's own input an error repeats."""

MAX_FIELDS = 20_000
"""More than a query has that the proxy lets through; a longer walk would hold up everybody's calls."""


@dataclass(frozen=True, slots=True)
class RestCall:
    """Parameters and metadata.

    `query` has the query's parameters as they were sent, the last of each name;
    `path` those of the path.  What was not UTF-8 has U+FFFD.
    """

    query: Mapping[str, str]
    path: Mapping[str, str]
    metadata: Metadata

    @property
    def trace_id(self) -> str:
        """The id of the request: the proxy's, or a fresh one."""
        return request_id(self.metadata) or str(uuid.uuid4())


def rest_call(fields: Mapping[str, str], metadata: Metadata) -> RestCall:
    """Return the call of a transcoded request.

    The original query wins over the bound fields: it knows an empty parameter from
    an absent one, and keys that no field has.  A direct caller may send none.
    """
    original = header(metadata, "x-envoy-original-path")
    if original is None:
        return RestCall(fields, fields, metadata)
    query = original.partition("?")[2].partition("#")[0]
    return RestCall(dict(parse_qsl(query, keep_blank_values=True, errors="replace")), fields, metadata)


def read_fields(descriptor: Descriptor, data: bytes) -> dict[str, str]:
    """Return the string fields of a serialized message by their JSON names; never raises.

    protobuf refuses a whole message for one byte that is not UTF-8, before any
    handler could answer in its contract's words.
    """
    names = _names(descriptor)
    fields: dict[str, str] = {}
    position = 0
    try:
        for _ in range(MAX_FIELDS):
            if position >= len(data):
                break
            tag, position = read_varint(data, position)
            length, position = read_varint(data, position)
            if tag & 7 != LENGTH_DELIMITED or tag >> 3 not in names:
                break
            fields[names[tag >> 3]] = data[position : position + length].decode(errors="replace")
            position += length
    except IndexError:
        pass  # A cut message means what came before the cut.
    return fields


@cache
def _names(descriptor: Descriptor) -> Mapping[int, str]:
    return {field.number: field.json_name for field in descriptor.fields}


def echoed(value: str) -> str:
    """Return the caller's input as an error may repeat it."""
    return value[:ECHO_CHARS]

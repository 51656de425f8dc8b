"""The record that a transcoded call's path names.

Envoy lets a key in the body win over the one in the path (`PATCH /v1/sessions/{session.id}`);
here the two must agree.  The original path is the caller's own text: it can only make the
caller's call be refused.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any
from urllib.parse import unquote

from google.api import annotations_pb2
from google.protobuf.descriptor import MethodDescriptor

from server.errors import InvalidArgumentError
from server.metadata import Metadata, header

_VERBS = ("get", "post", "patch", "delete")
_VARIABLE = re.compile(r"\{([a-z_]+(?:\.[a-z_]+)+)\}")


@dataclass(frozen=True, slots=True)
class PathKey:
    """A field in a request's record that a path names: `session.id` in `/v1/sessions/{session.id}`."""

    path: re.Pattern[str]
    field: str

    def check(self, request: Any, metadata: Metadata) -> None:
        """Raise InvalidArgumentError if a transcoded call's path names another record than its body."""
        original = header(metadata, "x-envoy-original-path")
        match = self.path.fullmatch(original.partition("?")[0]) if original else None
        if match is None:
            return
        if unquote(match[1]) != reduce(getattr, self.field.split("."), request):
            raise InvalidArgumentError(self.field, "must be what the path says")


def path_keys(method: MethodDescriptor) -> Sequence[PathKey]:
    """Return the record's fields that the paths of a method name."""
    rule = method.GetOptions().Extensions[annotations_pb2.http]
    templates = [getattr(rule, verb) for verb in _VERBS if getattr(rule, verb)]
    keys = []
    for template in templates:
        variable = _VARIABLE.search(template)
        if variable is not None:
            before, after = template[: variable.start()], template[variable.end() :]
            pattern = re.compile(f"{re.escape(before)}([^/]+){re.escape(after)}/?")
            keys.append(PathKey(pattern, variable[1]))
    return keys

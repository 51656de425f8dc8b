"""What a pull knows of a documented system."""

import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from server.commands.import_lines import Line
from server.commands.pulling.source import Source, SourceError
from server.commands.pulling.target import Target
from server.records.kind import Kind, Owner

Position = Mapping[str, Any]
"""Where a page begins, as JSON."""
Places = Mapping[str, Callable[[Any], bool]]
"""What a position has, and whether a value can be that."""


@dataclass(frozen=True, slots=True)
class Page:
    """Import lines; where the page behind them begins, None at the end; about how many items there are."""

    lines: Iterable[Line]
    after: Position | None = None
    total: int | None = None


Pages = Callable[[Source, Target, Owner, Position | None], AsyncIterator[Page]]


@dataclass(frozen=True, slots=True)
class System:
    """One documented system.

    - `kind`: what its list has; the kind's owner is what the operator names.
    - `pages`: the list from a position on.
    - `cookies`: the names of the cookie that its token may be, if it may.
    - `places`: what its positions have; nothing, if there are none.
    """

    kind: Kind
    pages: Pages
    cookies: tuple[str, ...] = ()
    places: Places = field(default_factory=dict)

    def headers(self, token: str, *, cookie: bool) -> dict[str, str]:
        """Return the documented headers that carry a token."""
        if cookie:
            return {"cookie": "; ".join(f"{name}={token}" for name in self.cookies)}
        return {"authorization": f"Bearer {token}"}


def is_count(value: Any) -> bool:
    """Return whether a value is a number of items."""
    return type(value) is int and value >= 0


def line_of(path: str, number: int, kind: Kind, owner: Mapping[str, Any], body: bytes) -> Line:
    """Return the import line of an item, the `number`th of a path's list."""
    head = json.dumps({"kind": kind.name, "owner": owner}).encode()
    return Line(path, number, b'%b,"body":%b}' % (head[:-1], body))


def text_of(item: Any) -> bytes:
    """Return an item's JSON; whatever was read can be written."""
    return json.dumps(item).encode()


def items_of(path: str, page: Mapping[str, Any], key: str) -> list[Any]:
    """Return the array of an envelope."""
    items = page.get(key)
    if type(items) is not list:
        raise SourceError(f"{path}: the answer has no array {key!r}: is --from the base URL of this system?")
    return items


def repeated(path: str, parameter: str) -> SourceError:
    """Return the error of a source that does not get ahead."""
    return SourceError(f"{path}: the source repeats its page: it does not heed {parameter!r}")

"""What a list asks of the store: data, no driver."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from server.records.kind import Kind, Order

ASC, DESC = 1, -1

Position = tuple[str, ...]
"""Where a page ended: the values of the fields of its order."""


@dataclass(frozen=True, slots=True)
class Query:
    """One indexed find.

    `order` is total: a time field and the id, or the id alone.  `after` continues behind a position;
    `skip` counts from there.
    """

    kind: Kind
    filter: Mapping[str, Any]
    order: Order
    limit: int
    skip: int = 0
    after: Position | None = None

    def where(self, **conditions: Any) -> "Query":
        """Return the query with further conditions."""
        return replace(self, filter={**self.filter, **conditions})

    def one_more(self) -> "Query":
        """Return the query with one record more, to know whether there are any."""
        return replace(self, limit=self.limit + 1)

    def skipping(self, skip: int) -> "Query":
        """Return the query from `skip` records further on."""
        return replace(self, skip=skip)

    def without(self, field: str, values: Collection[str]) -> "Query":
        """Return the query without records that have one of `values` in a field."""
        return self.where(**{field: {"$nin": sorted(values)}})

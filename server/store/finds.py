"""From a query to MongoDB's find: its filter, its order, its index, and what of a record it returns."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from server.records.kind import Kind, Order
from server.records.query import Position, Query


def find_command(query: Query, fields: Sequence[str]) -> dict[str, Any]:
    """Return the command that finds all of a query in one batch: `fields`, and the id."""
    return {
        "find": query.kind.collection,
        "filter": find_filter(query),
        "projection": projection((*fields, "id")),
        "sort": dict(query.order),
        "skip": query.skip,
        "limit": query.limit,
        "batchSize": query.limit + 1,
        "hint": dict(index_of(query)),
    }


def find_filter(query: Query) -> dict[str, Any]:
    """Return a query's filter, continued behind its position."""
    if query.after is None:
        return dict(query.filter)
    return {**query.filter, **_behind(query.after, query.order)}


def _behind(position: Position, order: Order) -> dict[str, Any]:
    """Return the keyset condition: the rest of the position's time, then other times.

    Each is a range of the index, and MongoDB merges the two in order: nothing is read that is not returned.
    """
    beyond = {1: "$gt", -1: "$lt"}
    *times, (id_field, id_sign) = order
    *bounds, id_ = position
    behind_id = {id_field: {beyond[id_sign]: id_}}
    if not times:
        return behind_id
    ((field, sign),), (bound,) = times, bounds
    return {"$or": [{field: bound, **behind_id}, {field: {beyond[sign]: bound}}]}


def index_of(query: Query) -> list[tuple[str, int]]:
    """Return the index that serves a query; raise LookupError if its kind declares none."""
    return _index_for(query.kind, _equalities(query.filter), query.order)


def _equalities(filter_: Mapping[str, Any]) -> frozenset[str]:
    """Return the fields that a filter pins to values, so that an index can begin with them."""
    return frozenset(
        name
        for name, condition in filter_.items()
        if type(condition) is not dict or name == "owner" or not condition.keys().isdisjoint(("$all", "$in"))
    )


@cache
def projection(fields: tuple[str, ...]) -> dict[str, int]:
    """Return what of a record a find returns: these fields, and no `_id`."""
    return {"_id": 0, **dict.fromkeys(fields, 1)}


@cache
def _index_for(kind: Kind, pinned: frozenset[str], order: Order) -> list[tuple[str, int]]:
    """Return the index that serves a filter and an order: equalities first, then the order.

    Naming it spares MongoDB the choice, and a wrong one.
    """
    wanted = [name for name, _ in order]
    best: Order | None = None
    reach = -1
    for index in kind.indexes:
        names = [name for name, _ in index]
        start = names.index(wanted[0]) if wanted[0] in names else -1
        if (
            start > reach
            and names[start : start + len(wanted)] == wanted
            and pinned.issuperset(names[:start])
        ):
            best, reach = index, start
    if best is None:
        raise LookupError(f"{kind.name} has no index for {sorted(pinned)} in the order {wanted}")
    return list(best)

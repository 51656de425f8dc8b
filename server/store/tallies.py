"""Counters of how many records there are, kept in the transactions that write them.

A counter is split into slots, so that writers seldom touch the same document.
"""

import secrets
from collections import Counter
from collections.abc import Iterable

from pymongo import UpdateOne
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase

from server.records.kind import Document, Kind

TALLIES = "tallies"
SLOTS = 32


def difference(kind: Kind, before: Iterable[Document], after: Iterable[Document]) -> Counter[str]:
    """Return by how much each counter changes when records `before` become records `after`."""
    change: Counter[str] = Counter()
    if kind.tallies is not None:
        for document in after:
            change.update(kind.tallies(document))
        for document in before:
            change.subtract(kind.tallies(document))
    return change


async def add(database: AsyncDatabase[Document], session: AsyncClientSession, change: Counter[str]) -> None:
    """Add to the counters, in the transaction of `session`."""
    slot = secrets.randbelow(SLOTS)
    updates = [
        UpdateOne({"_id": f"{tally}/{slot}"}, {"$inc": {"n": n}, "$set": {"tally": tally}}, upsert=True)
        for tally, n in sorted(change.items())
        if n
    ]
    if updates:
        await database[TALLIES].bulk_write(updates, session=session)

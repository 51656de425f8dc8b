"""API keys as they are stored: by digest."""

from collections.abc import Mapping, Sequence
from typing import Any

from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from server.errors import AlreadyExistsError, NotFoundError
from server.records.kind import Document
from server.store.failures import translated

API_KEYS = "api_keys"


class StoredKeys:
    """Each key is a document: its digest as `_id`, an `id` for people, the caller's claims, times."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self._keys = database[API_KEYS]

    async def find(self, digests: Sequence[str]) -> Document | None:
        """Return a key by one of the digests that it may be stored by."""
        with translated():
            return await self._keys.find_one({"_id": {"$in": list(digests)}})

    async def add(self, document: Mapping[str, Any], older: Sequence[str] = ()) -> None:
        """Store a key in the place of the same one under its older digests.

        Raises AlreadyExistsError if it is there under its new one; the older ones are gone then, too.
        """
        with translated():
            is_new = True
            try:
                await self._keys.insert_one(dict(document))
            except DuplicateKeyError:
                is_new = False
            # Also if it is there: a call before may have ended here, and one revocation must end the key.
            await self._keys.delete_many({"_id": {"$in": list(older)}})
        if not is_new:
            raise AlreadyExistsError("there is such a key already")

    async def all(self) -> list[Document]:
        """Return every key, oldest first."""
        with translated():
            return await self._keys.find().sort([("created", 1), ("_id", 1)]).to_list(None)

    async def revoke(self, id_: str) -> None:
        """Delete a key by its `id`; raise NotFoundError if there is none."""
        with translated():
            if not (await self._keys.delete_one({"id": id_})).deleted_count:
                raise NotFoundError(f"there is no key {id_}")

    async def count(self, subject: str, name: str) -> int:
        """Return how many keys stand for a "user" or a "tenant"."""
        with translated():
            return await self._keys.count_documents(_of(subject, name))

    async def erase(self, subject: str, name: str) -> None:
        """Delete every key that stands for a "user" or a "tenant"."""
        with translated():
            await self._keys.delete_many(_of(subject, name))


def _of(subject: str, name: str) -> Document:
    if subject == "user":
        return {"claims.sub": name}
    # Who has no tenant is its own.
    own = {"claims.sub": name, "claims.developer_id": {"$exists": False}}
    return {"$or": [{"claims.developer_id": name}, own]}

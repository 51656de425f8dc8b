"""API keys as they are stored: by digest."""

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

    async def find(self, digest: str) -> Document | None:
        """Return a key by its digest."""
        with translated():
            return await self._keys.find_one({"_id": digest})

    async def add(self, document: dict[str, Any]) -> None:
        """Store a key; raise AlreadyExistsError if it is there."""
        with translated():
            try:
                await self._keys.insert_one(document)
            except DuplicateKeyError:
                raise AlreadyExistsError("there is such a key already") from None

    async def all(self) -> list[Document]:
        """Return every key, oldest first."""
        with translated():
            return await self._keys.find().sort([("created", 1), ("_id", 1)]).to_list(None)

    async def revoke(self, id_: str) -> None:
        """Delete a key by its `id`; raise NotFoundError if there is none."""
        with translated():
            if not (await self._keys.delete_one({"id": id_})).deleted_count:
                raise NotFoundError(f"there is no key {id_}")

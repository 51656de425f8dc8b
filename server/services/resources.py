"""What every typed resource can do: get, create, batch create, update, delete.

A servicer says whose record it is and whether its caller may; here is how a record
is read, judged and written.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from server.errors import (
    AbortedError,
    AlreadyExistsError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
)
from server.records import times
from server.records.caller import Caller
from server.records.kind import PB, Document, Kind, Owner, framed, message_of, stored, unframed
from server.records.violation import FieldError
from server.store.reads import Reads
from server.store.writes import Creation, ExistsError, StaleError, Writes

MAX_BATCH = 1000
UPDATE_TRIES = 8

Visible = Callable[[Document], bool]
"""Whether the caller may see a stored record, by its facts."""


def everything(_: Document) -> bool:
    """See every record of the owner."""
    return True


def require_writer(caller: Caller) -> None:
    """Raise PermissionDeniedError unless the caller may write."""
    if not caller.may_write:
        raise PermissionDeniedError("The scope sessions:write is missing", reason="SCOPE_MISSING")


@dataclass(frozen=True, slots=True)
class Owned:
    """Whose record a request is about, and what it carries that REST does not print."""

    owner: Owner
    extra: Mapping[str, Any]


class Resources:
    """The typed records of one kind; `name` is the request field that carries one."""

    def __init__(self, kind: Kind, name: str, reads: Reads, writes: Writes) -> None:
        self._kind = kind
        self._name = name
        self._reads = reads
        self._writes = writes

    async def get(self, owner: Owner, key: str, visible: Visible = everything) -> bytes:
        """Return a serialized record; raise NotFoundError if the caller sees none."""
        row = await self._find(owner, key, visible)
        if row is None:
            raise self._missing(key)
        return unframed(row[PB])

    async def create(
        self, caller: Caller, requests: Sequence[Any], owned: Callable[[Any], Owned], where: str = ""
    ) -> list[bytes]:
        """Store new records, all or none, and return their framed messages in order.

        `owned` says whose each message is.  `where` names the field that the requests
        are an array of, if they are one.
        """
        require_writer(caller)
        if len(requests) > MAX_BATCH:
            raise InvalidArgumentError(where, f"must not have more than {MAX_BATCH} items")
        creations = []
        for index, request in enumerate(requests):
            path = f"{where}[{index}].{self._name}" if where else self._name
            message = getattr(request, self._name)
            document = self._document(message, owned(message), path)
            creations.append(
                Creation(
                    document, _request_key(caller, request), request.SerializeToString(deterministic=True)
                )
            )
        try:
            documents = await self._writes.create(self._kind, creations)
        except ExistsError as error:
            place = f"{where}[{error.index}]: " if where else ""
            raise AlreadyExistsError(
                f"{place}There is a {self._title} with this {self._kind.key}", **self._resource(error.key)
            ) from None
        return [document[PB] for document in documents]

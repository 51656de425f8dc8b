"""What every typed resource can do: get, create, batch create, update, delete.

A servicer says whose record it is and whether its caller may; here is how a record
is read, judged and written.
"""

import asyncio
import hashlib
import json
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from server import audit
from server.errors import (
    AbortedError,
    AlreadyExistsError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
)
from server.records import times
from server.records.caller import Caller
from server.records.fields import NAME, Codec
from server.records.kind import PB, Document, Kind, Owner, message_of, stored
from server.records.violation import FieldError
from server.records.wire import unframed
from server.services import masks
from server.store.reads import Reads
from server.store.writes import (
    Creation,
    ExistsError,
    GoneError,
    RequestIdError,
    StaleError,
    TooLargeError,
    Whole,
    WholeMissingError,
    Writes,
)
from server.turns import Turns

MAX_BATCH = 1000
MAX_REQUEST_ID_CHARS = 128
PAUSE_SECONDS = 0.05
"""How long, at most, a write waits before it is tried again because another one came between."""

Visible = Callable[[Document], Awaitable[bool]]
"""Whether the caller sees a record, by the stored fields that decide it."""

Complete = Callable[[Any, Owner], None]
"""Sets what a new record's writer left out, from its owner."""


async def everything(_: Document) -> bool:
    """See every record of the owner."""
    return True


def nothing_more(_: Any, __: Owner) -> None:
    """Leave a new record as its writer sent it."""


def require_writer(caller: Caller) -> None:
    """Raise PermissionDeniedError unless the caller may write."""
    if not caller.may_write:
        raise PermissionDeniedError("The scope sessions:write is missing", reason="SCOPE_MISSING")


@dataclass(frozen=True, slots=True)
class Owned:
    """Whose record it is, what else it carries that REST does not print, and what it is a part of."""

    owner: Owner
    extra: Mapping[str, Any]
    whole: Whole | None = None


class Resources:
    """The typed records of one kind; `field` is the request field that carries one."""

    def __init__(
        self, kind: Kind, field: str, reads: Reads, writes: Writes, complete: Complete = nothing_more
    ) -> None:
        self._kind = kind
        self._field = field
        self._reads = reads
        self._writes = writes
        self._complete = complete

    async def get(self, owner: Owner, key: str, visible: Visible = everything) -> bytes:
        """Return a record's message; raise NotFoundError if the caller sees none."""
        row = await self._find(owner, self._required_key(key, self._kind.key), visible)
        if row is None:
            raise self._missing(key)
        return unframed(row[PB])

    async def require(self, owner: Owner, key: str) -> None:
        """Raise NotFoundError if there is no such record."""
        if await self._reads.get(self._kind, owner, key) is None:
            raise self._missing(key)

    async def create(self, caller: Caller, request: Any, owned: Owned) -> bytes:
        """Store a new record and return its message."""
        require_writer(caller)
        record = getattr(request, self._field)
        judge = partial(self._creation, caller, request, owned, self._field)
        creation = await Turns().take(record.ByteSize(), judge)
        return unframed((await self._created(caller, [creation]))[0])

    async def batch_create(
        self, caller: Caller, requests: Sequence[Any], owned: Callable[[Any], Owned]
    ) -> bytes:
        """Store new records, all or none; return their messages as field 1 of a response.

        `owned` says whose the message of a request is.
        """
        require_writer(caller)
        if len(requests) > MAX_BATCH:
            raise InvalidArgumentError("requests", f"must not be more than {MAX_BATCH}")
        _check_distinct([request.request_id for request in requests])
        creations = []
        turns = Turns()
        for index, request in enumerate(requests):
            record = getattr(request, self._field)
            path = f"requests[{index}].{self._field}"
            judge = partial(self._creation, caller, request, owned(record), path)
            creations.append(await turns.take(record.ByteSize(), judge))
        return b"".join(await self._created(caller, creations, batch=True))

    async def update(
        self, caller: Caller, request: Any, owned: Owned, visible: Visible = everything
    ) -> bytes:
        """Change the masked fields of a record, or create it if that is allowed; return its message."""
        require_writer(caller)
        message = getattr(request, self._field)
        key = self._required_key(getattr(message, self._kind.key), f"{self._field}.{self._kind.key}")
        mask = masks.of(message, request.update_mask, self._field)
        while True:
            row = await self._find(owned.owner, key, visible)
            if row is None and request.allow_missing:
                judge = partial(self._new_document, message, owned, self._field)
                creation = Creation(await Turns().take(message.ByteSize(), judge))
                try:
                    return unframed((await self._created(caller, [creation]))[0])
                except AlreadyExistsError:
                    # Another call was first: this is an update, if the caller may see that record.
                    await self._pause()
                    if await self._find(owned.owner, key, visible) is None:
                        raise
                    continue
            if row is None:
                raise self._missing(key)
            if message.etag and message.etag != row["etag"]:
                raise self._stale(key)
            change = partial(self._changed, row, message, mask, owned)
            document = await Turns().take(message.ByteSize() + len(row[PB]), change)
            try:
                await self._writes.replace(self._kind, document, row["etag"])
            except StaleError:
                await self._pause()
                continue
            self._audit("update", caller, owned.owner, key)
            return unframed(document[PB])

    async def delete(
        self, caller: Caller, request: Any, owner: Owner, visible: Visible = everything
    ) -> bytes:
        """Delete a record and return what it was."""
        require_writer(caller)
        key = self._required_key(getattr(request, self._kind.key), self._kind.key)
        while True:
            row = await self._find(owner, key, visible)
            if row is None and request.allow_missing:
                return b""
            if row is None:
                raise self._missing(key)
            if request.etag and request.etag != row["etag"]:
                raise self._stale(key)
            try:
                await self._writes.delete(self._kind, self._kind.document_id(owner, key), row["etag"])
            except StaleError:
                continue
            self._audit("delete", caller, owner, key)
            return unframed(row[PB])

    def _audit(self, action: str, caller: Caller, owner: Owner, key: str) -> None:
        """Say who changed which record; never what is in it."""
        audit.by_caller(
            action,
            kind=self._kind.name,
            key=key,
            owner=dict(owner),
            by=caller.sub,
            tenant=caller.tenant,
        )

    async def _find(self, owner: Owner, key: str, visible: Visible) -> Document | None:
        fields = (PB, "etag", *self._kind.deciding)
        row = await self._reads.get(self._kind, owner, key, *fields)
        return row if row is not None and await visible(row) else None

    def _creation(self, caller: Caller, request: Any, owned: Owned, path: str) -> Creation:
        if not request.HasField(self._field):
            raise InvalidArgumentError(path, "is required")
        document = self._new_document(getattr(request, self._field), owned, path)
        if len(request.request_id) > MAX_REQUEST_ID_CHARS:
            field = f"{path.removesuffix(self._field)}request_id"
            raise InvalidArgumentError(field, f"must not be longer than {MAX_REQUEST_ID_CHARS} characters")
        if not request.request_id:
            return Creation(document, whole=owned.whole)
        asked = hashlib.sha256(request.SerializeToString(deterministic=True)).hexdigest()
        request_id = json.dumps([caller.tenant, caller.sub, self._kind.name, request.request_id])
        return Creation(document, request_id, asked, owned.whole)

    async def _created(
        self, caller: Caller, creations: Sequence[Creation], *, batch: bool = False
    ) -> list[bytes]:
        try:
            documents = await self._writes.create(self._kind, creations)
        except ExistsError as error:
            place = f"requests[{error.index}]: " if batch else ""
            key = creations[error.index].document["id"]
            raise AlreadyExistsError(
                f"{place}there is such a record already", resource_type=self._kind.name, resource_name=key
            ) from None
        except RequestIdError as error:
            place = f"requests[{error.index}].request_id" if batch else "request_id"
            raise InvalidArgumentError(
                place, "was used for another record", reason="REQUEST_ID_REUSED"
            ) from None
        except TooLargeError:
            place = "requests" if batch else self._field
            raise InvalidArgumentError(place, "must be fewer, or smaller, to be stored at once") from None
        except GoneError as error:
            raise self._missing(error.key) from None
        except WholeMissingError as error:
            whole = error.whole
            raise NotFoundError(
                "There is no such record", resource_type=whole.kind.name, resource_name=whole.id["id"]
            ) from None
        for creation, document in zip(creations, documents, strict=True):
            if document is creation.document:
                self._audit("create", caller, document["owner"], document["id"])
        return [document[PB] for document in documents]

    async def _pause(self) -> None:
        """Let other writers of the same record end; the call's deadline ends the tries."""
        await asyncio.sleep(random.uniform(0, PAUSE_SECONDS))  # noqa: S311 # no secret

    def _new_document(self, message: Message, owned: Owned, path: str) -> Document:
        self._complete(message, owned.owner)
        return self._document(message, owned, path)

    def _document(self, message: Message, owned: Owned, path: str) -> Document:
        """Return the document of a typed message.

        Raises InvalidArgumentError if its contract could not print it.
        """
        schema = self._kind.schema
        try:
            for name in self._kind.owner:
                _check(name, NAME, owned.owner[name])
            for name, codec in self._kind.extras.items():
                if owned.extra[name] or name not in self._kind.optional_extras:
                    _check(name, codec, owned.extra[name])
            return stored(self._kind, owned.owner, schema.check(schema.from_proto(message)), owned.extra)
        except FieldError as error:
            raise InvalidArgumentError(f"{path}.{error.proto_path}".rstrip("."), error.rule) from None

    def _changed(self, row: Document, message: Any, mask: FieldMask, owned: Owned) -> Document:
        current: Any = message_of(self._kind, row[PB])
        extra = {name: getattr(current, name) for name in self._kind.extras}
        masks.merge(message, current, mask)
        setattr(current, self._kind.key, getattr(message, self._kind.key))
        if self._kind.changed and not masks.covers(mask, self._kind.changed):
            *parents, last = self._kind.changed.split(".")
            parent = current
            for name in parents:
                parent = getattr(parent, name)
            getattr(parent, last).CopyFrom(times.to_proto(times.now()))
        for name in self._kind.extras.keys() - self._kind.optional_extras:
            extra[name] = list(getattr(current, name))
        return self._document(current, Owned(owned.owner, extra), self._field)

    def _required_key(self, key: str, field: str) -> str:
        if key:
            return key
        raise InvalidArgumentError(field, "is required")

    def _missing(self, key: str) -> NotFoundError:
        return NotFoundError("There is no such record", resource_type=self._kind.name, resource_name=key)

    def _stale(self, key: str) -> AbortedError:
        return AbortedError(
            "The record has changed: read it again", resource_type=self._kind.name, resource_name=key
        )


def _check(name: str, codec: Codec, value: Any) -> None:
    try:
        codec.check(value)
    except FieldError as error:
        raise error.within(name) from None


def _check_distinct(request_ids: Sequence[str]) -> None:
    seen: set[str] = set()
    for index, request_id in enumerate(request_ids):
        if request_id and request_id in seen:
            raise InvalidArgumentError(f"requests[{index}].request_id", "is that of an item before")
        seen.add(request_id)

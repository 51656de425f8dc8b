"""`rollcall key`: API keys in the store."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import orjson

from server import audit
from server.auth.api_keys import new_key
from server.commands.working import run_with_store
from server.records.caller import Caller
from server.settings import Settings
from server.store.api_keys import StoredKeys

T = TypeVar("T")


def add(
    settings: Settings, caller: Caller, lifetime: timedelta | None, imported: str | None
) -> tuple[str, str]:
    """Store a key for a caller; return its id and the key itself.

    Raises AlreadyExistsError if it is there, SettingsError if it cannot be a key.
    """
    new = new_key(caller, lifetime, imported, settings.secrets("api_key_secret"))
    _with_store(settings, lambda stored: stored.add(new.document, new.older))
    audit.by_operator("add_key", key=new.document["id"], user=caller.sub, tenant=caller.tenant)
    return new.document["id"], new.key


def lines(settings: Settings) -> list[str]:
    """Return a JSON line for each key."""
    shown = []
    for document in _with_store(settings, lambda stored: stored.all()):
        times = {name: _text(document[name]) for name in ("created", "expires")}
        line = {"id": document["id"], **document["claims"], **times}
        shown.append(orjson.dumps(line).decode())
    return shown


def revoke(settings: Settings, id_: str) -> None:
    """Delete a key; raise NotFoundError if there is none with this id."""
    _with_store(settings, lambda stored: stored.revoke(id_))
    audit.by_operator("revoke_key", key=id_)


def _with_store(settings: Settings, work: Callable[[StoredKeys], Awaitable[T]]) -> T:
    return run_with_store(settings, lambda connection: work(StoredKeys(connection.database)))


def _text(time: datetime | None) -> str | None:
    return None if time is None else time.replace(tzinfo=UTC).isoformat(timespec="seconds")

"""Whose records a typed call is about, and which of them its caller sees."""

from typing import Any

from server.errors import PermissionDeniedError
from server.records.caller import Caller
from server.records.kind import Document, Owner

IMPORTED = ""
"""The tenant of a record that no tenant's service wrote."""


def named(field: str, asked: str, own: str, caller: Caller) -> str:
    """Return the owner that a request names, or the caller's own.

    Raises PermissionDeniedError if the caller may not name others.
    """
    if asked and asked != own and not caller.may_name_owners:
        raise PermissionDeniedError(
            f"Naming another {field} needs the scope sessions:read", reason="SCOPE_MISSING"
        )
    return asked or own


class TenantView:
    """What a caller sees of an owner's records: all its own, of others those of its tenant."""

    def __init__(self, owner: Owner, own: Owner, caller: Caller) -> None:
        self._everything = owner == own
        self._tenants = (IMPORTED, caller.tenant)

    def conditions(self) -> dict[str, Any]:
        """Return the view as conditions of a query."""
        return {} if self._everything else {"tenant": {"$in": list(self._tenants)}}

    async def sees(self, record: Document) -> bool:
        """Return whether the view has a record."""
        return self._everything or record["tenant"] in self._tenants

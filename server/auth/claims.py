"""From verified claims to a Caller, whoever verified them: a token's, a key's, an issuer's answer."""

from typing import Any

from server.records import anyjson
from server.records.caller import Caller


def caller_of(claims: dict[str, Any]) -> Caller:
    """Return the caller of verified claims; raise ValueError if one has the wrong type."""
    sub = _string(claims, "sub")
    if not sub:
        raise ValueError("sub")
    return Caller(
        sub=sub,
        tenant=_string(claims, "developer_id") or sub,
        client_id=_string(claims, "client_id"),
        permissions=_strings(claims, "permissions"),
        scopes=frozenset(_string(claims, "scope").split()),
        groups=_strings(claims, "groups"),
    )


def claims_of(caller: Caller) -> dict[str, Any]:
    """Return the claims that name a caller, without those that are empty."""
    claims = {
        "sub": caller.sub,
        "developer_id": caller.tenant if caller.tenant != caller.sub else "",
        "client_id": caller.client_id,
        "permissions": sorted(caller.permissions),
        "scope": " ".join(sorted(caller.scopes)),
        "groups": sorted(caller.groups),
    }
    return {name: value for name, value in claims.items() if value}


def _string(claims: dict[str, Any], name: str) -> str:
    value = claims.get(name, "")
    if not isinstance(value, str):
        raise ValueError(name)  # noqa: TRY004 # any broken claim is one sort of error
    return anyjson.text(value)


def _strings(claims: dict[str, Any], name: str) -> frozenset[str]:
    value = claims.get(name, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError(name)
    return frozenset(map(anyjson.text, value))

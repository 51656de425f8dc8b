"""Where a call carries credentials: the authorization header and cookies."""

from collections.abc import Iterator
from urllib.parse import unquote

from server.metadata import Metadata, header


def bearer(metadata: Metadata) -> Iterator[str]:
    """Yield the token of `authorization: Bearer TOKEN`, if there is one."""
    scheme, _, token = (header(metadata, "authorization") or "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        yield token.strip()


def bearer_or_bare(metadata: Metadata) -> Iterator[str]:
    """Yield the token of `authorization: Bearer TOKEN` or `authorization: TOKEN`, if there is one."""
    value = (header(metadata, "authorization") or "").strip()
    if value:
        yield next(bearer(metadata), value)


def cookie(metadata: Metadata, name: str) -> Iterator[str]:
    """Yield the URL-decoded value of a cookie; of two of one name, the first."""
    for key, value in metadata:
        if key == "cookie":
            for part in (value if isinstance(value, str) else value.decode("latin-1")).split(";"):
                found, separator, content = part.strip().partition("=")
                if found == name and separator:
                    if content:
                        yield unquote(content.strip('"'))
                    return

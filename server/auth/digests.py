"""Digests of credentials: what is kept, compared and looked up instead of them.

Who measures how long a comparison takes learns about a digest, which leads to no
credential; so no compare here needs to take constant time.  Signatures are compared by
PyJWT and cryptography, which do.
"""

import hashlib
import hmac


def digest(credential: str) -> bytes:
    """Return the digest by which a credential's answer is cached in this process."""
    return hashlib.sha256(_encoded(credential)).digest()


def plain(key: str) -> str:
    """Return the stored digest of a key that was drawn at random."""
    return hashlib.sha256(_encoded(key)).hexdigest()


def keyed(key: str, secret: str) -> str:
    """Return the stored digest of a key that somebody else made."""
    return hmac.new(secret.encode(), b"rollcall api key\0" + _encoded(key), hashlib.sha256).hexdigest()


def _encoded(credential: str) -> bytes:
    # A caller can send anything: nothing here may raise.
    return credential.encode(errors="surrogatepass")

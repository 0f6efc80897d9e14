"""Opaque tokens: only their digests are stored."""

import hmac
import secrets

from kernel.digest import sha256_of

_BYTES = 32


def new_token() -> str:
    """Return a token that nobody can guess (256 bits)."""
    return secrets.token_urlsafe(_BYTES)


def digest(token: str) -> str:
    """Return what is stored of a token."""
    return sha256_of(token.encode())


def form_token(session_token: str) -> str:
    """Return the token that every form of a session carries.

    It is made from the session token, which scripts cannot read and other sites do not know, so
    that nothing more needs to be stored.
    """
    return sha256_of(b"telerad form\x1f", session_token.encode())


def same(one: str, other: str) -> bool:
    """Compare two secrets in constant time."""
    return hmac.compare_digest(one.encode(), other.encode())

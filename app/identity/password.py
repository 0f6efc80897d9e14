"""Passwords: argon2id, slow on purpose, so never inside a transaction or on the event loop."""

import threading

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from app.identity.errors import LoginInvalid

MIN_LENGTH = 8
MAX_LENGTH = 256  # bounds the work of one attempt
_AT_ONCE = 2  # each hashing takes 64 MiB and most of a core

_hasher = PasswordHasher()
_room = threading.BoundedSemaphore(_AT_ONCE)


def hash_of(password: str) -> str:
    """Return the argon2id hash of a new password, with its parameters and salt.

    Raises
    ------
    LoginInvalid
        The password is too short or too long.
    """
    if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
        raise LoginInvalid(f"a password has {MIN_LENGTH} to {MAX_LENGTH} characters")
    with _room:
        return _hasher.hash(password)


def fits(password: str, stored: str | None) -> bool:
    """Say whether the password is the one of the stored hash; takes as long when there is none."""
    if len(password) > MAX_LENGTH:
        return False
    with _room:
        try:
            return _hasher.verify(stored or _NOBODY, password) and stored is not None
        except (VerificationError, InvalidHashError):
            return False


# The hash of a password that nobody has: an unknown login must cost the same time as a known one.
_NOBODY = (
    "$argon2id$v=19$m=65536,t=3,p=4$Yk9vT3lLQ2tqVXpHa0lCag"
    "$0000000000000000000000000000000000000000000"
)

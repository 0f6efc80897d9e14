"""Digests of bytes and of plain values."""

import hashlib
import json
from collections.abc import Iterable


def sha256_of(*parts: bytes | bytearray | memoryview) -> str:
    """Return the SHA-256 of the parts in order, as 64 lower-case hex digits."""
    return sha256_of_all(parts)


def sha256_of_all(parts: Iterable[bytes | bytearray | memoryview]) -> str:
    """Return the SHA-256 of any number of parts in order, as 64 lower-case hex digits."""
    hasher = hashlib.sha256()
    for part in parts:
        hasher.update(part)
    return hasher.hexdigest()


def canonical_json(value: object) -> bytes:
    """Return the one JSON spelling of a plain value: sorted keys, no spaces, UTF-8.

    Floats are refused by the callers' types: their spelling is not unique across languages.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest_of_value(value: object) -> str:
    """Return the SHA-256 of the canonical JSON of a plain value."""
    return sha256_of(canonical_json(value))

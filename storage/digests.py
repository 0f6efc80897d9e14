"""Digests of stored bytes; each names its algorithm.

What is stored now is known by its BLAKE3, written ``blake3-`` and 64 lower-case hex digits.  64
digits alone are a SHA-256: of documents and plain values, and of all that versions before 0029
stored.  Both are 256 bits, and neither is known to be broken; BLAKE3 takes a fifth of the time
(J. O'Connor et al., *BLAKE3: one function, fast everywhere*, 2020; ADR 29).
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from blake3 import blake3

Bytes = bytes | bytearray | memoryview

BLAKE3 = "blake3-"
"""How a digest begins that is a BLAKE3; to `hashing` it means: as all that is stored now."""
SHA256 = ""
"""What stands before a SHA-256."""
_DIGEST_BYTES = 32  # of either algorithm
MAX_DIGEST = len(BLAKE3) + 2 * _DIGEST_BYTES
"""Characters of the longest digest as it is written."""

_READ_AT_ONCE = 1 << 20


class Hasher(Protocol):
    """Bytes go in piece by piece, in order."""

    @property
    def name(self) -> str:
        """The algorithm, in lower case."""

    def update(self, data: Bytes, /) -> object:
        """Take the next piece."""

    def digest(self) -> bytes:
        """Return the digest of what was taken so far."""


def hashing(like: str = BLAKE3) -> Hasher:
    """Begin a digest by the algorithm of another one."""
    return blake3() if like.startswith(BLAKE3) else hashlib.sha256()


def spelled(hasher: Hasher) -> str:
    """Return what a hasher found, as it is written."""
    return written(BLAKE3 if hasher.name == "blake3" else SHA256, hasher.digest())


def written(algorithm: str, digest: bytes) -> str:
    """Return a digest as it is written, `algorithm` being `BLAKE3` or `SHA256`."""
    return algorithm + digest.hex()


def digest_of(data: Bytes, *, like: str = BLAKE3) -> str:
    """Return the digest of bytes by the algorithm of another one."""
    return digest_of_all((data,), like=like)


def digest_of_all(pieces: Iterable[Bytes], *, like: str = BLAKE3) -> str:
    """Return the digest of pieces in order by the algorithm of another one."""
    hasher = hashing(like)
    for piece in pieces:
        hasher.update(piece)
    return spelled(hasher)


def digest_of_file(path: Path, *, like: str = BLAKE3) -> str:
    """Return the digest of a file by the algorithm of another one; it is read in pieces."""
    with path.open("rb") as file:
        return digest_of_all(iter(lambda: file.read(_READ_AT_ONCE), b""), like=like)


def are_alike(one: str, other: str) -> bool:
    """Say whether two digests are of one algorithm, so that they can be compared."""
    return one.startswith(BLAKE3) == other.startswith(BLAKE3)

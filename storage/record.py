"""How a record lies in a segment of the journal: a header, a note and the Part 10 bytes.

Records are aligned to `ALIGNMENT`::

    magic 8 | segment id 16 | note length u32 | body length u64 | digest 32 | crc32 u32

The magic says of which algorithm the digest is.  The segment id keeps the content of one record
from posing as the header of another, and lets a scan find the next record behind one that a crash
left half written.
"""

import json
import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from storage.digests import BLAKE3, SHA256, written

ALIGNMENT = 4096
MAX_NOTE_BYTES = 65_536

_ALGORITHMS = {b"TELERAD1": SHA256, b"TELERAD2": BLAKE3}
_MAGIC = b"TELERAD2"
_HEADER = struct.Struct("<8s16sIQ32sI")
HEADER_BYTES = _HEADER.size
_ENCODER = json.JSONEncoder(ensure_ascii=False)


class Place(NamedTuple):
    """Where one Part 10 file lies: `offset` and `length` in bytes within the segment."""

    segment: str
    offset: int
    length: int
    digest: str


@dataclass(frozen=True, slots=True)
class Record:
    """One record found by a scan."""

    place: Place
    note: Mapping[str, str]


def aligned(size: int) -> int:
    """Return a size rounded up to whole pages."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def encoded_note(note: Mapping[str, str] | bytes) -> bytes:
    """Encode what is kept beside the bytes, where that is not a JSON object already."""
    noted = note if isinstance(note, bytes) else _ENCODER.encode(dict(note)).encode()
    if len(noted) > MAX_NOTE_BYTES:
        raise ValueError(f"a journal note may have {MAX_NOTE_BYTES} bytes, not {len(noted)}")
    return noted


def to_whole_pages(noted: bytes, beginning: bytes) -> bytes:
    """Lengthen a note so that what follows the beginning of the body begins on a page.

    JSON takes blanks at its end.
    """
    size = HEADER_BYTES + len(noted) + len(beginning)
    return noted + b" " * (aligned(size) - size)


def header(segment_id: bytes, noted: bytes, length: int, digest: bytes) -> bytes:
    """Encode the header of a record; `length` in bytes and BLAKE3 are of its body."""
    head = _HEADER.pack(_MAGIC, segment_id, len(noted), length, digest, 0)[:-4]
    return head + struct.pack("<I", zlib.crc32(noted, zlib.crc32(head)))


def scan(path: Path) -> Iterator[Record]:
    """Yield every record of a segment, without its body."""
    fd = os.open(path, os.O_RDONLY)
    try:
        size = os.fstat(fd).st_size
        offset, owner = 0, None
        while offset + HEADER_BYTES <= size:
            found = None
            if os.pread(fd, len(_MAGIC), offset) in _ALGORITHMS:
                longest = HEADER_BYTES + MAX_NOTE_BYTES + ALIGNMENT
                found = _parse(os.pread(fd, longest, offset), owner)
            if found is None or offset + found.size > size:
                offset += ALIGNMENT
                continue
            owner = found.owner
            start = offset + found.size - found.length
            yield Record(Place(path.name, start, found.length, found.digest), found.note)
            offset += aligned(found.size)
    finally:
        os.close(fd)


@dataclass(frozen=True)
class _Found:
    owner: bytes
    note: Mapping[str, str]
    length: int
    digest: str
    size: int  # of header, note and body together


def _parse(data: bytes, owner: bytes | None) -> _Found | None:
    """Read a record's header and note; None where no whole header of this segment begins."""
    if len(data) < HEADER_BYTES:
        return None
    magic, found_owner, note_length, length, digest, crc = _HEADER.unpack_from(data)
    noted = data[HEADER_BYTES : HEADER_BYTES + note_length]
    if magic not in _ALGORITHMS or zlib.crc32(noted, zlib.crc32(data[: HEADER_BYTES - 4])) != crc:
        return None
    if owner is not None and found_owner != owner:
        return None
    size = HEADER_BYTES + note_length + length
    spelled = written(_ALGORITHMS[magic], digest)
    return _Found(found_owner, json.loads(noted), length, spelled, size)

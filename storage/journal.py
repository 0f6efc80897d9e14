"""The journal: received bytes, durable before anyone is told so.

Instances are appended to preallocated, zero-filled segment files.  `Journal.append` returns once
an ``fdatasync`` that began after its bytes were written has ended; associations that append at the
same time share one (group commit), so durability costs one flush a group and not three a file.

A record is a fixed header, a note (JSON) and the Part 10 bytes, aligned to `ALIGNMENT`::

    magic 8 | segment id 16 | note length u32 | body length u64 | sha256 32 | crc32 u32

The segment id keeps the content of one record from posing as the header of another, and lets a
scan find the next record behind one that a crash left half written.
"""

import contextlib
import errno
import hashlib
import json
import os
import struct
import threading
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from kernel.errors import Corrupt, NotFound, Transient
from kernel.ids import fresh
from storage.segment import (
    Bytes,
    Segment,
    begin_part,
    discard,
    is_held,
    publish,
    sync_directory,
    write_at,
    zero_filled,
)
from storage.spare import Spare

SEGMENT_BYTES = 64 << 20
ALIGNMENT = 4096
MAX_NOTE_BYTES = 65_536

_MAGIC = b"TELERAD1"
_HEADER = struct.Struct("<8s16sIQ32sI")
_FULL = (errno.ENOSPC, errno.EDQUOT)


class JournalFull(Transient):
    """The disk of the journal has no room; nothing was accepted."""

    code = "storage.journal_full"


class PlaceLost(Corrupt):
    """The bytes that a place names are not there, or are not the bytes that were stored."""

    code = "storage.place_lost"


class SegmentElsewhere(Transient):
    """The segment lies on another node and its study is not packed yet."""

    code = "storage.segment_elsewhere"


class NoSuchPlace(NotFound):
    """The segment was freed: the study lies in its pack."""

    code = "storage.no_such_place"


@dataclass(frozen=True, slots=True)
class Place:
    """Where one Part 10 file lies: `offset` and `length` in bytes within the segment."""

    segment: str
    offset: int
    length: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Record:
    """One record found by a scan."""

    place: Place
    note: Mapping[str, str]


class Journal:
    """The journal of one node.

    Parameters
    ----------
    directory
        Where the segments lie; made if missing.
    node
        The name of this node: a part of each segment's name, so that others know whose it is.
    segment_bytes
        Size of a segment, in bytes; a larger record gets a segment of its own.
    """

    def __init__(self, directory: Path, *, node: str, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.directory = directory
        self.node = node
        self._segment_bytes = segment_bytes
        self._reserve_lock = threading.Lock()
        self._current: Segment | None = None
        self._spare = Spare(self._made)
        directory.mkdir(parents=True, exist_ok=True)

    def prepare(self) -> None:
        """Clear what a crash left half made; make the first segment, and the next one, ahead.

        Without it the journal serves as well, but appends wait for each new segment.
        """
        for part in self.directory.glob(f"{self.node}-*.part"):
            with contextlib.suppress(FileNotFoundError):  # its process finished it meanwhile
                if not is_held(part):
                    part.unlink()
        with self._reserve_lock:
            self._room(0)
            self._spare.keep_ready()

    def append(self, note: Mapping[str, str], *parts: Bytes) -> Place:
        """Store one Part 10 file, given as parts in order; return when it is durable.

        Raises
        ------
        JournalFull
            The disk has no room; the journal goes on when there is room again.
        """
        noted = _note(note)
        length = sum(len(part) for part in parts)
        digest = _sha256(parts)
        try:
            segment, offset = self._reserve(_HEADER.size + len(noted) + length)
            header = _header(segment.id, noted, length, digest)
            self._write(segment, offset, [header, noted, *parts])
        except OSError as error:
            raise _full_or(error) from error
        return Place(segment.path.name, offset + _HEADER.size + len(noted), length, digest.hex())

    def spool(self, note: Mapping[str, str]) -> "LargeRecord":
        """Begin a record whose length is not known yet, in a segment of its own."""
        return LargeRecord(self.directory / self._name(), _note(note))

    def read(self, place: Place, *, start: int = 0, length: int | None = None) -> bytes:
        """Return the bytes of a place, or of a range within it.

        Raises
        ------
        SegmentElsewhere
            The segment belongs to another node.
        NoSuchPlace
            The segment was freed; ask the archive index again.
        PlaceLost
            The whole was read and is not what was stored.
        """
        if not place.segment.startswith(f"{self.node}-"):
            raise SegmentElsewhere("the bytes still lie in the journal of another node")
        wanted = place.length - start if length is None else min(length, place.length - start)
        try:
            fd = os.open(self.directory / place.segment, os.O_RDONLY)
        except FileNotFoundError as error:
            raise NoSuchPlace("the journal segment was freed", segment=place.segment) from error
        try:
            data = os.pread(fd, wanted, place.offset + start)
            while len(data) < wanted:  # pread gives at most 2 GiB at a time
                more = os.pread(fd, wanted - len(data), place.offset + start + len(data))
                if not more:
                    raise PlaceLost("a journal segment is shorter than its index says")
                data += more
        finally:
            os.close(fd)
        if wanted == place.length and hashlib.sha256(data).hexdigest() != place.sha256:
            raise PlaceLost("journal bytes do not match their digest", segment=place.segment)
        return data

    def scan(self) -> Iterator[Record]:
        """Yield every record of every segment, the oldest segment first, without its body.

        A record may be one that a crash left half written: `is_whole` tells.
        """
        for path in self.segments():
            yield from _scan(path)

    def records_of(self, name: str) -> list[Record]:
        """Return the records of one segment."""
        return list(_scan(self.directory / name))

    def is_whole(self, place: Place) -> bool:
        """Re-read a record and say whether its bytes have its digest."""
        try:
            self.read(place)
        except PlaceLost:
            return False
        return True

    def segments(self) -> list[Path]:
        """Return the segments in the order in which they were begun."""
        return sorted(self.directory.glob(f"{self.node}-*.seg"), key=lambda p: p.stat().st_mtime_ns)

    def is_in_use(self, name: str) -> bool:
        """Say whether a living process, this or another, still appends to a segment."""
        return is_held(self.directory / name)

    def rotate(self) -> None:
        """Begin a new segment, so that the current one can be freed once it is packed."""
        with self._reserve_lock:
            if self._current is not None and self._current.used:
                self._retire(self._current)
                self._current = None

    def free(self, name: str) -> None:
        """Delete a segment whose records all lie in verified packs; one in use is left alone."""
        if self.is_in_use(name):
            return
        (self.directory / name).unlink(missing_ok=True)
        sync_directory(self.directory)

    def close(self) -> None:
        """Close the current segment; what was acknowledged is durable already."""
        with self._reserve_lock:
            if self._current is not None:
                os.close(self._current.fd)
                self._current = None
            self._spare.close()

    def _made(self) -> Segment:
        return zero_filled(self.directory / self._name(), self._segment_bytes)

    def _name(self) -> str:
        return f"{self.node}-{fresh()}.seg"

    def _reserve(self, size: int) -> tuple[Segment, int]:
        with self._reserve_lock:
            segment = self._room(size)
            offset = segment.used
            segment.used += _aligned(size)
            with segment.changed:
                segment.writers += 1
            return segment, offset

    def _room(self, size: int) -> Segment:
        current = self._current
        if current is not None and current.failure is None and current.used + size <= current.size:
            return current
        following = self._following(size)
        if current is not None:
            self._retire(current)
        self._current = following
        return following

    def _following(self, size: int) -> Segment:
        if size > self._segment_bytes:
            made = zero_filled(self.directory / self._name(), _aligned(size))
        else:
            made = self._spare.take() or self._made()
        try:
            publish(made)
        except OSError:
            discard(made)
            raise
        return made

    def _retire(self, segment: Segment) -> None:
        """Close a segment once its last writer is done."""

        def close_when_idle() -> None:
            with segment.changed:
                segment.changed.wait_for(
                    lambda: (
                        segment.writers == 0
                        and not segment.flushing
                        and (segment.synced >= segment.written or segment.failure is not None)
                    )
                )
            os.close(segment.fd)

        threading.Thread(target=close_when_idle, name="journal-retire", daemon=True).start()

    def _write(self, segment: Segment, offset: int, parts: list[Bytes]) -> None:
        failure: OSError | None = None
        try:
            write_at(segment.fd, parts, offset)
        except OSError as error:
            failure = error
        with segment.changed:
            segment.writers -= 1
            segment.written += 1
            ticket = segment.written
            segment.changed.notify_all()
        if failure is not None:
            raise failure
        segment.wait_synced(ticket)


class LargeRecord:
    """A record written as it arrives, in a segment of its own."""

    def __init__(self, path: Path, noted: bytes) -> None:
        self._path = path
        self._noted = noted
        self._id = os.urandom(16)
        self._hash = hashlib.sha256()
        self._length = 0
        try:
            self._fd = begin_part(path)
        except OSError as error:
            raise _full_or(error) from error

    def write(self, chunk: Bytes) -> None:
        """Add bytes.

        Raises
        ------
        JournalFull
            The disk has no room.
        """
        start = _HEADER.size + len(self._noted) + self._length
        try:
            write_at(self._fd, [chunk], start)
        except OSError as error:
            raise _full_or(error) from error
        self._hash.update(chunk)
        self._length += len(chunk)

    def commit(self) -> Place:
        """Make the record durable and return its place."""
        header = _header(self._id, self._noted, self._length, self._hash.digest())
        try:
            write_at(self._fd, [header, self._noted], 0)
            os.fsync(self._fd)
            self._path.with_suffix(".part").rename(self._path)
            sync_directory(self._path.parent)
        except OSError as error:
            raise _full_or(error) from error
        finally:
            os.close(self._fd)
        offset = _HEADER.size + len(self._noted)
        return Place(self._path.name, offset, self._length, self._hash.hexdigest())

    def discard(self) -> None:
        """Give the record up, as when the association was cut."""
        os.close(self._fd)
        self._path.with_suffix(".part").unlink(missing_ok=True)


def _scan(path: Path) -> Iterator[Record]:
    fd = os.open(path, os.O_RDONLY)
    try:
        size = os.fstat(fd).st_size
        offset, owner = 0, None
        while offset + _HEADER.size <= size:
            found = None
            if os.pread(fd, len(_MAGIC), offset) == _MAGIC:
                found = _parse(os.pread(fd, _HEADER.size + MAX_NOTE_BYTES, offset), owner)
            if found is None or offset + found.size > size:
                offset += ALIGNMENT
                continue
            owner = found.owner
            start = offset + found.size - found.length
            yield Record(Place(path.name, start, found.length, found.sha256), found.note)
            offset += _aligned(found.size)
    finally:
        os.close(fd)


def _header(segment_id: bytes, noted: bytes, length: int, digest: bytes) -> bytes:
    head = _HEADER.pack(_MAGIC, segment_id, len(noted), length, digest, 0)[:-4]
    return head + struct.pack("<I", zlib.crc32(noted, zlib.crc32(head)))


@dataclass(frozen=True)
class _Found:
    owner: bytes
    note: Mapping[str, str]
    length: int
    sha256: str
    size: int  # of header, note and body together


def _parse(data: bytes, owner: bytes | None) -> _Found | None:
    """Read a record's header and note; None where no whole header of this segment begins."""
    if len(data) < _HEADER.size or not data.startswith(_MAGIC):
        return None
    _magic, found_owner, note_length, length, digest, crc = _HEADER.unpack_from(data)
    noted = data[_HEADER.size : _HEADER.size + note_length]
    if zlib.crc32(noted, zlib.crc32(data[: _HEADER.size - 4])) != crc:
        return None
    if owner is not None and found_owner != owner:
        return None
    size = _HEADER.size + note_length + length
    return _Found(found_owner, json.loads(noted), length, digest.hex(), size)


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _note(note: Mapping[str, str]) -> bytes:
    noted = json.dumps(dict(note), ensure_ascii=False).encode()
    if len(noted) > MAX_NOTE_BYTES:
        raise ValueError(f"a journal note may have {MAX_NOTE_BYTES} bytes, not {len(noted)}")
    return noted


def _sha256(parts: tuple[Bytes, ...]) -> bytes:
    hasher = hashlib.sha256()
    for part in parts:
        hasher.update(part)
    return hasher.digest()


def _full_or(error: OSError) -> Exception:
    if error.errno in _FULL:
        return JournalFull("the disk of the journal is full: nothing was accepted")
    return error

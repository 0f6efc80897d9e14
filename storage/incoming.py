"""One record on its way into the journal: hashed while it arrives, written from where it lies."""

import os
from functools import partial
from typing import Protocol

from storage.digests import hashing, spelled
from storage.frame import Frame
from storage.record import ALIGNMENT, HEADER_BYTES, Place, header, to_whole_pages
from storage.segment import Segment, full_or, write_at
from storage.write_behind import WriteBehind

_HASHED_AT_ONCE = 256 << 10
"""Each step is a turn at the interpreter, and BLAKE3 takes whole subtrees of the body at once."""


class Room(Protocol):
    """Where a record can lie; the journal."""

    def reserve(self, size: int) -> tuple[Segment, int]:
        """Give room for a record of known size."""

    def lend(self) -> Segment:
        """Lend a segment to a record that is not all here yet."""

    def give_back(self, segment: Segment) -> None:
        """Take it back."""


class Incoming:
    """A record whose body is filled into a frame, piece by piece.

    A body that the frame holds is written at once, when it is all here; a longer one in pieces,
    each while the next one arrives, into a segment that is lent to it alone.  Its header comes
    last: what a crash leaves half written is no record.
    """

    def __init__(self, room: Room, noted: bytes, beginning: bytes, frame: Frame) -> None:
        self._room = room
        self._noted = to_whole_pages(noted, beginning)
        self._beginning = beginning
        self._front_bytes = HEADER_BYTES + len(self._noted) + len(beginning)
        self._frame = frame
        self._hash = hashing()
        self._hash.update(beginning)
        self._lent: Segment | None = None
        self._behind = WriteBehind()
        self._unflushed: tuple[Segment, int] | None = None
        self._written = 0
        self._used = 0
        self._hashed = 0  # of what is filled and not written

    @property
    def length(self) -> int:
        """Bytes filled so far, without the beginning."""
        return self._written + self._used

    @property
    def is_whole_in_memory(self) -> bool:
        """Whether nothing was written to disk yet."""
        return self._lent is None

    @property
    def in_memory(self) -> memoryview:
        """What was filled and is not written yet."""
        return self._frame.body[: self._used]

    def next_room(self, size: int) -> memoryview:
        """Return memory for the next `size` bytes, or for all until the next step of the hash.

        Raises
        ------
        JournalFull
            The disk has no room for those before.
        """
        if self._used + size > len(self._frame.body):
            self._put()
        end = max(self._used + size, self._hashed + self._to_step())
        return self._frame.body[self._used : end]

    def filled(self, size: int) -> None:
        """Take the next `size` bytes as filled."""
        self._used += size
        ready = self._used - self._hashed - self._to_step()
        if ready >= 0:
            self._hash_until(self._used - ready % _HASHED_AT_ONCE)

    def write(self) -> Place:
        """Write the record and return its place, which is none before it is flushed.

        Raises
        ------
        JournalFull
            The disk has no room.
        """
        self._hash_filled()
        try:
            segment, offset = self._write_lent() if self._lent else self._write_whole()
        except OSError as error:
            raise full_or(error) from error
        length = len(self._beginning) + self.length
        start = offset + HEADER_BYTES + len(self._noted)
        return Place(segment.path.name, start, length, spelled(self._hash))

    def flush(self) -> None:
        """Return once what was written is durable; from any thread, and for many by one flush.

        Raises
        ------
        JournalFull
            The disk has no room.
        """
        if self._unflushed is None:
            return
        segment, ticket = self._unflushed
        try:
            segment.wait_synced(ticket)
        except OSError as error:
            raise full_or(error) from error

    def discard(self) -> None:
        """Give the record up, as when the association was cut; nothing of it counts."""
        lent, self._lent = self._lent, None
        if lent is not None:
            self._behind.close()  # nothing more is written into what others may have next
            self._room.give_back(lent)

    def _write_whole(self) -> tuple[Segment, int]:
        segment, offset = self._room.reserve(self._front_bytes + self._used)
        front = self._front(segment)
        if len(front) == ALIGNMENT:
            self._frame.set_front(front)
            ticket = segment.write_pages(self._frame.pages_with_front(self._used), offset)
        else:
            ticket = segment.write([front, self._frame.pages(self._used)], offset)
        self._unflushed = segment, ticket
        return segment, offset

    def _write_lent(self) -> tuple[Segment, int]:
        """Write the rest and flush: nobody else writes to a segment that is lent."""
        segment = self._lent
        assert segment is not None
        offset = segment.used
        pages = self._frame.pages(self._used)
        try:
            self._behind.wait()
            segment.put_pages(pages, offset + self._front_bytes + self._written)
            write_at(segment.fd, [self._front(segment)], offset)
            os.fdatasync(segment.fd)
            segment.used += self._front_bytes + self._written + len(pages)
        except OSError as error:
            segment.failure = error  # the kernel may have dropped pages: it takes no more
            raise
        finally:
            self.discard()
        return segment, offset

    def _to_step(self) -> int:
        """Return how many bytes are missing, from what is hashed, to the next step of the body."""
        hashed = len(self._beginning) + self._written + self._hashed
        return _HASHED_AT_ONCE - hashed % _HASHED_AT_ONCE

    def _hash_filled(self) -> None:
        self._hash_until(self._used)

    def _hash_until(self, end: int) -> None:
        if end > self._hashed:
            self._hash.update(self._frame.body[self._hashed : end])
            self._hashed = end

    def _put(self) -> None:
        """Begin to write the whole pages of what is filled; those before are written then."""
        self._hash_filled()
        try:
            if self._lent is None:
                self._lent = self._room.lend()
            size = self._used // ALIGNMENT * ALIGNMENT
            offset = self._lent.used + self._front_bytes + self._written
            pages = self._frame.body[:size]
            self._behind.begin(partial(self._lent.put_pages, pages, offset))
        except OSError as error:
            raise full_or(error) from error
        self._frame.turn(size, self._used)
        self._written += size
        self._used -= size
        self._hashed -= size

    def _front(self, segment: Segment) -> bytes:
        length = len(self._beginning) + self.length
        head = header(segment.id, self._noted, length, self._hash.digest())
        return head + self._noted + self._beginning

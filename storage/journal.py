"""The journal: received bytes, durable before anyone is told so.

Instances are appended to preallocated, zero-filled segment files.  `Journal.append` returns once
an ``fdatasync`` that began after its bytes were written has ended; associations that append at the
same time share one (group commit), so durability costs one flush a group and not three a file.
What arrives over a network is put together in a `Frame` and written from there, past the page
cache (`Journal.begin`).
"""

import contextlib
import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from kernel.clock import Clock, system_clock
from kernel.errors import Corrupt, Transient
from kernel.ids import fresh_at
from kernel.pulse import Pulse
from storage.digests import digest_of, digest_of_all, hashing, spelled
from storage.disk import is_lost
from storage.frame import Frame
from storage.incoming import Incoming
from storage.record import (
    ALIGNMENT,
    HEADER_BYTES,
    Place,
    Record,
    aligned,
    encoded_note,
    header,
    scan,
)
from storage.segment import (
    Bytes,
    JournalFull,
    Segment,
    discard,
    full_or,
    is_held,
    publish,
    sync_directory,
    unfilled,
    zero_filled,
)
from storage.spare import Spare

__all__ = ["ALIGNMENT", "Journal", "JournalFull", "NoSuchPlace", "Place", "PlaceLost", "Record"]

SEGMENT_BYTES = 64 << 20
_MAX_RESTING = 2
_CLOSED_WITHIN_S = 10.0  # a disk that hangs does not keep the node from ending
_PIECE_BYTES = 4 << 20
_RESTING_PART = 4  # a segment with less than a quarter of its room left is not lent again


class PlaceLost(Corrupt):
    """The bytes that a place names are not there, or are not the bytes that were stored."""

    code = "storage.place_lost"


class SegmentElsewhere(Transient):
    """The segment lies on another node and its study is not packed yet."""

    code = "storage.segment_elsewhere"


class NoSuchPlace(Corrupt):
    """The segment is not there: it was freed, as the study lies in its pack, or it is lost.

    Whoever asks the index again meets it a second time where it is lost alone.
    """

    code = "storage.no_such_place"


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
    pulse
        Beats where room is asked for, and rests once it was given.
    """

    def __init__(
        self,
        directory: Path,
        *,
        node: str,
        segment_bytes: int = SEGMENT_BYTES,
        clock: Clock = system_clock,
        pulse: Pulse | None = None,
    ) -> None:
        self._clock = clock
        self._pulse = pulse or Pulse()
        self.directory = directory
        self.node = node
        self._segment_bytes = segment_bytes
        self._reserve_lock = threading.Lock()
        self._current: Segment | None = None
        self._resting: list[Segment] = []
        self._retiring: list[threading.Thread] = []
        self._closed = False
        self._spare = Spare(self._made)
        directory.mkdir(parents=True, exist_ok=True)

    def prepare(self, *, waits: bool = True) -> None:
        """Clear what a crash left half made; make the first segment, and the next one, ahead.

        Without it the journal serves as well, but appends wait for each new segment.

        Parameters
        ----------
        waits
            Whether the first one is ready at the return; else one is made meanwhile, which is
            enough where instances are seldom taken in.
        """
        for part in self.directory.glob(f"{self.node}-*.part"):
            with contextlib.suppress(FileNotFoundError):  # its process finished it meanwhile
                if not is_held(part):
                    part.unlink()
        with self._reserve_lock:
            if waits:
                self._room(0)
            self._spare.keep_ready()

    def append(self, note: Mapping[str, str] | bytes, *parts: Bytes) -> Place:
        """Store one Part 10 file, given as parts in order; return when it is durable.

        Raises
        ------
        JournalFull
            The disk has no room; the journal goes on when there is room again.
        """
        noted = encoded_note(note)
        length = sum(len(part) for part in parts)
        hasher = hashing()
        for part in parts:
            hasher.update(part)
        size = HEADER_BYTES + len(noted) + length
        try:
            segment, offset = self.reserve(size)
            head = header(segment.id, noted, length, hasher.digest())
            # Whole pages, for none of the segment need be in memory to be completed.
            written = [head, noted, *parts, bytes(aligned(size) - size)]
            segment.wait_synced(segment.write(written, offset))
        except OSError as error:
            raise full_or(error) from error
        start = offset + HEADER_BYTES + len(noted)
        return Place(segment.path.name, start, length, spelled(hasher))

    def begin(self, note: Mapping[str, str] | bytes, beginning: bytes, frame: Frame) -> Incoming:
        """Begin a record whose length is not known yet.

        Parameters
        ----------
        beginning
            The first bytes of the body; the rest is filled into `frame`.
        """
        return Incoming(self, encoded_note(note), beginning, frame)

    def read(self, place: Place, *, start: int = 0, length: int | None = None) -> bytes:
        """Return the bytes of a place, or of a range within it.

        Raises
        ------
        SegmentElsewhere
            The segment belongs to another node.
        NoSuchPlace
            The segment was freed; ask the archive index again.
        PlaceLost
            The disk does not give it back, or the whole was read and is not what was stored.
        """
        if not place.segment.startswith(f"{self.node}-"):
            raise SegmentElsewhere("the bytes still lie in the journal of another node")
        wanted = place.length - start if length is None else min(length, place.length - start)
        try:
            fd = os.open(self.directory / place.segment, os.O_RDONLY)
        except FileNotFoundError as error:
            raise NoSuchPlace("the journal segment is not there", segment=place.segment) from error
        try:
            data = os.pread(fd, wanted, place.offset + start)
            while len(data) < wanted:  # pread gives at most 2 GiB at a time
                more = os.pread(fd, wanted - len(data), place.offset + start + len(data))
                if not more:
                    raise PlaceLost("a journal segment is shorter than its index says")
                data += more
        except OSError as error:
            if not is_lost(error):
                raise
            raise PlaceLost("the disk does not give back what the journal holds") from error
        finally:
            os.close(fd)
        if wanted == place.length and digest_of(data, like=place.digest) != place.digest:
            raise PlaceLost("journal bytes do not match their digest", segment=place.segment)
        return data

    def scan(self) -> Iterator[Record]:
        """Yield every record of every segment, the oldest segment first, without its body.

        A record may be one that a crash left half written: `is_whole` tells.
        """
        for path in self.segments():
            yield from scan(path)

    def records_of(self, name: str) -> list[Record]:
        """Return the records of one segment."""
        return list(scan(self.directory / name))

    def is_whole(self, place: Place) -> bool:
        """Re-read a record and say whether its bytes have its digest."""
        try:
            return self.digest_like(place, place.digest) == place.digest
        except PlaceLost:
            return False

    def digest_like(self, place: Place, other: str) -> str:
        """Return the digest of the bytes of a place by the algorithm of another digest.

        Raises
        ------
        SegmentElsewhere, NoSuchPlace, PlaceLost
            See `read`.
        """
        starts = range(0, place.length, _PIECE_BYTES)  # none of them is in memory as a whole
        pieces = (self.read(place, start=start, length=_PIECE_BYTES) for start in starts)
        return digest_of_all(pieces, like=other)

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
            while self._resting:
                self._resting.pop().close()

    def free(self, name: str) -> None:
        """Delete a segment whose records all lie in verified packs; one in use is left alone."""
        if self.is_in_use(name):
            return
        (self.directory / name).unlink(missing_ok=True)
        sync_directory(self.directory)

    def close(self) -> None:
        """Close the current segment; what was acknowledged is durable already."""
        with self._reserve_lock:
            self._closed = True
            for segment in (*self._resting, *([self._current] if self._current else ())):
                segment.close()
            self._resting, self._current = [], None
            self._spare.close()
            retiring, self._retiring = self._retiring, []
        for closer in retiring:
            closer.join(_CLOSED_WITHIN_S)

    def reserve(self, size: int) -> tuple[Segment, int]:
        """Give room for `size` bytes in the current segment; whoever takes it writes there."""
        with self._reserve_lock, self._pulse:
            segment = self._room(size)
            offset = segment.used
            segment.used += aligned(size)
            with segment.changed:
                segment.writers += 1
            return segment, offset

    def lend(self) -> Segment:
        """Lend a segment to one record alone, for as long as that arrives.

        It is one made ahead where there is one; else a new file, which the record makes longer.
        """
        with self._reserve_lock:
            if self._resting:
                return self._resting.pop()
            made = self._spare.take_if_ready()
        made = made or unfilled(self.directory / self._name())
        _publish(made)
        return made

    def give_back(self, segment: Segment) -> None:
        """Take back a segment that was lent."""
        with self._reserve_lock:
            has_room = segment.size - segment.used > segment.size // _RESTING_PART
            rests = has_room and segment.failure is None and len(self._resting) < _MAX_RESTING
            if rests and not self._closed:
                self._resting.append(segment)
                return
        if segment.used:
            segment.close()
        else:
            segment.path.unlink(missing_ok=True)
            segment.close()

    def _made(self) -> Segment:
        return zero_filled(self.directory / self._name(), self._segment_bytes)

    def _name(self) -> str:
        return f"{self.node}-{fresh_at(self._clock())}.seg"

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
            made = zero_filled(self.directory / self._name(), aligned(size))
        else:
            made = self._spare.take() or self._made()
        _publish(made)
        return made

    def _retire(self, segment: Segment) -> None:
        """Close a segment once its last writer is done."""
        closer = threading.Thread(
            target=segment.close_when_idle, name="journal-retire", daemon=True
        )
        self._retiring = [each for each in self._retiring if each.is_alive()]
        closer.start()
        self._retiring.append(closer)


def _publish(made: Segment) -> None:
    try:
        publish(made)
    except OSError:
        discard(made)
        raise

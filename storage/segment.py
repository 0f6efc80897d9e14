"""One segment file of the journal: how it is made, held, written and flushed.

A segment is made under its ``.part`` name and takes its own name when its first record may come.
Whoever makes or appends to one holds a shared lock on it, which the kernel lets go however the
process ends: a file that nobody holds is nobody's.
"""

import fcntl
import os
import threading
from dataclasses import dataclass, field
from pathlib import Path

Bytes = bytes | bytearray | memoryview

_ZEROS = bytes(1 << 20)
_FLUSH_BYTES = 8 << 20


@dataclass
class Segment:
    """An open segment; its counters are guarded by `changed`."""

    path: Path
    id: bytes
    fd: int
    size: int
    used: int = 0
    written: int = 0  # completed writes, counted
    synced: int = 0  # of these, how many an fdatasync covers
    writers: int = 0  # writes between reservation and completion
    flushing: bool = False
    failure: OSError | None = None
    changed: threading.Condition = field(default_factory=threading.Condition)

    def wait_synced(self, ticket: int) -> None:
        """Return when an fdatasync begun after write `ticket` has ended; lead one if nobody does.

        Raises
        ------
        OSError
            A flush failed.  The kernel may have dropped the pages, so the segment takes no more.
        """
        while (covers := self._my_turn(ticket)) is not None:
            failure: OSError | None = None
            try:
                os.fdatasync(self.fd)
            except OSError as error:
                failure = error
            with self.changed:
                self.flushing = False
                self.failure = self.failure or failure
                if failure is None:
                    self.synced = covers
                self.changed.notify_all()

    def _my_turn(self, ticket: int) -> int | None:
        """Wait for whoever flushes now; None if that covers `ticket`.

        Else the caller is the next to flush, and the answer is how many writes that will cover.
        """
        with self.changed:
            while self.synced < ticket and self.flushing and self.failure is None:
                self.changed.wait()
            if self.failure is not None:
                raise self.failure
            if self.synced >= ticket:
                return None
            self.flushing = True
            return self.written


def zero_filled(path: Path, size: int) -> Segment:
    """Make a segment under the ``.part`` name of `path`, durably filled with zeros.

    Filled, not only allocated: then the flush of a record has no metadata to write.
    """
    fd = begin_part(path)
    try:
        for start in range(0, size, len(_ZEROS)):
            write_at(fd, [_ZEROS[: min(len(_ZEROS), size - start)]], start)
            if start % _FLUSH_BYTES == 0:
                # In small pieces, so that records that are flushed meanwhile do not queue long.
                os.fdatasync(fd)
        os.fsync(fd)
    except OSError:
        os.close(fd)
        path.with_suffix(".part").unlink(missing_ok=True)
        raise
    return Segment(path, os.urandom(16), fd, size)


def publish(segment: Segment) -> None:
    """Give a segment its own name, durably; from then on a scan finds it."""
    segment.path.with_suffix(".part").rename(segment.path)
    sync_directory(segment.path.parent)


def discard(segment: Segment) -> None:
    """Remove a segment that was never published."""
    segment.path.with_suffix(".part").unlink(missing_ok=True)
    os.close(segment.fd)


def begin_part(path: Path) -> int:
    """Create and hold the ``.part`` file of `path`; return its descriptor."""
    while True:
        fd = os.open(path.with_suffix(".part"), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o640)
        fcntl.flock(fd, fcntl.LOCK_SH)
        if os.fstat(fd).st_nlink:
            return fd
        os.close(fd)  # a process that starts took it for a leftover before we held it


def is_held(path: Path) -> bool:
    """Say whether a living process, this or another, holds a file."""
    fd = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def write_at(fd: int, parts: list[Bytes], offset: int) -> None:
    """Write all bytes of all parts, one behind the other, from `offset` on."""
    pending = [memoryview(part).cast("B") for part in parts if len(part)]
    while pending:
        done = os.pwritev(fd, pending, offset)
        offset += done
        while pending and done >= len(pending[0]):
            done -= len(pending.pop(0))
        if pending and done:
            pending[0] = pending[0][done:]


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)

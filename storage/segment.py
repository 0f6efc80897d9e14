"""One segment file of the journal: how it is made, held, written and flushed.

A segment is made under its ``.part`` name and takes its own name when its first record may come.
Whoever makes or appends to one holds a shared lock on it, which the kernel lets go however the
process ends: a file that nobody holds is nobody's.
"""

import contextlib
import errno
import fcntl
import mmap
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from kernel.errors import Transient

Bytes = bytes | bytearray | memoryview

_FILL_BYTES = 1 << 20
_FILLS_AT_ONCE = 4  # one call for several costs half the processor time
_FLUSH_BYTES = 8 << 20
_FULL = (errno.ENOSPC, errno.EDQUOT)


class JournalFull(Transient):
    """The disk of the journal has no room; nothing was accepted."""

    code = "storage.journal_full"


@dataclass
class Segment:
    """An open segment; its counters are guarded by `changed`.

    `direct` is a second descriptor that writes whole pages past the page cache: received pixels
    are seldom read again before they are packed, and a copy of them costs as much as hashing.
    Where the file system cannot do that it is `fd` again.
    """

    path: Path
    id: bytes
    fd: int
    direct: int
    size: int
    used: int = 0
    written: int = 0  # completed writes, counted
    synced: int = 0  # of these, how many an fdatasync covers
    writers: int = 0  # writes between reservation and completion
    flushing: bool = False
    failure: OSError | None = None
    changed: threading.Condition = field(default_factory=threading.Condition)

    def write(self, parts: list[Bytes], offset: int) -> int:
        """Write into room that was reserved; it is durable once `wait_synced` has the answer.

        Raises
        ------
        OSError
            The disk failed.
        """
        return self._counted(lambda: write_at(self.fd, parts, offset))

    def write_pages(self, pages: memoryview, offset: int) -> int:
        """Write whole pages, from memory aligned to pages, as `write` does."""
        return self._counted(lambda: self.put_pages(pages, offset))

    def put_pages(self, pages: memoryview, offset: int) -> None:
        """Write whole pages, durable only after the next flush."""
        done = 0
        try:
            done = os.pwrite(self.direct, pages, offset)
        except OSError as error:
            if error.errno != errno.EINVAL:  # else the disk has blocks longer than our pages
                raise
        if done < len(pages):
            write_at(self.fd, [pages[done:]], offset + done)

    def put_zeros(self, zeros: memoryview, offset: int, size: int) -> None:
        """Write so many zeros, in one call as far as that goes; `zeros` is written repeatedly."""
        whole, rest = divmod(size, len(zeros))
        done = 0
        try:
            done = os.pwritev(self.direct, [*[zeros] * whole, zeros[:rest]], offset)
        except OSError as error:
            if error.errno != errno.EINVAL:  # as above
                raise
        for start in range(done, size, len(zeros)):
            write_at(self.fd, [zeros[: min(len(zeros), size - start)]], offset + start)

    def close(self) -> None:
        """Close and let go."""
        os.close(self.fd)
        if self.direct != self.fd:
            os.close(self.direct)

    def close_when_idle(self) -> None:
        """Close once the last writer is done; nothing more may be reserved in it.

        What was written is flushed first, whoever was to do that: it may never come to it.
        """
        with self.changed:
            self.changed.wait_for(lambda: not self.writers)
        with contextlib.suppress(OSError):
            self.wait_synced(self.written)
        with self.changed:
            self.changed.wait_for(lambda: not self.flushing)
        self.close()

    def _counted(self, write: Callable[[], None]) -> int:
        done = 0
        try:
            write()
            done = 1
        finally:
            with self.changed:
                self.writers -= 1
                self.written += done
                ticket = self.written
                if not self.writers:
                    self.changed.notify_all()  # who closes it waits for the last one
        return ticket

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
    made = unfilled(path)
    zeros = memoryview(mmap.mmap(-1, _FILL_BYTES))  # aligned to pages, as direct writes ask
    try:
        for start in range(0, size, _FILL_BYTES * _FILLS_AT_ONCE):
            made.put_zeros(zeros, start, min(_FILL_BYTES * _FILLS_AT_ONCE, size - start))
            if start % _FLUSH_BYTES == 0:
                # In small pieces, so that records that are flushed meanwhile do not queue long.
                os.fdatasync(made.fd)
        os.fsync(made.fd)
    except OSError:
        discard(made)
        raise
    made.size = size
    return made


def unfilled(path: Path) -> Segment:
    """Make an empty segment under the ``.part`` name of `path`."""
    fd = begin_part(path)
    return Segment(path, os.urandom(16), fd, _direct(path.with_suffix(".part"), fd), 0)


def _direct(part: Path, fd: int) -> int:
    """Open a file again to write past the page cache, as far as its file system can."""
    flag = getattr(os, "O_DIRECT", 0)
    if not flag:
        return fd
    try:
        return os.open(part, os.O_WRONLY | flag)
    except OSError as error:
        if error.errno == errno.EINVAL:
            return fd
        os.close(fd)
        raise


def publish(segment: Segment) -> None:
    """Give a segment its own name, durably; from then on a scan finds it."""
    segment.path.with_suffix(".part").rename(segment.path)
    sync_directory(segment.path.parent)


def discard(segment: Segment) -> None:
    """Remove a segment that was never published."""
    segment.path.with_suffix(".part").unlink(missing_ok=True)
    segment.close()


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


def full_or(error: OSError) -> Exception:
    """Return what a failed write means to whom it concerns."""
    if error.errno in _FULL:
        return JournalFull("the disk of the journal is full: nothing was accepted")
    return error

"""Frames: memory in which a record of the journal is put together while its bytes arrive.

The first page is left for the header, the note and the beginning of the body, so that a record
goes to disk in one write of whole pages, and not one byte of it is copied.
"""

from mmap import mmap

from storage.record import ALIGNMENT, aligned


class Frame:
    """One frame; it serves one record at a time.

    Pages that no record reaches are never taken from the machine.

    Parameters
    ----------
    body_bytes
        Room for the body; a longer one goes to disk in pieces of this size.  At least a page more
        than the longest piece that is filled at once.
    """

    def __init__(self, body_bytes: int) -> None:
        self.whole = _memory(aligned(body_bytes))
        self.body = self.whole[ALIGNMENT:]
        self.size = len(self.body)
        self._other: memoryview | None = None

    def set_front(self, front: bytes) -> None:
        """Put the page before the body in place."""
        self.whole[:ALIGNMENT] = front

    def pages(self, used: int) -> memoryview:
        """Return the pages of the first `used` bytes of the body, blank behind those."""
        size = aligned(used)
        self.body[used:size] = bytes(size - used)
        return self.body[:size]

    def pages_with_front(self, used: int) -> memoryview:
        """Return the same with the page before the body."""
        return self.whole[: ALIGNMENT + len(self.pages(used))]

    def turn(self, size: int, used: int) -> None:
        """Go on in other memory, and let what lay behind the first `size` bytes be first there.

        The memory before stays as it is until the next turn: it may be written meanwhile.
        """
        before, rest = self.whole, self.body[size:used]
        self.whole = self._other or _memory(self.size)
        self.body = self.whole[ALIGNMENT:]
        self.body[: len(rest)] = rest
        self._other = before


def _memory(body_bytes: int) -> memoryview:
    return memoryview(mmap(-1, ALIGNMENT + body_bytes))

"""Spare segments: the next ones are made ahead, so that no append waits for their zeros."""

import threading
from collections import deque
from collections.abc import Callable

from kernel.clock import monotonic_s
from storage.segment import Segment, discard

SPARES = 4
"""Ready at most where nothing arrives: a study of 250 MB then competes with no zeros for the disk.

One is made at first and one more for each that was taken, so that a node which receives little
takes little of the disk.
"""

QUIET_S = 1.0
"""Nothing was taken or made for so long: time to make one more than the one needed next."""


class Spare:
    """Keeps unpublished segments ready; while some are taken, one alone.

    Parameters
    ----------
    make
        Makes one; called in a thread of its own.
    quiet_s
        How long nothing was taken or made before one more is made than the one needed next.
    """

    def __init__(self, make: Callable[[], Segment], *, quiet_s: float = QUIET_S) -> None:
        self._make = make
        self._quiet_s = quiet_s
        self._changed = threading.Condition()
        self._ready: deque[Segment] = deque()
        self._maker: threading.Thread | None = None
        self._making = False
        self._kept = False
        self._wanted = 1
        self._moved_at = 0.0

    def keep_ready(self) -> None:
        """Begin to make some, and from now on the next whenever one is taken."""
        with self._changed:
            self._kept = True
            self._begin()

    def take(self) -> Segment | None:
        """Return a spare, waiting for one that is being made; None if there is none."""
        with self._changed:
            while self._making and not self._ready:
                self._changed.wait()
            return self._taken()

    def take_if_ready(self) -> Segment | None:
        """Return a spare if one is ready, without waiting."""
        with self._changed:
            return self._taken()

    def close(self) -> None:
        """Make no more, and remove those that were not needed."""
        with self._changed:
            self._kept = False
            self._changed.notify_all()
            maker = self._maker
        if maker is not None:
            maker.join()
        while self._ready:
            discard(self._ready.popleft())

    def _taken(self) -> Segment | None:
        self._moved_at = monotonic_s()
        taken = self._ready.popleft() if self._ready else None
        self._wanted = min(SPARES, self._wanted + 1)
        if self._kept:
            self._begin()
        self._changed.notify_all()
        return taken

    def _begin(self) -> None:
        # Said at once, so that who comes before the thread has begun waits for it.
        self._making = self._making or not self._ready
        if self._maker is None:
            self._maker = threading.Thread(target=self._run, name="journal-spare", daemon=True)
            self._maker.start()

    def _run(self) -> None:
        while self._is_time():
            try:
                made = self._make()
            except OSError:
                # Most often a full disk: the append that finds no spare makes its own segment and
                # says what is wrong to whom it concerns.
                self._end()
                return
            with self._changed:
                self._making, self._moved_at = False, monotonic_s()
                self._ready.append(made)
                self._changed.notify_all()

    def _is_time(self) -> bool:
        """Wait until one more is to be made; False if that is not so."""
        with self._changed:
            while self._kept and len(self._ready) < self._wanted:
                left = self._moved_at + self._quiet_s - monotonic_s()
                if not self._ready or left <= 0:
                    self._making = True
                    return True
                self._changed.wait(left)
            self._end()
            return False

    def _end(self) -> None:
        with self._changed:  # taken again by the thread that may hold it
            self._making, self._maker = False, None
            self._changed.notify_all()

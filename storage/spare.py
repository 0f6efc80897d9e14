"""The spare segment: the next one is made ahead, so that no append waits for its zeros."""

import threading
from collections.abc import Callable

from storage.segment import Segment, discard


class Spare:
    """Keeps one unpublished segment ready.

    Parameters
    ----------
    make
        Makes one; called in a thread of its own.
    """

    def __init__(self, make: Callable[[], Segment]) -> None:
        self._make = make
        self._ready: Segment | None = None
        self._maker: threading.Thread | None = None
        self._kept = False

    def keep_ready(self) -> None:
        """Begin to make one, and from now on the next whenever one is taken."""
        self._kept = True
        self._begin()

    def take(self) -> Segment | None:
        """Return the spare, waiting for one that is being made; None if there is none."""
        self._join()
        taken, self._ready = self._ready, None
        if self._kept:
            self._begin()
        return taken

    def take_if_ready(self) -> Segment | None:
        """Return the spare if it is ready, without waiting."""
        if self._maker is not None and self._maker.is_alive():
            return None
        return self.take()

    def close(self) -> None:
        """Make no more, and remove the one that was not needed."""
        self._kept = False
        self._join()
        if self._ready is not None:
            discard(self._ready)
            self._ready = None

    def _begin(self) -> None:
        if self._ready is None and self._maker is None:
            self._maker = threading.Thread(target=self._run, name="journal-spare", daemon=True)
            self._maker.start()

    def _join(self) -> None:
        if self._maker is not None:
            self._maker.join()
            self._maker = None

    def _run(self) -> None:
        try:
            self._ready = self._make()
        except OSError:
            # Most often a full disk: the append that finds no spare makes its own segment and
            # says what is wrong to whom it concerns.
            self._ready = None

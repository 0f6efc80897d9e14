"""Large requests are worked on a few at a time, so that many of them fill no memory.

What a data set of a message becomes takes some ten times its bytes.  A request of the usual size
never waits; one that names thousands of instances waits for others of its kind until these are
read.  What they name may then be sent for hours.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from dicom_node.errors import NodeBusy

LARGE = 128 << 10
"""Bytes of a data set that is large: it names two thousand instances or more."""


class LargeRequests:
    """The places for large requests of one node; safe for threads.

    Parameters
    ----------
    at_once
        How many there are.
    patience
        How long a request waits for one.
    """

    def __init__(
        self, at_once: int = 4, patience: timedelta = timedelta(seconds=10), large: int = LARGE
    ) -> None:
        self._places = threading.BoundedSemaphore(at_once)
        self._patience_s = patience.total_seconds()
        self._large = large

    @contextmanager
    def place(self, length: int) -> Iterator[None]:
        """Work on a request of a length in bytes.

        Raises
        ------
        NodeBusy
            It is large, and others are worked on for too long.
        """
        if length < self._large:
            yield
            return
        if not self._places.acquire(timeout=self._patience_s):
            raise NodeBusy("other large requests are worked on: ask again later, or for less")
        try:
            yield
        finally:
            self._places.release()

"""Places at a remote store: one that hangs holds so many threads of a process, and no more.

Threads that serve pages are the same that read for viewers.  Whoever finds no place waits for a
while; where several wait already, it is told at once.
"""

import threading
from types import TracebackType

from storage.objects import ObjectStoreUnavailable

PLACES = 20
WAITING = 8
PATIENCE_S = 10.0


class Places:
    """Held by `with` while a remote store is asked.

    Raises
    ------
    ObjectStoreUnavailable
        None came free in time, or too many wait for one.
    """

    def __init__(
        self, places: int = PLACES, waiting: int = WAITING, *, patience_s: float = PATIENCE_S
    ) -> None:
        self._places = threading.BoundedSemaphore(places)
        self._queue = threading.BoundedSemaphore(waiting)
        self._patience_s = patience_s

    def __enter__(self) -> None:
        if self._places.acquire(blocking=False):
            return
        if not self._queue.acquire(blocking=False):
            raise _none()
        try:
            if not self._places.acquire(timeout=self._patience_s):
                raise _none()
        finally:
            self._queue.release()

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _: TracebackType | None,
    ) -> None:
        self._places.release()


def _none() -> ObjectStoreUnavailable:
    return ObjectStoreUnavailable("the object store is slow, and too many wait for it already")

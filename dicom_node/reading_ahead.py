"""Instances read while those before them are on their way, within a bound."""

import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from itertools import cycle
from mmap import mmap
from queue import SimpleQueue

from dicom_node.outgoing import Leaving
from kernel.errors import EngineError
from storage.series_queries import Held

BATCH_BYTES = 2 << 20
"""So much is read at once: fewer changes of threads."""

MAX_AHEAD = 3
"""Batches that are being read or wait; with the one on its way 8 MB an association."""

Opened = tuple[Held, Leaving | EngineError]
Opener = Callable[[Sequence[Held], memoryview], Iterable[Opened]]
"""Opens a batch of instances; it may read them into the memory that it is given."""

_BETWEEN = 1 << 16
"""Room for what lies between the instances of a batch."""


def read_ahead(wanted: Sequence[Held], opened: Opener) -> Generator[Opened, None, None]:
    """Yield each instance as `opened` opens it, called with a batch of them in another thread.

    An instance is done with once one of another batch is asked for: its memory serves again.
    """
    reader = _Reader(wanted, opened)
    reader.start()
    try:
        while batch := reader.next():
            yield from batch
    finally:
        reader.leave()


class _Reader(threading.Thread):
    """Reads batches as long as there is room for them, and does not wait to be asked."""

    def __init__(self, wanted: Sequence[Held], opened: Opener) -> None:
        super().__init__(name="reading-ahead", daemon=True)
        self._wanted = wanted
        self._opened = opened
        self._ready: SimpleQueue[list[Opened] | BaseException] = SimpleQueue()
        self._room = threading.Semaphore(MAX_AHEAD)
        self._left = threading.Event()
        self._rooms = cycle(
            [memoryview(mmap(-1, BATCH_BYTES + _BETWEEN)) for _ in range(MAX_AHEAD + 1)]
        )

    def run(self) -> None:
        """See `threading.Thread`."""
        try:
            for batch, room in zip(_batches(self._wanted), self._rooms, strict=False):
                self._room.acquire()
                if self._left.is_set():
                    return
                self._ready.put(list(self._opened(batch, room)))
        except BaseException as error:  # noqa: BLE001 - raised where the instances are sent
            self._ready.put(error)
        self._ready.put([])

    def next(self) -> list[Opened]:
        """Return the next batch, nothing at the end."""
        batch = self._ready.get()
        self._room.release()
        if isinstance(batch, BaseException):
            raise batch
        return batch

    def leave(self) -> None:
        """Read no more, and wait until nothing is being read."""
        self._left.set()
        self._room.release()
        self.join()


def _batches(wanted: Sequence[Held]) -> Iterator[list[Held]]:
    batch: list[Held] = []
    size = 0
    for held in wanted:
        if batch and size + held.length > BATCH_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(held)
        size += held.length
    if batch:
        yield batch

"""Instances read while those before them are on their way, within a bound."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from mmap import mmap

from dicom_node.outgoing import Leaving
from kernel.errors import EngineError
from storage.series_queries import Held

BATCH_BYTES = 768 << 10
"""So much is read at once: what is small costs one reading together."""

Opened = tuple[Held, Leaving | EngineError]
Opener = Callable[[Sequence[Held], memoryview], Iterable[Opened]]
"""Opens a batch of instances; it may read them into the memory that it is given."""

_BETWEEN = 1 << 16
"""Room for what lies between the instances of a batch."""


class ReadAhead:
    """Opens instances in order; the next can be looked for while one is on its way.

    Who waits for the answer to one has the time to read and verify the next; another thread
    would take its turns at the interpreter from whoever sends.  An instance is done with once it
    is sent: its memory serves again.
    """

    def __init__(self, wanted: Sequence[Held], opened: Opener) -> None:
        self._files = _opened(wanted, opened)
        self._ahead: list[Opened | Exception | None] = []

    def look(self) -> None:
        """Open the next, unless it is; what fails is raised once it is taken."""
        if self._ahead:
            return
        try:
            self._ahead.append(next(self._files, None))
        except Exception as failure:  # noqa: BLE001 - raised where it breaks nothing off
            self._ahead.append(failure)

    def taken(self) -> Opened | None:
        """Return the next, None at the end."""
        self.look()
        found = self._ahead.pop()
        if isinstance(found, Exception):
            raise found
        return found


def _opened(wanted: Sequence[Held], opened: Opener) -> Iterator[Opened]:
    room = memoryview(mmap(-1, BATCH_BYTES + _BETWEEN))
    for batch in _batches(wanted):
        yield from opened(batch, room)


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

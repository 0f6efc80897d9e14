"""Instances read while those before them are on their way, within a bound."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from mmap import mmap

from dicom_node.outgoing import Leaving
from kernel.clock import monotonic_s
from kernel.errors import EngineError
from storage.objects import FAR_BYTES, NEAR_BYTES, ObjectStoreUnavailable
from storage.series_queries import Held

Opened = tuple[Held, Leaving | EngineError]
Opener = Callable[[Sequence[Held], memoryview], Iterable[Opened]]
"""Opens a batch of instances; it may read them into the memory that it is given."""

AtOnce = Callable[[Held], int]
"""Says how many bytes are read at once from where an instance lies."""

PATIENCE_S = 20.0
"""A store that was silent for so long is not asked for the rest: whoever waits is told."""

_BETWEEN = 1 << 16
"""Room for what lies between the instances of a batch."""


def _near(_held: Held) -> int:
    return NEAR_BYTES


class ReadAhead:
    """Opens instances in order; the next can be looked for while one is on its way.

    Who waits for the answer to one has the time to read and verify the next; another thread
    would take its turns at the interpreter from whoever sends.  An instance is done with once it
    is sent: its memory serves again.
    """

    def __init__(
        self,
        wanted: Sequence[Held],
        opened: Opener,
        at_once: AtOnce = _near,
        *,
        clock: Callable[[], float] = monotonic_s,
    ) -> None:
        self._files = _opened(wanted, opened, at_once, clock)
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


def _opened(
    wanted: Sequence[Held], opened: Opener, at_once: AtOnce, clock: Callable[[], float]
) -> Iterator[Opened]:
    room = memoryview(mmap(-1, FAR_BYTES + _BETWEEN))  # what is not filled takes no memory
    silent: dict[str | None, ObjectStoreUnavailable] = {}
    for batch in _batches(wanted, at_once):
        key = batch[0].pack_key
        files = iter(() if key in silent else opened(batch, room))
        for held in batch:
            if key in silent:
                yield held, silent[key]
                continue
            began = clock()
            found = next(files)
            if isinstance(found[1], ObjectStoreUnavailable) and clock() - began > PATIENCE_S:
                silent[key] = found[1]
            yield found


def _batches(wanted: Sequence[Held], at_once: AtOnce) -> Iterator[list[Held]]:
    """Yield what lies in one pack, as much of it as is read at once."""
    batch: list[Held] = []
    size, most = 0, NEAR_BYTES
    for held in wanted:
        if batch and (size + held.length > most or held.pack_key != batch[0].pack_key):
            yield batch
            batch, size = [], 0
        if not batch:
            most = at_once(held)
        batch.append(held)
        size += held.length
    if batch:
        yield batch

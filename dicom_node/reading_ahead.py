"""Instances read while those before them are on their way, within a bound."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from dicom_node.outgoing import Leaving
from kernel.errors import EngineError
from storage.series_queries import Held

BATCH_BYTES = 2 << 20
"""So much is read at once, and at most two such batches are held: fewer changes of threads."""

Opened = tuple[Held, Leaving | EngineError]


def read_ahead(
    wanted: Sequence[Held], opened: Callable[[Sequence[Held]], Iterable[Opened]]
) -> Generator[Opened, None, None]:
    """Yield each instance as `opened` opens it, called with a batch of them in another thread."""
    batches = _batches(wanted)
    with ThreadPoolExecutor(max_workers=1) as reader:
        ahead = reader.submit(_all, opened, next(batches, []))
        for batch in batches:
            ready = ahead.result()
            ahead = reader.submit(_all, opened, batch)
            yield from ready
        yield from ahead.result()


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


def _all(
    opened: Callable[[Sequence[Held]], Iterable[Opened]], batch: Sequence[Held]
) -> list[Opened]:
    return list(opened(batch))

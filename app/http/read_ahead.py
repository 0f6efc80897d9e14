"""A body that is read in threads while what was read before it is being sent."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from itertools import chain
from typing import Any, TypeVar

from starlette.concurrency import run_in_threadpool

BATCH_BYTES = 2 << 20
"""So much is read and sent at once: fewer changes of threads, fewer turns of the loop."""

MAX_AHEAD = 4
"""Batches that are read or wait to be sent; threads read on until there are so many, and are then
given back: a slow client holds none."""

READERS = 2
"""Threads at most: to verify what is read is more work than to send it."""

Piece = TypeVar("Piece", bytes, memoryview, bytes | memoryview)
Batch = Callable[[], bytes]
"""Makes a part of a body; others may be made at the same time."""


def prefetched(pieces: Iterator[Piece]) -> Iterator[Piece]:
    """Fetch the first piece: what cannot be read at all is an error, not a broken stream."""
    return chain((next(pieces),), pieces)


def prefetched_batch(batches: Iterator[Batch]) -> Iterator[Batch]:
    """Make the first batch, for the same reason."""
    first = next(batches)()
    return chain((lambda: first,), batches)


def read_ahead(pieces: Iterator[Piece]) -> AsyncIterator[bytes]:
    """Yield pieces as they come, small ones joined; see `made_ahead`."""
    return made_ahead(in_turn(pieces))


def in_turn(pieces: Iterator[Piece]) -> Iterator[Batch]:
    """Yield pieces, small ones joined; each is read when it is asked for, behind the one before."""
    while batch := _joined(pieces):
        yield partial(bytes, batch)


async def made_ahead(batches: Iterator[Batch]) -> AsyncIterator[bytes]:
    """Yield what batches make, in their order.

    Each is an error or whole: what one raises breaks the answer off, before its last byte.
    """
    reader = _Reader(batches, asyncio.get_running_loop())
    try:
        while made := await reader.next():
            yield made
    finally:
        reader.leave()


class _Reader:
    """Makes batches in threads as long as there is room for them."""

    def __init__(self, batches: Iterator[Batch], loop: asyncio.AbstractEventLoop) -> None:
        self._batches = batches
        self._loop = loop
        self._made: dict[int, bytes | BaseException] = {}
        self._came = asyncio.Event()
        self._claiming = threading.Lock()
        self._number = 0
        self._lock = threading.Lock()
        self._waiting = self._reading = self._sent = 0
        self._is_done = False
        self._read_on()

    async def next(self) -> bytes:
        """Return the next batch, nothing at the end."""
        while self._sent not in self._made:
            self._came.clear()
            await self._came.wait()
        batch = self._made.pop(self._sent)
        self._sent += 1
        with self._lock:
            self._waiting -= 1
        self._read_on()
        if isinstance(batch, BaseException):
            raise batch
        return batch

    def leave(self) -> None:
        """Read no more; what is being read is let go of once its thread is done."""
        with self._lock:
            self._is_done = True

    def _read_on(self) -> None:
        while True:
            with self._lock:
                room = MAX_AHEAD - self._waiting
                if self._is_done or self._reading >= min(READERS, room):
                    return
                self._reading += 1
            asyncio.ensure_future(run_in_threadpool(self._read)).add_done_callback(_let_go)

    def _read(self) -> None:
        while self._takes_room():
            number, batch = self._next_made()
            if not batch or isinstance(batch, BaseException):
                self.leave()
            self._loop.call_soon_threadsafe(self._put, number, batch)

    def _takes_room(self) -> bool:
        with self._lock:
            goes_on = not self._is_done and self._waiting < MAX_AHEAD
            self._waiting += goes_on
            self._reading -= not goes_on
            return goes_on

    def _next_made(self) -> tuple[int, bytes | BaseException]:
        with self._claiming:
            number = self._number
            self._number += 1
            try:
                batch = next(self._batches, bytes)
            except BaseException as error:  # noqa: BLE001 - raised where the body is sent
                return number, error
        try:
            return number, batch()
        except BaseException as error:  # noqa: BLE001 - raised where the body is sent
            return number, error

    def _put(self, number: int, batch: bytes | BaseException) -> None:
        self._made[number] = batch
        self._came.set()


def _joined(pieces: Iterator[Piece]) -> bytes:
    batch: list[bytes | memoryview] = []
    size = 0
    for piece in pieces:
        batch.append(piece)
        size += len(piece)
        if size >= BATCH_BYTES:
            break
    return b"".join(batch)


def _let_go(done: "asyncio.Future[Any]") -> None:
    if not done.cancelled():
        done.exception()

"""A body that is read in a thread while what was read before it is being sent."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from itertools import chain
from typing import Any, TypeVar

from starlette.concurrency import run_in_threadpool

BATCH_BYTES = 2 << 20
"""So much is read and sent at once: fewer changes of threads, fewer turns of the loop."""

MAX_AHEAD = 4
"""Batches that wait to be sent; a thread reads on until there are so many, and is then given back:
a slow client holds none."""

Piece = TypeVar("Piece", bytes, memoryview, bytes | memoryview)


def prefetched(pieces: Iterator[Piece]) -> Iterator[Piece]:
    """Fetch the first piece: what cannot be read at all is an error, not a broken stream."""
    return chain((next(pieces),), pieces)


async def read_ahead(pieces: Iterator[Piece]) -> AsyncIterator[bytes]:
    """Yield pieces as they come, small ones joined.

    Each is an error or whole: what a piece raises breaks the answer off, before its last byte.
    """
    reader = _Reader(pieces, asyncio.get_running_loop())
    try:
        while batch := await reader.next():
            yield batch
    finally:
        reader.leave()


class _Reader:
    """Reads batches in a thread as long as there is room for them."""

    def __init__(self, pieces: Iterator[Piece], loop: asyncio.AbstractEventLoop) -> None:
        self._pieces: Iterator[bytes | memoryview] = pieces
        self._loop = loop
        self._ready: asyncio.Queue[bytes | BaseException] = asyncio.Queue()
        self._lock = threading.Lock()
        self._waiting = 0
        self._is_reading = self._is_done = False
        self._read_on()

    async def next(self) -> bytes:
        """Return the next batch, nothing at the end."""
        batch = await self._ready.get()
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
        with self._lock:
            if self._is_reading or self._is_done or self._waiting >= MAX_AHEAD:
                return
            self._is_reading = True
        asyncio.ensure_future(run_in_threadpool(self._read)).add_done_callback(_let_go)

    def _read(self) -> None:
        go_on = True
        while go_on:
            batch = _batch(self._pieces)
            with self._lock:
                self._waiting += 1
                self._is_done |= not batch or isinstance(batch, BaseException)
                go_on = not self._is_done and self._waiting < MAX_AHEAD
                self._is_reading = go_on
            self._loop.call_soon_threadsafe(self._ready.put_nowait, batch)


def _batch(pieces: Iterator[bytes | memoryview]) -> bytes | BaseException:
    batch: list[bytes | memoryview] = []
    size = 0
    try:
        for piece in pieces:
            batch.append(piece)
            size += len(piece)
            if size >= BATCH_BYTES:
                break
    except BaseException as error:  # noqa: BLE001 - raised where the body is sent
        return error
    return b"".join(batch)


def _let_go(done: "asyncio.Future[Any]") -> None:
    if not done.cancelled():
        done.exception()

"""A body that is read in a thread while what was read before it is being sent."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import chain
from typing import Any, TypeVar

from starlette.concurrency import run_in_threadpool

BATCH_BYTES = 2 << 20
"""So much is read at once, and at most two such batches are held: fewer changes of threads."""

Piece = TypeVar("Piece", bytes, memoryview, bytes | memoryview)


def prefetched(pieces: Iterator[Piece]) -> Iterator[Piece]:
    """Fetch the first piece: what cannot be read at all is an error, not a broken stream."""
    return chain((next(pieces),), pieces)


async def read_ahead(pieces: Iterator[Piece]) -> AsyncIterator[Piece]:
    """Yield pieces as they come.

    Each is an error or whole: what a piece raises breaks the answer off, before its last byte.
    """
    ahead = asyncio.ensure_future(run_in_threadpool(_batch, pieces))
    try:
        while batch := await ahead:
            ahead = asyncio.ensure_future(run_in_threadpool(_batch, pieces))
            for piece in batch:
                yield piece
    finally:
        # The client may have left; what is being read is let go of once its thread is done.
        ahead.add_done_callback(_let_go)


def _batch(pieces: Iterator[Piece]) -> list[Piece]:
    batch: list[Piece] = []
    size = 0
    for piece in pieces:
        batch.append(piece)
        size += len(piece)
        if size >= BATCH_BYTES:
            break
    return batch


def _let_go(done: "asyncio.Future[Any]") -> None:
    if not done.cancelled():
        done.exception()

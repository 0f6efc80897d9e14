"""One text in the place of another, in a stream of which no more than a piece is at hand."""

from collections.abc import Iterable, Iterator


def replaced(pieces: Iterable[bytes], old: bytes, new: bytes) -> Iterator[bytes]:
    """Yield the stream with `new` for each `old`, also where `old` lies across two pieces."""
    kept = b""
    for piece in pieces:
        *before, tail = (kept + piece).split(old)
        cut = len(tail) - _begun(tail, old)
        kept = tail[cut:]
        ready = new.join((*before, tail[:cut]))
        if ready:
            yield ready
    if kept:
        yield kept


def _begun(data: bytes, old: bytes) -> int:
    """Return how many bytes at the end of `data` may be the beginning of `old`."""
    for length in range(min(len(old) - 1, len(data)), 0, -1):
        if data.endswith(old[:length]):
            return length
    return 0

"""The threads that take in share one processor, for as long as they do.

One interpreter serves them all, and its lock goes round among them several times an instance.
Handed over within a processor it costs a switch; to another one, which sleeps, it costs waking
that, several times as much (ADR 27).
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_STAT = Path("/proc/thread-self/stat")
_PROCESSOR = 39 - 3  # proc(5): the 39th field; two stand before the end of the name


class OneProcessor:
    """Keeps threads on the processor on which the first of them ran; safe for threads.

    It is chosen anew whenever there were none, and is the machine's matter where that gives no
    say in it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._threads = 0
        self._chosen: frozenset[int] = frozenset()

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Keep the thread that calls on the processor of the others."""
        with self._lock:
            if not self._threads:
                self._chosen = _here()
            self._threads += 1
            chosen = self._chosen
        try:
            before = _moved(chosen)
            try:
                yield
            finally:
                _moved(before)
        finally:
            with self._lock:
                self._threads -= 1


def _here() -> frozenset[int]:
    """Return the processor of this thread; none if that cannot be told."""
    try:
        fields = _STAT.read_text().rpartition(")")[2].split()
        return frozenset({int(fields[_PROCESSOR])})
    except (OSError, IndexError, ValueError):
        return frozenset()


def _moved(to: frozenset[int]) -> frozenset[int]:
    """Let this thread run on these processors alone; return on which it could until now."""
    if not to:
        return to
    with suppress(OSError):  # a container may forbid it: it is slower then, and no less right
        before = frozenset(os.sched_getaffinity(0))
        os.sched_setaffinity(0, to)
        return before
    return frozenset()

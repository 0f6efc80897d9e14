"""Writes that go on while whoever asked for them does something else, one at a time."""

import threading
from collections.abc import Callable
from queue import SimpleQueue


class WriteBehind:
    """Writes in a thread of its own, which lives from the first write until `close`.

    Used by one thread.  A disk that hangs holds the thread, and who waits for it, and never keeps
    a process from ending.
    """

    def __init__(self) -> None:
        self._asked: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._done: SimpleQueue[BaseException | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._under_way = False

    def begin(self, write: Callable[[], None]) -> None:
        """Begin a write once the one before is done.

        Raises
        ------
        OSError
            The one before failed; this one is not begun.
        """
        self.wait()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="journal-write", daemon=True)
            self._thread.start()
        self._under_way = True
        self._asked.put(write)

    def wait(self) -> None:
        """Return once nothing is being written.

        Raises
        ------
        OSError
            The last write failed; it is said once.
        """
        if self._under_way:
            failure = self._done.get()
            self._under_way = False
            if failure is not None:
                raise failure

    def close(self) -> None:
        """Wait, whatever becomes of the last write, and let the thread end."""
        if self._under_way:
            self._done.get()
            self._under_way = False
        if self._thread is not None:
            self._asked.put(None)
            self._thread = None

    def _run(self) -> None:
        while (write := self._asked.get()) is not None:
            failure: BaseException | None = None
            try:
                write()
            except BaseException as error:  # noqa: BLE001 - raised where it is waited for
                failure = error
            self._done.put(failure)

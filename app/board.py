"""The board: memory that processes share, on which the supervisor writes who of them serves."""

from collections.abc import Sequence
from enum import IntEnum
from mmap import PAGESIZE, mmap

from kernel.errors import Transient


class Condition(IntEnum):
    """How a process is."""

    STARTING = 0
    SERVING = 1
    DOWN = 2


class ProcessDown(Transient):
    """A process of this engine ended and does not serve again yet."""

    code = "board.process_down"


class Board:
    """One byte a process, in memory that is shared with whoever is forked later.

    Parameters
    ----------
    names
        Of the processes.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._places = {name: place for place, name in enumerate(names)}
        self._memory = mmap(-1, PAGESIZE)

    def note(self, name: str, condition: Condition) -> None:
        """Write how a process is; only the supervisor does."""
        self._memory[self._places[name]] = condition

    def condition(self, name: str) -> Condition:
        """Return how a process is."""
        return Condition(self._memory[self._places[name]])

    def require_serving(self, name: str) -> None:
        """Check that a process serves.

        Raises
        ------
        ProcessDown
            It ended, or was started anew and is not ready yet.
        """
        condition = self.condition(name)
        if condition is Condition.DOWN:
            raise ProcessDown(f"the {name} process ended and is started anew; the log says why")
        if condition is Condition.STARTING:
            raise ProcessDown(f"the {name} process starts")

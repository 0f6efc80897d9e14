"""A pulse: what a part of a process counts at each of its turns, for somebody else to watch."""


class Pulse:
    """One number in memory that may be shared: odd while another turn is owed, even at rest.

    One thread beats at a time; whoever watches, in this process or another, only reads.

    Parameters
    ----------
    cell
        One 64-bit number; None: nobody watches.
    every_s
        A part that only waits beats all the same, so often; None: it need not.
    """

    def __init__(self, cell: memoryview | None = None, *, every_s: float | None = None) -> None:
        self._cell = memoryview(bytearray(8)).cast("Q") if cell is None else cell
        self.every_s = every_s

    def beat(self) -> None:
        """Note a turn; the next one is owed from here on."""
        self._cell[0] = self._cell[0] + 1 | 1

    def rest(self) -> None:
        """Note that nothing is owed until the next turn."""
        self._cell[0] += self._cell[0] & 1

    def __enter__(self) -> None:
        """Begin a block whose end is owed."""
        self.beat()

    def __exit__(self, *_failure: object) -> None:
        """Rest once the block is over."""
        self.rest()

    def count(self) -> int:
        """Return the number: it moves with every turn, and is even at rest."""
        count: int = self._cell[0]
        return count

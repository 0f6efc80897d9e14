"""The board: memory that processes share, of who of them serves and whether it shows life."""

from collections.abc import Mapping, Sequence
from enum import IntEnum, StrEnum
from mmap import PAGESIZE, mmap

from kernel.errors import Transient
from kernel.pulse import Pulse


class Condition(IntEnum):
    """How a process is."""

    STARTING = 0
    SERVING = 1
    DOWN = 2
    HUNG = 3
    """It showed no life and is ended, to be started anew."""
    WAITS = 4
    """It shows no life, but the system does not let it: a disk does not answer."""


class Part(StrEnum):
    """A part of a process that shows life at its turns."""

    STARTING = "starting"
    """All of it, from the fork until it serves."""
    ACCEPTING = "accepting"
    """The loop of the node's port."""
    ACCEPTING_TLS = "accepting_tls"
    """That of its TLS port."""
    ANSWERING = "answering"
    """The event loop of the web."""
    RESERVING = "reserving"
    """Room in the journal for what arrives."""
    COMMITTING = "committing"
    """Flush and index of what arrived."""
    RELAYING = "relaying"
    """The relay's look at what is due; the work itself is others' threads'."""


_SILENT: Mapping[Part | None, str] = {
    None: "it died",
    Part.STARTING: "its start went no further",
    Part.ACCEPTING: "it took no connections",
    Part.ACCEPTING_TLS: "it took no connections over TLS",
    Part.ANSWERING: "it answered no requests",
    Part.RESERVING: "its journal gave no room to what arrived",
    Part.COMMITTING: "it did not commit what arrived",
    Part.RELAYING: "its relay handed nothing over",
}
_PARTS = tuple(Part)
_CONDITION, _WHY, _ENDS, _LAST_WHY = range(4)
_PULSES = 4
_ROW = _PULSES + len(_PARTS)


class ProcessDown(Transient):
    """A process of this engine ended or hangs, and does not serve again yet."""

    code = "board.process_down"


class Board:
    """A row of numbers a process, in memory that is shared with whoever is forked later.

    Parameters
    ----------
    names
        Of the processes.
    """

    def __init__(self, names: Sequence[str]) -> None:
        cells = memoryview(mmap(-1, PAGESIZE)).cast("Q")
        self._rows = {
            name: cells[place * _ROW : (place + 1) * _ROW] for place, name in enumerate(names)
        }

    def note(self, name: str, condition: Condition, part: Part | None = None) -> None:
        """Write how a process is, and for which part of it; only the supervisor does."""
        row = self._rows[name]
        row[_CONDITION] = condition
        if condition is not Condition.SERVING:
            row[_WHY] = 0 if part is None else 1 + _PARTS.index(part)

    def begin(self, name: str, *, again: bool) -> None:
        """Lay the pulses of a process that is forked next to rest, but for that of its start."""
        row = self._rows[name]
        if again:
            row[_ENDS] += 1
            row[_LAST_WHY] = row[_WHY]
        for place in range(_PULSES, _ROW):
            row[place] = 0
        row[_PULSES + _PARTS.index(Part.STARTING)] = 1

    def condition(self, name: str) -> Condition:
        """Return how a process is."""
        return Condition(self._rows[name][_CONDITION])

    def pulse(self, name: str, part: Part, *, every_s: float | None) -> Pulse:
        """Return the pulse of a part, for the process that has it."""
        place = _PULSES + _PARTS.index(part)
        return Pulse(self._rows[name][place : place + 1], every_s=every_s)

    def counts(self, name: str) -> dict[Part, int]:
        """Return what the pulses of a process count."""
        return dict(zip(_PARTS, self._rows[name][_PULSES:], strict=True))

    def require_serving(self, name: str) -> str | None:
        """Check that a process serves; return whether it was started anew before, and why.

        Raises
        ------
        ProcessDown
            It ended or shows no life, or was started anew and is not ready yet.
        """
        condition, why = self.condition(name), self._why(name, _WHY)
        if condition is Condition.DOWN:
            raise ProcessDown(f"the {name} process ended and is started anew; the log says why")
        if condition is Condition.HUNG:
            raise ProcessDown(f"the {name} process hung and is started anew: {why}")
        if condition is Condition.WAITS:
            raise ProcessDown(f"the {name} process waits for a disk: {why}")
        if condition is Condition.STARTING:
            raise ProcessDown(f"the {name} process starts")
        return self.told_of(name)

    def told_of(self, name: str) -> str | None:
        """Return whether a process was started anew before, and why."""
        ends = self._rows[name][_ENDS]
        why = self._why(name, _LAST_WHY)
        if ends < 2:
            return f"well; started anew once, because {why}" if ends else None
        return f"well; started anew {ends} times, at last because {why}"

    def _why(self, name: str, place: int) -> str:
        why = self._rows[name][place]
        return _SILENT[_PARTS[why - 1] if why else None]

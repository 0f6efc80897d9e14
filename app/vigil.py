"""The vigil over one process: when a part of it that owes a turn has been silent for too long.

Only time in which the watcher itself was awake counts: after a look that comes late, as after a
machine was suspended, the watcher was stopped or the machine is too busy for it, as little is known
of the watched as of the watcher, and that time is left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from app.board import Part

LOOKS = 6
"""So often a pulse is looked at, and beaten, within the shortest bound."""
_LATE = 2.0
"""A look is late that comes after so many periods."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a part may be silent before its process is ended.

    Parameters
    ----------
    silent_s
        Of a loop that turns even where there is nothing to do; 0 is for ever.
    stuck_s
        Of a flush or a commit, which waits for disks and databases; 0 is for ever.
    start_s
        Of a start, between two steps of it; 0 is for ever.
    """

    silent_s: float = 30.0
    stuck_s: float = 180.0
    start_s: float = 300.0

    @property
    def bounds(self) -> Mapping[Part, float]:
        """The bound of each part that has one."""
        loops = (Part.ACCEPTING, Part.ACCEPTING_TLS, Part.ANSWERING)
        bounds = dict.fromkeys(Part, self.stuck_s) | dict.fromkeys(loops, self.silent_s)
        bounds[Part.STARTING] = self.start_s
        return {part: bound for part, bound in bounds.items() if bound}

    @property
    def period_s(self) -> float | None:
        """How often to look, and to beat; None: never."""
        return min(self.bounds.values(), default=0.0) / LOOKS or None


@dataclass(slots=True)
class Vigil:
    """What was seen of one process since it was forked."""

    patience: Patience
    _seen: dict[Part, int] = field(default_factory=dict)
    _silent_s: dict[Part, float] = field(default_factory=dict)

    def look(self, counts: Mapping[Part, int], since_s: float) -> Part | None:
        """Return a part that has been silent beyond its bound.

        Parameters
        ----------
        counts
            Of the pulses, now.
        since_s
            How long ago the last look was.
        """
        is_late = since_s > _LATE * (self.patience.period_s or 0.0)
        for part, count in counts.items():
            if count != self._seen.get(part) or not count & 1:
                self._seen[part], self._silent_s[part] = count, 0.0
            elif not is_late:
                self._silent_s[part] += since_s
        bounds = self.patience.bounds
        silent = (part for part, bound in bounds.items() if self._silent_s.get(part, 0.0) > bound)
        return next(silent, None)

"""How long a device pauses between the images of one study: learnt, bounded.  Pure.

Of each study the longest pause counts, for that is what a quiet time has to outlast; the gaps
between the images of a burst would drown it.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

BOUNDS_S = (1, 2, 3, 5, 8, 12, 20, 30, 45, 60, 90, 120, 180, 300, 600)
"""Upper bounds of the classes that pauses fall into, in seconds; longer ones are one class."""

FEWEST = 20
"""Studies after which a device is known."""

MOST = 400
"""Studies after which older ones count half, so that what changes is learnt anew."""

_USUAL = 0.95
_MARGIN = 1.5


@dataclass(frozen=True, slots=True)
class Pauses:
    """Numbers of studies by the class of their longest pause."""

    counts: tuple[int, ...] = (0,) * (len(BOUNDS_S) + 1)

    def with_longest(self, pause: timedelta) -> "Pauses":
        """Return the numbers with one more study."""
        counts = list(self.counts)
        counts[bisect_left(BOUNDS_S, pause.total_seconds())] += 1
        if sum(counts) > MOST:
            counts = [count // 2 for count in counts]
        return Pauses(tuple(counts))

    def quiet(self, *, floor: timedelta, ceiling: timedelta) -> timedelta | None:
        """Return for how long nothing usually means that nothing more comes.

        That is half as much again as nineteen of twenty studies paused at the longest, within
        floor and ceiling; None while too few studies are known.
        """
        total = sum(self.counts)
        if total < FEWEST:
            return None
        seen = 0
        for bound, count in zip(BOUNDS_S, self.counts, strict=False):
            seen += count
            if seen >= _USUAL * total:
                return min(max(timedelta(seconds=bound * _MARGIN), floor), ceiling)
        return ceiling


def longest(moments: Sequence[datetime]) -> timedelta | None:
    """Return the longest pause between arrivals; None where there are fewer than two."""
    gaps = (later - sooner for sooner, later in pairwise(sorted(moments)))
    return max(gaps, default=None)

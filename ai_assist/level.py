"""How loudly a finding speaks: four levels, in order."""

from collections.abc import Iterable
from enum import StrEnum


class Level(StrEnum):
    """What a finding does to the case, from nothing to telling the site's doctor at once."""

    NONE = "none"  # stored only
    ADVISE = "advise"  # a badge
    ESCALATE = "escalate"  # the due time moves forward
    CRITICAL = "critical"  # and the site's doctor hears of an unverified suspicion


_RANK = {level: rank for rank, level in enumerate(Level)}


def highest(levels: Iterable[Level]) -> Level:
    """Return the highest of some levels, 'none' if there are none."""
    return max(levels, key=_RANK.__getitem__, default=Level.NONE)


def not_above(level: Level, ceiling: Level) -> Level:
    """Return `level`, or the ceiling if it lies above."""
    return min(level, ceiling, key=_RANK.__getitem__)

"""One measured row, and what is demanded of it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

_DIGITS = 4


@dataclass(frozen=True, slots=True)
class Demand:
    """What the ratio of ours to theirs must be; `at` is ``least`` or ``most``."""

    at: Literal["least", "most"]
    ratio: float

    def is_met(self, ratio: float) -> bool:
        """Say whether a ratio meets it."""
        return ratio >= self.ratio if self.at == "least" else ratio <= self.ratio

    def __str__(self) -> str:
        return f"{'≥' if self.at == 'least' else '≤'} {self.ratio:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Medians of ours and a peer's, measured in turn; `ratio` is ours to theirs."""

    case: str
    ours: float
    peer: str
    theirs: float
    unit: str
    rounds: int
    demand: Demand | None = None

    @property
    def ratio(self) -> float:
        """Ours to theirs: better is higher for a throughput and lower for a time or a size."""
        return self.ours / self.theirs

    @property
    def verdict(self) -> str:
        """Whether the demand is met, in a word."""
        if self.demand is None:
            return ""
        return "met" if self.demand.is_met(self.ratio) else "not met"

    def as_json(self) -> str:
        """Return the row as scripts read it."""
        return json.dumps(
            {
                "case": self.case,
                "ours": _rounded(self.ours),
                "peer": self.peer,
                "theirs": _rounded(self.theirs),
                "ratio": _rounded(self.ratio),
                "unit": self.unit,
                "rounds": self.rounds,
            },
            ensure_ascii=False,
        )


def compared(
    case: str,
    ours: Sequence[float],
    peer: str,
    theirs: Sequence[float],
    *,
    unit: str,
    demand: Demand | None = None,
) -> Row:
    """Return the row of two series that were measured in turn."""
    return Row(
        case=case,
        ours=median(ours),
        peer=peer,
        theirs=median(theirs),
        unit=unit,
        rounds=len(ours),
        demand=demand,
    )


def bounded(case: str, ours: Sequence[float], bound: float, *, unit: str) -> Row:
    """Return the row of a series that has a bound instead of a peer."""
    return compared(case, ours, "demand", [bound], unit=unit, demand=Demand("most", 1.0))


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")

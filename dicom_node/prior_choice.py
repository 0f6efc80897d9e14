"""Which of a patient's studies at a peer are fetched, and when what failed is tried again.  Pure.

A peer may hold hundreds of studies of one patient, some of them of gigabytes: the latest few that
are not older than the bound are what a reader compares with.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from dicom_node.priors import PriorStudy
from kernel.days import digits_of

_FIRST_PAUSE = timedelta(seconds=20)
_LONGEST_PAUSE = timedelta(minutes=15)


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorBounds:
    """How much is fetched of a patient from one peer, and for how long that is tried."""

    studies: int = 5
    years: int = 5
    images: int = 3000
    at_once: int = 2
    again: timedelta = timedelta(hours=12)
    move: timedelta = timedelta(minutes=15)
    give_up: timedelta = timedelta(hours=24)

    def next_attempt(self, attempts: int, *, begun_at: datetime, at: datetime) -> datetime | None:
        """Return when to try again what failed; None once it has been tried for long enough."""
        pause = min(_FIRST_PAUSE * 2 ** min(attempts, 12), _LONGEST_PAUSE)
        return at + pause if at + pause <= begun_at + self.give_up else None


@dataclass(frozen=True, slots=True)
class Choice:
    """What becomes of the studies that a peer says it has of a patient.

    `passed_over` were found and are older than the bound, or more than are fetched.
    """

    fetch: tuple[PriorStudy, ...]
    too_large: tuple[PriorStudy, ...]
    here: int
    passed_over: int

    @property
    def sentence(self) -> str:
        """The choice in words."""
        found = self.here + len(self.fetch) + len(self.too_large) + self.passed_over
        if not found:
            return "It has no other study of the patient."
        told = [(len(self.fetch), "fetched"), (self.here, "here or coming already")]
        told += [(len(self.too_large), "too large"), (self.passed_over, "left as old or too many")]
        counted = ", ".join(f"{number} {what}" for number, what in told if number)
        return f"It has {found} other {'study' if found == 1 else 'studies'}: {counted}."


def choose(
    found: Iterable[PriorStudy],
    *,
    own: str,
    known: frozenset[str],
    before: date,
    bounds: PriorBounds,
) -> Choice:
    """Choose which studies are fetched.

    Parameters
    ----------
    own
        The study of the case.
    known
        Studies that are here, or are fetched already; they count among those that there are.
    before
        The day of the study of the case.  A study without a readable date counts as oldest.
    """
    others = [study for study in found if study.study_uid != own]
    others.sort(key=lambda study: (study.study_date, study.study_time), reverse=True)
    oldest = before.replace(day=1).replace(year=max(1, before.year - bounds.years))
    first_day = digits_of(oldest)
    recent = [one for one in others if one.study_date >= first_day]
    chosen = recent[: bounds.studies]
    new = [one for one in chosen if one.study_uid not in known]
    large = [one for one in new if (one.instances or 0) > bounds.images]
    return Choice(
        fetch=tuple(one for one in new if one not in large),
        too_large=tuple(large),
        here=len(chosen) - len(new),
        passed_over=len(others) - len(chosen),
    )

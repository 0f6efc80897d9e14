"""The legal clock and the patient clock of a case, and when it is due."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from worklist.errors import SettingOutOfRange, TargetOutsideLaw
from worklist.request import Form

URGENT_SHORTEST = timedelta(hours=3)
URGENT_LONGEST = timedelta(hours=24)


class ClockRule(StrEnum):
    """When the term begins; the order can be read in two ways."""

    WHEN_DOCUMENTS_COMPLETE = "when_documents_complete"
    """The later of request and documents (KZ §13, the general rule)."""
    ON_REQUEST = "on_request"
    """Receipt of the request (KZ §8, as its wording for the urgent form goes)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """Within what time a case of each form is due.

    Raises
    ------
    TargetOutsideLaw
        The urgent target lies outside 3 to 24 hours (KZ §8).
    SettingOutOfRange
        A target is not positive, or the emergent one is longer than the urgent one.
    """

    emergent: timedelta = timedelta(hours=1)  # a threat to life: our own class, our own hour
    urgent: timedelta = timedelta(hours=24)  # the longest that KZ §8 allows
    planned: timedelta = timedelta(hours=72)  # with 24 h, no breach in the simulated overload

    def __post_init__(self) -> None:
        """Refuse targets that the law or reason does not permit."""
        if not URGENT_SHORTEST <= self.urgent <= URGENT_LONGEST:
            raise TargetOutsideLaw(
                f"the urgent target must lie within 3 and 24 hours, not {self.urgent}"
            )
        if not timedelta() < self.emergent <= self.urgent or self.planned <= timedelta():
            raise SettingOutOfRange("targets are positive, and emergent is not after urgent")

    def of(self, form: Form) -> timedelta:
        """Return the target of a form."""
        return {
            Form.EMERGENT: self.emergent,
            Form.URGENT: self.urgent,
            Form.PLANNED: self.planned,
        }[form]


@dataclass(frozen=True, slots=True)
class Clocks:
    """Two starts, shown side by side, so that "incomplete" cannot hide a delay.

    `legal_start` is where the term begins; `patient_start` is the first submission.
    """

    legal_start: datetime
    patient_start: datetime


def clocks(*, request_received: datetime, documents_received: datetime, rule: ClockRule) -> Clocks:
    """Return when the clocks of a case began.

    References
    ----------
    KZ §13: the term runs from the moment when both the request and the documents that it needs
    have arrived, whichever is later; KZ §8 for the other reading.
    """
    later = max(request_received, documents_received)
    legal = request_received if rule is ClockRule.ON_REQUEST else later
    return Clocks(legal_start=legal, patient_start=min(request_received, documents_received))


def due_at(start: datetime, form: Form, targets: Targets) -> datetime:
    """Return the moment by which a case with this legal clock start is due."""
    return start + targets.of(form)


def drawn_forward(due: datetime, start: datetime, head_start: timedelta) -> datetime:
    """Return the due moment after an AI hint: only ever earlier, never later."""
    return min(due, start + head_start)


def share_used(start: datetime, due: datetime, *, at: datetime) -> float:
    """Return which share of the term is used up: 0 at the start, 1 when due, more after."""
    return (at - start) / (due - start) if due > start else 1.0

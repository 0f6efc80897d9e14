"""What may be taken out of the archive, by whom, why and from when.  Pure.

Nothing goes by accident: a withdrawal names one of the reasons of IHE IOCM, is refused while
somebody works on the study or the law still wants it kept, and can be undone until its purge.

References
----------
IHE RAD TF-3, 4.66 and 4.81 (Imaging Object Change Management); DICOM PS3.16 CID 7011 (the codes);
KZ §36-38: what belongs to a case is kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import ClassVar

from kernel.errors import NotFound, Refused

SCHEME = "DCM"


class Reason(StrEnum):
    """Why instances are withdrawn; the value is the code value of the scheme DCM."""

    QUALITY = "113001"
    SAFETY = "113037"
    WRONG_WORKLIST_ENTRY = "113038"
    RETENTION_EXPIRED = "113039"

    @property
    def meaning(self) -> str:
        """The code meaning of the standard."""
        return _MEANINGS[self]


_MEANINGS = {
    Reason.QUALITY: "Rejected for Quality Reasons",
    Reason.SAFETY: "Rejected for Patient Safety Reasons",
    Reason.WRONG_WORKLIST_ENTRY: "Incorrect Modality Worklist Entry",
    Reason.RETENTION_EXPIRED: "Data Retention Policy Expired",
}


class WithdrawalRefused(Refused):
    """A rule keeps what was to be withdrawn or purged."""

    code = "retention.refused"


class ReasonUnknown(WithdrawalRefused):
    """A withdrawal names no reason, or none of those that there are."""

    code = "retention.reason_unknown"
    clause = "IHE RAD TF-3, 4.66"


class UnderHold(WithdrawalRefused):
    """A legal hold lies on the study."""

    code = "retention.under_hold"


class OpenInCase(WithdrawalRefused):
    """A case of the study is not over."""

    code = "retention.open_in_case"


class ReportKept(WithdrawalRefused):
    """A signed report was made from the study, and its time is not over."""

    code = "retention.report_kept"
    clause: ClassVar[str | None] = "KZ §38"


class RetentionNotOver(WithdrawalRefused):
    """The reason given is that retention is over, and it is not."""

    code = "retention.not_over"


class NotTheOwner(WithdrawalRefused):
    """The study belongs to another organisation."""

    code = "retention.not_the_owner"


class WithdrawalUnknown(NotFound):
    """There is no such withdrawal, or it is restored or purged already."""

    code = "retention.withdrawal_unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How many years studies are kept, and how long a withdrawal can be undone.

    The figure of a modality goes before that of the organisation, and that before `years`; of
    several modalities the longest counts.
    """

    years: int = 25
    by_modality: Mapping[str, int] = field(default_factory=dict)
    by_organisation: Mapping[str, int] = field(default_factory=dict)
    grace: timedelta = timedelta(days=30)

    @property
    def least_years(self) -> int:
        """The shortest time that any study is kept."""
        return min([self.years, *self.by_modality.values(), *self.by_organisation.values()])

    def years_of(self, organisation: str, modalities: tuple[str, ...]) -> int:
        """Return how many years a study is kept; the default where nothing more applies."""
        general = self.by_organisation.get(organisation, self.years)
        return max([self.by_modality.get(each, general) for each in modalities] or [general])


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """What the rules need to know of a study.

    Parameters
    ----------
    owner
        The organisation that sent it, empty where nobody knows.
    open_cases
        Ids of its cases that are not over.
    signed_at
        When the last report of it was signed.
    """

    study_uid: str
    owner: str
    modalities: tuple[str, ...]
    last_arrival_at: datetime
    held: bool = False
    open_cases: tuple[str, ...] = ()
    signed_at: datetime | None = None

    def kept_until(self, retention: Retention) -> datetime:
        """Return when retention ends: years after its last instance and its last signature."""
        last = max(self.last_arrival_at, self.signed_at or self.last_arrival_at)
        return years_later(last, retention.years_of(self.owner, self.modalities))


def reason_of(code: str) -> Reason:
    """Return the reason of a code, with or without its scheme (``113001`` or ``113001^DCM``).

    Raises
    ------
    ReasonUnknown
        It is none of those that there are.
    """
    value, _, scheme = code.strip().partition("^")
    if value in {each.value for each in Reason} and scheme in ("", SCHEME):
        return Reason(value)
    known = "; ".join(f"{each.value} {each.meaning}" for each in Reason)
    raise ReasonUnknown(f"a withdrawal names its reason, one of: {known}")


def require_owner(keeping: Keeping, organisation: str | None) -> None:
    """Refuse who is of another organisation than the study; None is the node's own.

    Raises
    ------
    NotTheOwner
        The study belongs to another organisation.
    """
    if organisation is not None and (not keeping.owner or organisation != keeping.owner):
        raise NotTheOwner("a study is withdrawn by the organisation that it belongs to")


def require_withdrawable(
    keeping: Keeping, reason: Reason, retention: Retention, *, at: datetime
) -> None:
    """Refuse what may not be withdrawn now.

    Raises
    ------
    UnderHold, OpenInCase, ReportKept, RetentionNotOver
        The rule that keeps it.
    """
    require_free(keeping)
    until = keeping.kept_until(retention)
    if at >= until:
        return
    if keeping.signed_at is not None:
        raise ReportKept(f"a signed report was made from this study: it is kept until {until:%F}")
    if reason is Reason.RETENTION_EXPIRED:
        raise RetentionNotOver(f"this study is kept until {until:%F}")


def require_free(keeping: Keeping) -> None:
    """Refuse what may be neither withdrawn nor purged, whatever the reason.

    Raises
    ------
    UnderHold, OpenInCase
        The rule that keeps it.
    """
    if keeping.held:
        raise UnderHold("a legal hold lies on this study: release it first")
    if keeping.open_cases:
        raise OpenInCase("a case of this study is not over")


def years_later(moment: datetime, years: int) -> datetime:
    """Return the same day so many years later; of 29 February the day after where there is none."""
    try:
        return moment.replace(year=moment.year + years)
    except ValueError:
        return moment.replace(year=moment.year + years, month=3, day=1)

"""Corrections: what a person says of patients and studies on top of what was received; pure.

The bytes and the manifests stay as they came.  What is shown and handed out follows from what was
received and the set of corrections in force, whatever was withdrawn in between and in whatever
order: taking a correction back is the same as never having made it.

References
----------
DICOM PS3.3 section C.12.1.1.9 (Original Attributes Sequence), IHE PIR (patient reconciliation).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from kernel.errors import NotFound, Refused

MAX_REASON = 300
DEMOGRAPHICS = ("name", "sex", "birth_date")


class Kind(StrEnum):
    """What is corrected; see `Correction.target` for what it says."""

    MERGE = "merge"
    """A patient is the same person as another, which stays."""
    DISTINCT = "distinct"
    """Two patients that look alike are two persons."""
    DEMOGRAPHICS = "demographics"
    """Name, sex or birth date of a patient were wrong."""
    STUDY_PATIENT = "study_patient"
    """A study was made of another patient."""
    STUDY_ACCESSION = "study_accession"
    """A study has another accession number."""


class CorrectionRefused(Refused):
    """A correction contradicts those in force, or changes nothing."""

    code = "storage.correction_refused"


class MergeCycle(CorrectionRefused):
    """Each of two patients would be merged into the other."""

    code = "storage.merge_cycle"


class ReasonMissing(CorrectionRefused):
    """Nobody said why."""

    code = "storage.reason_missing"


class CorrectionUnknown(NotFound):
    """No correction has this number."""

    code = "storage.correction_unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """One correction, in force until it is withdrawn.

    Parameters
    ----------
    number
        Grows with time: of two that say different things of the same, the later one counts.
    subject
        The reference of a patient, or a Study Instance UID.
    target
        The reference of the other patient, or the accession number.
    values
        Of demographics: what is right, by name; birth dates as ISO 8601.
    """

    number: int
    kind: Kind
    subject: str
    target: str
    values: Mapping[str, str]
    reason: str
    actor: str
    made_at: datetime
    withdrawn_at: datetime | None = None
    withdrawn_by: str | None = None
    withdrawn_reason: str | None = None

    @property
    def in_force(self) -> bool:
        """Say whether it counts."""
        return self.withdrawn_at is None


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose a study is and under which accession number."""

    patient_ref: str
    accession: str


def checked_reason(reason: str) -> str:
    """Return the reason of a person.

    Raises
    ------
    ReasonMissing
        It is empty or too long.
    """
    reason = " ".join(reason.split())
    if not reason or len(reason) > MAX_REASON:
        raise ReasonMissing(f"a correction has a reason of 1 to {MAX_REASON} characters")
    return reason


def merges(corrections: Iterable[Correction]) -> dict[str, str]:
    """Return who is merged directly into whom, by those in force."""
    return {each.subject: each.target for each in _in_force(corrections, Kind.MERGE)}


def survivor(merged: Mapping[str, str], ref: str) -> str:
    """Return who stands for a patient after every merge."""
    while ref in merged:
        ref = merged[ref]
    return ref


def check_merge(merged: Mapping[str, str], subject: str, target: str) -> None:
    """Check that a merge leaves one patient standing.

    Raises
    ------
    MergeCycle
        The other is merged into this one already.
    CorrectionRefused
        This one is merged already.
    """
    if survivor(merged, target) == subject:
        raise MergeCycle("the other patient is, by a merge in force, this one")
    if subject in merged:
        raise CorrectionRefused("the patient is merged already: withdraw that merge first")


def identity(
    study_uid: str, received: Identity, corrections: Iterable[Correction], merged: Mapping[str, str]
) -> Identity:
    """Return whose a study is now, by what was received and the corrections in force."""
    found = list(corrections)
    moved = _latest(found, Kind.STUDY_PATIENT, study_uid)
    numbered = _latest(found, Kind.STUDY_ACCESSION, study_uid)
    ref = received.patient_ref if moved is None else moved.target
    accession = received.accession if numbered is None else numbered.target
    return Identity(survivor(merged, ref), accession)


def demographics(ref: str, corrections: Iterable[Correction]) -> dict[str, str]:
    """Return what is right of a patient, by name; the latest correction in force counts."""
    said: dict[str, str] = {}
    for each in sorted(_in_force(corrections, Kind.DEMOGRAPHICS), key=lambda one: one.number):
        if each.subject == ref:
            said |= each.values
    return said


def _latest(corrections: Iterable[Correction], kind: Kind, subject: str) -> Correction | None:
    found = [each for each in _in_force(corrections, kind) if each.subject == subject]
    return max(found, key=lambda each: each.number, default=None)


def _in_force(corrections: Iterable[Correction], kind: Kind) -> list[Correction]:
    return [each for each in corrections if each.in_force and each.kind is kind]

"""Who may see and do what with a case; pure.

Access follows assignment and ends with it: images and text are for the one who holds the case,
for the site that asked, and for the patient; administrators of the organisations involved see
where a case stands, not what it shows.

References
----------
KZ §35 (consultants), KZ §40 (patients see their record and the journal of access).
"""

from dataclasses import dataclass
from enum import StrEnum

from app.identity.person import Person
from kernel.people import Role
from worklist.case import Case, CaseState


class Right(StrEnum):
    """One thing that a person may do with a case."""

    SEE_CASE = "see_case"
    """Where it stands and why; no patient, no images, no text."""
    SEE_PATIENT = "see_patient"
    SEE_IMAGES = "see_images"
    SEE_REPORT = "see_report"
    """The signed document."""
    SEE_JOURNAL = "see_journal"
    """Who had access."""
    ANSWER = "answer"
    """Take or decline the offer."""
    WRITE = "write"
    """Write, finalise and sign the report; give the case back."""
    DISPATCH = "dispatch"
    """Put a case back, send a delivery again."""


_ALL_OF_RECORD = frozenset(
    {Right.SEE_CASE, Right.SEE_PATIENT, Right.SEE_IMAGES, Right.SEE_REPORT, Right.SEE_JOURNAL}
)
_FOR_HOLDER = frozenset(
    {Right.SEE_CASE, Right.SEE_PATIENT, Right.SEE_IMAGES, Right.SEE_REPORT, Right.WRITE}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the rule needs to know beside the person and the case.

    `consulting` are the organisations on whose lists of the profile consultants stand, and those
    of the consultants who have or had the case; `profiles` are the lists on which the asking
    person stands; `own_refs` are further references of the patient who asks, by merges.
    """

    consulting: frozenset[str]
    profiles: frozenset[str]
    author_sees_own_report: bool
    own_refs: frozenset[str] = frozenset()


def rights(person: Person, case: Case, around: Surroundings) -> frozenset[Right]:
    """Return everything that the person may do with the case now."""
    granted: frozenset[Right] = frozenset()
    if Role.CONSULTANT in person.roles and person.reader_id is not None:
        granted |= _of_consultant(person.reader_id, case, around)
    if person.is_site_staff and person.organisation_id == case.site_id:
        granted |= _ALL_OF_RECORD
    if Role.ADMINISTRATOR in person.roles:
        granted |= _of_administrator(person, case, around)
    if Role.PATIENT in person.roles and case.patient_ref in {person.patient_ref, *around.own_refs}:
        granted |= _of_patient(case)
    return granted


def _of_patient(case: Case) -> frozenset[Right]:
    """Of a study that was found to be another's nobody's own record has the images."""
    return _ALL_OF_RECORD if case.misfiled_by is None else _ALL_OF_RECORD - {Right.SEE_IMAGES}


def _of_consultant(reader_id: str, case: Case, around: Surroundings) -> frozenset[Right]:
    if case.state is CaseState.READING and case.holder == reader_id:
        return _FOR_HOLDER
    if case.state is CaseState.OFFERED and case.offered_to == reader_id:
        return frozenset({Right.SEE_CASE, Right.ANSWER})
    if case.signed_by == reader_id:
        own = {Right.SEE_REPORT} if around.author_sees_own_report else set()
        return frozenset({Right.SEE_CASE, *own})
    if case.state is CaseState.QUEUED and case.profile in around.profiles:
        return frozenset({Right.SEE_CASE})
    return frozenset()


def _of_administrator(person: Person, case: Case, around: Surroundings) -> frozenset[Right]:
    if person.organisation_id in around.consulting:
        return frozenset({Right.SEE_CASE, Right.SEE_JOURNAL, Right.DISPATCH})
    if person.organisation_id == case.site_id:
        return frozenset({Right.SEE_CASE, Right.SEE_JOURNAL})
    return frozenset()

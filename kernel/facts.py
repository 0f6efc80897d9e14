"""All facts that one package tells another: frozen, versioned, without names or free text.

A fact is stored as JSON beside the change that made it true (`storage.outbox`).  The stored form
of each version is pinned by a golden file in ``tests/golden/facts``; a change of a field means a
new version.  `subject` is the ordering key: one consumer sees the facts of a subject in order.
"""

from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import ClassVar

from kernel.errors import Corrupt
from kernel.ids import fresh

Plain = str | int | bool | None | list[str]


@dataclass(frozen=True, kw_only=True)
class Fact:
    """Something that became true in the same transaction that stored it."""

    kind: ClassVar[str]
    version: ClassVar[int] = 1

    subject: str
    at: datetime
    actor: str
    cause: str | None = None
    id: str = field(default_factory=fresh)


@dataclass(frozen=True, kw_only=True)
class RequestReceived(Fact):
    """A request for a reading arrived (KZ §8, §20); subject: the request."""

    kind = "RequestReceived"
    request_id: str
    organisation_id: str
    patient_ref: str
    accession: str
    study_uid: str | None
    modality: str
    station_ae_title: str
    procedure: str
    scheduled_at: datetime | None
    profile: str | None
    form: str


@dataclass(frozen=True, kw_only=True)
class RequestChanged(Fact):
    """A request was cancelled or rescheduled (KZ §15); subject: the request."""

    kind = "RequestChanged"
    request_id: str
    state: str
    scheduled_at: datetime | None
    reason: str


@dataclass(frozen=True, kw_only=True)
class StudyCompleted(Fact):
    """A study was judged complete and its first manifest frozen; subject: the study."""

    kind = "StudyCompleted"
    study_uid: str
    manifest_version: int
    manifest_digest: str
    verdict: str


@dataclass(frozen=True, kw_only=True)
class StudyAmended(Fact):
    """Instances came after completion: a further manifest was frozen; subject: the study."""

    kind = "StudyAmended"
    study_uid: str
    manifest_version: int
    manifest_digest: str
    added: int


@dataclass(frozen=True, kw_only=True)
class ProcedureStepStarted(Fact):
    """A modality began a procedure step (PS3.4 Annex F); subject: the step."""

    kind = "ProcedureStepStarted"
    step_uid: str
    organisation_id: str
    study_uids: list[str]


@dataclass(frozen=True, kw_only=True)
class ProcedureStepEnded(Fact):
    """A modality completed or discontinued a step (PS3.4 Annex F); subject: the step."""

    kind = "ProcedureStepEnded"
    step_uid: str
    organisation_id: str
    study_uids: list[str]
    state: str
    reason_code: str | None
    reason_scheme: str | None
    instances: int


@dataclass(frozen=True, kw_only=True)
class StudyCorrected(Fact):
    """A person said what a study's sender had wrong, or took that back; subject: the study.

    `what` names patient, accession or demographics, or images: some alone, which name a patient of
    their own, are shown as another's; `same_person` is false where the images were
    made of somebody else than was shown before.
    """

    kind = "StudyCorrected"
    study_uid: str
    correction: int
    what: list[str]
    same_person: bool


@dataclass(frozen=True, kw_only=True)
class PatientsMerged(Fact):
    """A person said that a patient is the same person as another; subject: that patient.

    `survivor` stands for both from then on.  Of the studies that this shows as another's there is
    a `StudyCorrected` each; a patient who is known by an id alone has none.
    """

    kind = "PatientsMerged"
    patient_ref: str
    survivor: str
    correction: int


@dataclass(frozen=True, kw_only=True)
class StudyWithdrawn(Fact):
    """Instances were withdrawn from sight, with a coded reason; subject: the study.

    `reason` is a code value of DCM; `whole` says that nothing of the study is shown any more.
    """

    kind = "StudyWithdrawn"
    study_uid: str
    withdrawal: int
    reason: str
    instances: int
    whole: bool


@dataclass(frozen=True, kw_only=True)
class StudyRestored(Fact):
    """A withdrawal was undone in time; subject: the study."""

    kind = "StudyRestored"
    study_uid: str
    withdrawal: int
    instances: int


@dataclass(frozen=True, kw_only=True)
class CaseOpened(Fact):
    """A request and its complete study became a case; subject: the case."""

    kind = "CaseOpened"
    case_id: str
    request_id: str
    study_uid: str
    manifest_version: int
    site_id: str
    profile: str
    form: str


@dataclass(frozen=True, kw_only=True)
class TriageSettled(Fact):
    """Every planned model run of the case ended, or none was planned; subject: the case.

    `level` is one of none, advise, escalate, critical; `reason` is a constant code.
    """

    kind = "TriageSettled"
    case_id: str
    outcome: str
    level: str
    reason: str
    run_ids: list[str]


@dataclass(frozen=True, kw_only=True)
class CaseQueued(Fact):
    """The case waits for a consultant of its profile; subject: the case."""

    kind = "CaseQueued"
    case_id: str
    profile: str
    due: datetime
    arrival_number: int


@dataclass(frozen=True, kw_only=True)
class CaseOffered(Fact):
    """The case was offered to the consultant in turn (KZ §23); subject: the case."""

    kind = "CaseOffered"
    case_id: str
    reader_id: str
    until: datetime


@dataclass(frozen=True, kw_only=True)
class CaseClaimed(Fact):
    """The consultant holds the case until the lease runs out; subject: the case."""

    kind = "CaseClaimed"
    case_id: str
    reader_id: str
    held_until: datetime


@dataclass(frozen=True, kw_only=True)
class CaseReleased(Fact):
    """The case went back to the queue with its original place; subject: the case."""

    kind = "CaseReleased"
    case_id: str
    reader_id: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class ReportSigned(Fact):
    """A version of a report was sealed with its author's key (KZ §37); subject: the case."""

    kind = "ReportSigned"
    case_id: str
    report_id: str
    report_version: int
    document_digest: str
    author: str


@dataclass(frozen=True, kw_only=True)
class CaseSigned(Fact):
    """The case has its signed conclusion and must now be delivered; subject: the case."""

    kind = "CaseSigned"
    case_id: str
    request_id: str
    report_id: str
    report_version: int
    document_digest: str


@dataclass(frozen=True, kw_only=True)
class DocumentFiled(Fact):
    """A destination took the signed document and gave a receipt; subject: the case."""

    kind = "DocumentFiled"
    case_id: str
    delivery_id: str
    destination: str
    report_id: str
    report_version: int
    receipt: str


@dataclass(frozen=True, kw_only=True)
class RequesterNotified(Fact):
    """The requester was given access and told so (KZ §21); subject: the case."""

    kind = "RequesterNotified"
    case_id: str
    delivery_id: str
    report_id: str
    report_version: int
    receipt: str


@dataclass(frozen=True, kw_only=True)
class FilingRejected(Fact):
    """A destination refused the document for good; subject: the case."""

    kind = "FilingRejected"
    case_id: str
    delivery_id: str
    destination: str
    code: str


@dataclass(frozen=True, kw_only=True)
class CaseCompleted(Fact):
    """The conclusion is filed and the requester told: the case is complete (KZ §21)."""

    kind = "CaseCompleted"
    case_id: str


FACTS: tuple[type[Fact], ...] = (
    RequestReceived,
    RequestChanged,
    StudyCompleted,
    StudyAmended,
    ProcedureStepStarted,
    ProcedureStepEnded,
    StudyCorrected,
    PatientsMerged,
    StudyWithdrawn,
    StudyRestored,
    CaseOpened,
    TriageSettled,
    CaseQueued,
    CaseOffered,
    CaseClaimed,
    CaseReleased,
    ReportSigned,
    CaseSigned,
    DocumentFiled,
    RequesterNotified,
    FilingRejected,
    CaseCompleted,
)
_BY_NAME = {(fact.kind, fact.version): fact for fact in FACTS}
_BASE = frozenset(f.name for f in fields(Fact))


def to_body(fact: Fact) -> dict[str, Plain]:
    """Return the fields that a fact has beyond the base, as plain JSON values."""
    return {f.name: _plain(getattr(fact, f.name)) for f in fields(fact) if f.name not in _BASE}


def from_parts(
    kind: str,
    version: int,
    body: dict[str, Plain],
    *,
    id: str,
    subject: str,
    at: datetime,
    actor: str,
    cause: str | None,
) -> Fact:
    """Rebuild a fact from its stored parts.

    Raises
    ------
    Corrupt
        No such kind and version, or the body does not fit it.
    """
    known = _BY_NAME.get((kind, version))
    if known is None:
        raise Corrupt(f"the stored fact {kind} version {version} is not known", kind=kind)
    types = {f.name: str(f.type) for f in fields(known)}
    try:
        values = {name: _typed(value, types[name]) for name, value in body.items()}
        return known(id=id, subject=subject, at=at, actor=actor, cause=cause, **values)
    except (KeyError, TypeError, ValueError) as error:
        raise Corrupt(f"the stored fact {id} does not fit {kind} version {version}") from error


def _plain(value: object) -> Plain:
    if isinstance(value, datetime):
        return value.isoformat()
    if value is None or isinstance(value, str | int | bool | list):
        return value
    raise TypeError(f"a fact cannot hold a {type(value).__name__}")


def _typed(value: Plain, type_name: str) -> Plain | datetime:
    if "datetime" in type_name and isinstance(value, str):
        return datetime.fromisoformat(value)
    return value

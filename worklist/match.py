"""Whether a study and a request belong together; a wrong pair harms two patients."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from kernel.ids import PatientRef, RequestId, StudyUID
from worklist.request import Request, RequestState


class DeskReason(StrEnum):
    """Why a study or a request waits on the desk, as a constant code."""

    NO_REQUEST = "no_request"
    PATIENT_UNIDENTIFIED = "patient_unidentified"
    PATIENT_MISMATCH = "patient_mismatch"
    SEVERAL_REQUESTS = "several_requests"
    REQUEST_HAS_CASE = "request_has_case"
    REQUEST_CANCELLED = "request_cancelled"
    NOT_ROUTED = "not_routed"
    STUDY_AWAITED = "study_awaited"


_R = DeskReason
SENTENCES: dict[DeskReason, str] = {
    _R.NO_REQUEST: "No request asks for this study.",
    _R.PATIENT_UNIDENTIFIED: "A request has this accession number, but the study names no patient.",
    _R.PATIENT_MISMATCH: "The request for this study is for another patient.",
    _R.SEVERAL_REQUESTS: "Several requests ask for this study and patient.",
    _R.REQUEST_HAS_CASE: "The request for this study already has its case, with another study.",
    _R.REQUEST_CANCELLED: "The request for this study was cancelled.",
    _R.NOT_ROUTED: "No profile takes this study.",
    _R.STUDY_AWAITED: "The study has not arrived.",
}


@dataclass(frozen=True, slots=True)
class Study:
    """What matching needs to know of a study; an empty accession means that it has none.

    `patients` are the references that may stand for its patient, none if it names no patient: a
    study and a request may know the same person under different issuers.
    """

    study_uid: StudyUID
    accession: str
    patients: frozenset[PatientRef]


@dataclass(frozen=True, slots=True)
class Matched:
    """The open requests that the study belongs to; several only if each names the study."""

    requests: tuple[Request, ...]


@dataclass(frozen=True, slots=True)
class Unmatched:
    """Why the study belongs to no request, and the request that nearly fits."""

    reason: DeskReason
    request_id: RequestId | None = None

    @property
    def sentence(self) -> str:
        """The reason in words."""
        return SENTENCES[self.reason]


def match(study: Study, requests: Iterable[Request]) -> Matched | Unmatched:
    """Return the requests to which a study belongs, or why there is none.

    A request that names the study gets it, unless both name a patient and not the same one.
    Else the accession number and the patient must both be the same: an accession number alone is
    no proof, two sites may use the same.
    """
    known = list(requests)
    naming = [r for r in known if r.study_uid == study.study_uid]
    if naming:
        same = [r for r in naming if may_be_same_patient(study, r)]
        return _open_ones(same) if same else Unmatched(_R.PATIENT_MISMATCH, naming[0].id)
    numbered = [
        r for r in known if study.accession and r.accession == study.accession and not r.study_uid
    ]
    if not numbered:
        return Unmatched(_R.NO_REQUEST)
    if not study.patients:
        return Unmatched(_R.PATIENT_UNIDENTIFIED, numbered[0].id)
    same = [r for r in numbered if r.patient_ref in study.patients]
    if not same:
        return Unmatched(_R.PATIENT_MISMATCH, numbered[0].id)
    found = _open_ones(same)
    if isinstance(found, Matched) and len(found.requests) > 1:
        return Unmatched(_R.SEVERAL_REQUESTS, found.requests[0].id)
    return found


def may_be_same_patient(study: Study, request: Request) -> bool:
    """Say whether nothing speaks against it: one of the two names nobody, or both the same."""
    return not study.patients or not request.patient_ref or request.patient_ref in study.patients


def _open_ones(requests: list[Request]) -> Matched | Unmatched:
    waiting = tuple(r for r in requests if r.state is RequestState.RECEIVED)
    if waiting:
        return Matched(waiting)
    having = [r for r in requests if r.state is RequestState.MATCHED]
    if having:
        return Unmatched(_R.REQUEST_HAS_CASE, having[0].id)
    return Unmatched(_R.REQUEST_CANCELLED, requests[0].id)

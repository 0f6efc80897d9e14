"""Examples of the worklist's values, made with defaults that a test overrides."""

from datetime import UTC, datetime, timedelta
from typing import Any

from kernel.ids import OrganisationId, PatientRef, ReaderId, ReportId, RequestId, StudyUID, derived
from kernel.people import Actor, Role
from worklist.act import Act
from worklist.case import Case, CaseState, StateReason, case_id_of
from worklist.readers import Competence, Reader
from worklist.request import Form, NewRequest, Request, receive
from worklist.rotation import Seat

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
DISPATCHER = Actor(ref="person:d-1", role=Role.ADMINISTRATOR, organisation="clinic")
THORAX = "thoracic-radiology"
ISSUER = "SITE"

_OFFERED = {"offered_to": ReaderId("r-1"), "offered_until": NOON + 15 * MINUTE}
_HELD = {"holder": ReaderId("r-1"), "held_until": NOON + HOUR}
_SIGNED = {
    "signed_by": ReaderId("r-1"),
    "report_id": ReportId("report-1"),
    "report_version": 1,
}
_IN_STATE: dict[CaseState, dict[str, Any]] = {
    CaseState.OFFERED: _OFFERED,
    CaseState.READING: _HELD,
    CaseState.SIGNED: _SIGNED,
    CaseState.DELIVERED: {**_SIGNED, "notified_at": NOON},
    CaseState.COMPLETED: {**_SIGNED, "notified_at": NOON, "filed_at": NOON},
}


def patient(id: str) -> PatientRef:
    """Return the reference of a patient of the site."""
    return PatientRef(derived("patient", ISSUER, id))


def an_act(at: datetime = NOON) -> Act:
    """Return the circumstances of a change."""
    return Act(at=at, by=DISPATCHER)


def a_new_request(number: int = 1, **changes: Any) -> NewRequest:
    """Return a submission; the number makes its accession and its patient."""
    values: dict[str, Any] = {
        "organisation_id": OrganisationId("hospital"),
        "patient_ref": patient(f"p-{number}"),
        "accession": f"A{number}",
        "modality": "DX",
        "station_ae_title": "VAN1",
        "procedure": "Chest PA",
        "form": Form.URGENT,
    }
    return NewRequest(**{**values, **changes})


def a_request(number: int = 1, **changes: Any) -> Request:
    """Return a received request."""
    request, _ = receive(a_new_request(number, **changes), act=an_act())
    return request


def a_case(number: int = 1, state: CaseState = CaseState.QUEUED, **changes: Any) -> Case:
    """Return a case in a state, with what belongs to the state."""
    request_id = RequestId(f"request-{number}")
    values: dict[str, Any] = {
        "id": case_id_of(request_id),
        "request_id": request_id,
        "study_uid": StudyUID(f"1.2.3.{number}"),
        "manifest_version": 1,
        "patient_ref": patient(f"p-{number}"),
        "accession": f"A{number}",
        "site_id": OrganisationId("hospital"),
        "profile": THORAX,
        "form": Form.URGENT,
        "modality": "DX",
        "state": state,
        "state_reason": StateReason.WAITS_IN_ORDER,
        "legal_clock_start": NOON,
        "patient_clock_start": NOON,
        "due": NOON + DAY,
        "arrival_number": number,
        "opened_at": NOON,
        "moved_at": NOON,
    }
    return Case(**{**values, **_IN_STATE.get(state, {}), **changes})


def a_reader(id: str = "r-1", **changes: Any) -> Reader:
    """Return a consultant on duty, on the list of thoracic radiology."""
    values: dict[str, Any] = {
        "id": ReaderId(id),
        "name": f"Dr {id}",
        "organisation_id": OrganisationId("clinic"),
        "competences": (Competence(THORAX),),
        "max_open": 3,
        "present": True,
    }
    return Reader(**{**values, **changes})


def a_seat(id: str = "r-1", turn: int = 1, open: int = 0, **changes: Any) -> Seat:
    """Return a consultant's seat on the list."""
    return Seat(a_reader(id, **changes), turn, open)

"""Files of a site for one of its requests: made into objects, and stored like everything else.

What an object says comes from the request alone, and its time is that of the request, so that the
same file for the same request is the same bytes whenever it is sent again.
"""

from dataclasses import dataclass

import worklist
from app.engine import Engine
from dicom_node.admission import Route, Source
from dicom_node.composite import Belonging
from dicom_node.headers import Defaults
from dicom_node.imported import FileKind, Made, holds_same, made_from
from dicom_node.orders import requested_study_uid
from dicom_node.statuses import Outcome
from dicom_node.stow import store_part10
from kernel.errors import Corrupt, NotFound, Refused, Transient
from kernel.people import Actor
from storage import audit, patients
from storage.engine import Database, Transaction
from storage.patients import is_stated, unstated_issuer
from worklist import store as worklist_store
from worklist.request import Request, RequestState

_KEPT = frozenset({Outcome.STORED, Outcome.DUPLICATE})
_LATER = frozenset({Outcome.NO_ROOM, Outcome.UNAVAILABLE, Outcome.FAILED})


class RequestNotOpen(Refused):
    """The request was cancelled: nothing more is expected for it (KZ §15)."""

    code = "import.request_not_open"


class NotStoredNow(Transient):
    """The object could not be made durable now."""

    code = "import.not_stored_now"


class ImportContradicts(Corrupt):
    """The object is kept, but in quarantine: what is here already says otherwise."""

    code = "import.contradicts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What became of a file."""

    kind: FileKind
    study_uid: str
    series_uid: str
    instance_uid: str
    duplicate: bool
    remarks: tuple[str, ...]


def import_file(
    engine: Engine, request_id: str, data: bytes, *, name: str, account: str, by: Actor
) -> Imported:
    """Store one file for a request; the same again is a duplicate and changes nothing.

    Raises
    ------
    RequestUnknown, RequestNotOpen, FileRefused
        There is no such open request, or the file is nothing that is taken.
    NotStoredNow, ImportContradicts
        It is not stored, or kept aside.
    Transient, Corrupt
        It was stored before, and cannot be read now or is damaged: nothing is done.
    """
    with engine.database.reading() as tx:
        request = worklist.get_request(tx, request_id)
        belonging = belonging_of(tx, request)
    if request.state is RequestState.CANCELLED:
        raise RequestNotOpen("the request was cancelled", request_id=request_id)
    made = made_from(data, belonging, name=name, modality=request.modality)
    site = request.organisation_id
    source = Source(Route.FILE, account, site, Defaults(unstated_issuer(site)))
    answer = store_part10(engine.intake, _as_before(engine, made), source)
    _record(engine.database, request, made, answer.outcome, by)
    if answer.outcome in _LATER:
        raise NotStoredNow(answer.reason)
    if answer.outcome not in _KEPT:
        raise ImportContradicts(answer.reason)
    engine.nudge()
    return Imported(
        kind=made.kind,
        study_uid=belonging.study_uid,
        series_uid=made.series_uid,
        instance_uid=made.instance_uid,
        duplicate=answer.outcome is Outcome.DUPLICATE,
        remarks=made.remarks,
    )


def _as_before(engine: Engine, made: Made) -> bytes:
    """Return the object that was made of this file before, if it is here, else the one at hand."""
    try:
        before = engine.archive.read(made.instance_uid)
    except NotFound:  # none, or none that is shown: it goes the usual way
        return made.part10
    return before if holds_same(before, made.part10) else made.part10


def study_of(tx: Transaction, request: Request) -> str:
    """Return the study of a request: named, joined with it, or the one its worklist item names."""
    if request.study_uid:
        return request.study_uid
    for case in worklist_store.cases_of_request(tx, request.id):
        return case.study_uid
    return requested_study_uid(request.id)


def belonging_of(tx: Transaction, request: Request) -> Belonging:
    """Return what an object for a request is said to belong to."""
    patient = patients.get(tx, request.patient_ref)
    site = worklist.get_organisation(tx, request.organisation_id)
    return Belonging(
        study_uid=study_of(tx, request),
        patient_id=patient.patient_id,
        issuer=patient.issuer if is_stated(patient.issuer) else "",
        patient_name=patient.name,
        sex=patient.sex,
        birth_date=patient.birth_date,
        accession=request.accession,
        study_description=request.procedure,
        institution=site.name,
        made_at=request.received_at,
    )


def _record(database: Database, request: Request, made: Made, outcome: Outcome, by: Actor) -> None:
    with database.transaction() as tx:
        audit.record(
            tx,
            actor=by,
            action="file.imported",
            subject=f"request:{request.id}",
            outcome=audit.Outcome.SUCCESS if outcome in _KEPT else audit.Outcome.FAILED,
            detail={
                "kind": made.kind.value,
                "instance": made.instance_uid,
                "outcome": outcome.value,
                "remarks": len(made.remarks),
            },
        )

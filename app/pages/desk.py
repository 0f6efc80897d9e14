"""The desk: what a person must look at, each with its reason and what can be done about it."""

from dataclasses import dataclass
from http import HTTPStatus

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from app.http.access import CheckedForm, Dispatcher
from app.http.body import TheEngine
from app.http.errors import BodyMalformed
from app.keeping import keeping_of
from app.pages.rendering import render
from dicom_node.completeness import CompletenessPolicy
from dicom_node.verdicts import Wait, waits
from health_record import commands as health_record
from health_record.delivery import Delivery, DeliveryState
from kernel.errors import Refused
from storage import (
    archive,
    audit,
    corrections,
    outbox,
    patients,
    rejections,
    retention_end,
    withdrawals,
)
from storage.archive import Quarantined
from storage.correction import Correction
from storage.engine import Transaction
from storage.outbox import Parked
from storage.patients import Patient
from storage.rejections import RefusedNote
from storage.retention_end import RetentionEnd
from storage.withdrawals import Withdrawal
from worklist import commands as worklist
from worklist import queries
from worklist.act import Act
from worklist.case import Case, CaseState
from worklist.queries import DeskRow

router = APIRouter()
SHOWN = 100
ARRIVING = 20  # each takes several queries, and most are gone in a minute
_MAX_DIGITS = 9


class PatientUnclear(Refused):
    """No patient, or several, have the id that a person typed."""

    code = "desk.patient_unclear"


@dataclass(frozen=True, slots=True)
class DeskPage:
    """Everything that does not move by itself."""

    alarms: tuple[Case, ...]
    escalated: tuple[Case, ...]
    arriving: tuple[Wait, ...]
    more_arriving: bool
    studies: tuple[DeskRow, ...]
    requests: tuple[DeskRow, ...]
    quarantined: tuple[Quarantined, ...]
    parked: tuple[Parked, ...]
    stuck: tuple[Delivery, ...]
    pending: tuple[Delivery, ...]
    alike: tuple[tuple[Patient, Patient], ...]
    corrections: tuple[Correction, ...]
    withdrawals: tuple[Withdrawal, ...]
    rejections: tuple[RefusedNote, ...]
    ended: tuple[RetentionEnd, ...]
    ended_in_all: int


@router.get("/desk")
def desk_page(request: Request, engine: TheEngine, visitor: Dispatcher) -> Response:
    """Show the desk."""
    with engine.database.reading() as tx:
        page = page_for(tx, engine.completeness)
    if page.alike:  # names are shown, of people whose cases are not this person's
        with engine.database.transaction() as tx:
            audit.record(
                tx,
                actor=visitor.person.actor,
                action="patients.compared",
                subject="desk",
                detail={
                    "patients": [ref for pair in page.alike for ref in (pair[0].ref, pair[1].ref)]
                },
            )
    return render(request, "desk.html", {"page": page})


@router.post("/desk/replay")
def replay(engine: TheEngine, visitor: Dispatcher, form: CheckedForm) -> Response:
    """Tell a consumer again what it could not take, after whatever was wrong is mended."""
    consumer, number = form.get("consumer", ""), form.get("fact_seq", "")
    if not number.isdecimal() or not consumer:
        raise BodyMalformed("name the fact and the consumer")
    with engine.database.transaction() as tx:
        count = outbox.replay(tx, fact_seq=int(number), consumer=consumer)
        audit.record(
            tx,
            actor=visitor.person.actor,
            action="telling.replayed",
            subject=f"fact:{number}",
            outcome=audit.Outcome.SUCCESS if count else audit.Outcome.REFUSED,
            detail={"consumer": consumer},
        )
    engine.nudge()
    return RedirectResponse("/desk#parked", HTTPStatus.SEE_OTHER)


@router.post("/desk/attach")
def attach(engine: TheEngine, visitor: Dispatcher, form: CheckedForm) -> Response:
    """Join a study with a request because a person decided so."""
    with engine.database.transaction() as tx:
        case = worklist.attach(
            tx,
            form.get("study_uid", ""),
            form.get("request_id", ""),
            same_person=form.get("same_person") == "1",
            settings=engine.worklist,
            act=Act(tx.at, visitor.person.actor),
        )
    engine.nudge()
    return RedirectResponse(f"/cases/{case.id}", HTTPStatus.SEE_OTHER)


@router.post("/desk/reconcile")
def reconcile(engine: TheEngine, visitor: Dispatcher, form: CheckedForm) -> Response:
    """Say whether two patients with one id are one person or two."""
    decide = {"same": corrections.merge, "apart": corrections.keep_apart}.get(
        form.get("decision", "")
    )
    if decide is None:
        raise BodyMalformed("say whether the two are the same person")
    with engine.database.transaction() as tx:
        decide(
            tx,
            form.get("one", ""),
            form.get("two", ""),
            reason=form.get("reason", ""),
            actor=visitor.person.actor,
        )
    engine.nudge()
    return RedirectResponse("/desk#alike", HTTPStatus.SEE_OTHER)


@router.post("/desk/correct")
def correct(engine: TheEngine, visitor: Dispatcher, form: CheckedForm) -> Response:
    """Say that a study is another patient's, or has another accession number."""
    reason, actor = form.get("reason", ""), visitor.person.actor
    study_uid = form.get("study_uid", "").strip()
    with engine.database.transaction() as tx:
        if form.get("patient_id", "").strip():
            ref = _patient(tx, form["patient_id"].strip(), form.get("issuer", "").strip())
            corrections.move_study(tx, study_uid, ref, reason=reason, actor=actor)
        else:
            accession = form.get("accession", "")
            corrections.renumber_study(tx, study_uid, accession, reason=reason, actor=actor)
    engine.nudge()
    return RedirectResponse("/desk#corrections", HTTPStatus.SEE_OTHER)


@router.post("/desk/withdraw")
def withdraw(engine: TheEngine, visitor: Dispatcher, form: CheckedForm) -> Response:
    """Take a correction back."""
    number = form.get("number", "")
    if not number.isdecimal() or len(number) > _MAX_DIGITS:
        raise BodyMalformed("name the correction")
    with engine.database.transaction() as tx:
        corrections.withdraw(
            tx, int(number), reason=form.get("reason", ""), actor=visitor.person.actor
        )
    engine.nudge()
    return RedirectResponse("/desk#corrections", HTTPStatus.SEE_OTHER)


@router.post("/desk/restore")
def restore(engine: TheEngine, visitor: Dispatcher, form: CheckedForm) -> Response:
    """Bring back what was withdrawn."""
    number = form.get("number", "")
    if not number.isdecimal() or len(number) > _MAX_DIGITS:
        raise BodyMalformed("name the withdrawal")
    with engine.database.transaction() as tx:
        retention_end.restore(
            tx,
            int(number),
            engine.retention,
            keeping_of=keeping_of,
            actor=visitor.person.actor,
        )
    engine.nudge()
    return RedirectResponse("/desk#withdrawals", HTTPStatus.SEE_OTHER)


@router.post("/desk/retention")
def end_retention(engine: TheEngine, visitor: Dispatcher, form: CheckedForm) -> Response:
    """Withdraw a study whose retention is over, or keep it for a year more."""
    study_uid, actor = form.get("study_uid", ""), visitor.person.actor
    with engine.database.transaction() as tx:
        if form.get("decision") == "withdraw":
            retention_end.withdraw(
                tx, study_uid, engine.retention, keeping_of=keeping_of, actor=actor
            )
        elif form.get("decision") == "keep":
            reason = form.get("reason", "")
            retention_end.prolong(tx, study_uid, years=1, reason=reason, actor=actor)
        else:
            raise BodyMalformed("say whether the study goes or stays")
    engine.nudge()
    return RedirectResponse("/desk#ended", HTTPStatus.SEE_OTHER)


def _patient(tx: Transaction, patient_id: str, issuer: str) -> str:
    found = patients.find(tx, patient_id, issuer)
    if len(found) != 1:
        raise PatientUnclear(
            "several patients have this id: name the issuer" if found else "no patient has this id"
        )
    return found[0].ref


def page_for(tx: Transaction, policy: CompletenessPolicy) -> DeskPage:
    """Gather the desk; each list is bounded."""
    rows = queries.desk(tx, limit=SHOWN)
    stuck = (DeliveryState.REJECTED, DeliveryState.PARKED)
    open_ones = (DeliveryState.PENDING, DeliveryState.ATTEMPTING)
    arriving = waits(tx, policy, limit=ARRIVING + 1)
    return DeskPage(
        alarms=tuple(queries.list_cases(tx, alarm=True, limit=SHOWN)),
        escalated=tuple(queries.list_cases(tx, state=CaseState.ESCALATED, limit=SHOWN)),
        arriving=tuple(arriving[:ARRIVING]),
        more_arriving=len(arriving) > ARRIVING,
        studies=tuple(row for row in rows if row.study_uid is not None),
        requests=tuple(row for row in rows if row.study_uid is None),
        quarantined=tuple(archive.quarantined(tx, limit=SHOWN)),
        parked=tuple(outbox.parked(tx)[:SHOWN]),
        stuck=tuple(health_record.list_deliveries(tx, states=stuck, limit=SHOWN)),
        pending=tuple(health_record.list_deliveries(tx, states=open_ones, limit=SHOWN)),
        alike=tuple(patients.lookalikes(tx, limit=SHOWN)),
        corrections=tuple(corrections.listed(tx, limit=SHOWN)),
        withdrawals=tuple(withdrawals.listed(tx, limit=SHOWN)),
        rejections=tuple(rejections.refused(tx, limit=SHOWN)),
        ended=tuple(retention_end.listed(tx, limit=SHOWN)),
        ended_in_all=retention_end.counted(tx),
    )

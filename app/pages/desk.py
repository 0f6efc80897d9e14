"""The desk: what a person must look at, each with its reason and what can be done about it."""

from dataclasses import dataclass
from http import HTTPStatus

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from app.http.access import CheckedForm, Dispatcher
from app.http.body import TheEngine
from app.http.errors import BodyMalformed
from app.pages.rendering import render
from health_record import commands as health_record
from health_record.delivery import Delivery, DeliveryState
from storage import archive, audit, outbox
from storage.archive import Quarantined
from storage.engine import Transaction
from storage.outbox import Parked
from worklist import commands as worklist
from worklist import queries
from worklist.act import Act
from worklist.case import Case, CaseState
from worklist.queries import DeskRow

router = APIRouter()
SHOWN = 100


@dataclass(frozen=True, slots=True)
class DeskPage:
    """Everything that does not move by itself."""

    alarms: tuple[Case, ...]
    escalated: tuple[Case, ...]
    studies: tuple[DeskRow, ...]
    requests: tuple[DeskRow, ...]
    quarantined: tuple[Quarantined, ...]
    parked: tuple[Parked, ...]
    stuck: tuple[Delivery, ...]
    pending: tuple[Delivery, ...]


@router.get("/desk")
def desk_page(request: Request, engine: TheEngine, visitor: Dispatcher) -> Response:
    """Show the desk."""
    with engine.database.reading() as tx:
        page = page_for(tx)
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
            outcome="success" if count else "refused",
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


def page_for(tx: Transaction) -> DeskPage:
    """Gather the desk; each list is bounded."""
    rows = queries.desk(tx, limit=SHOWN)
    stuck = (DeliveryState.REJECTED, DeliveryState.PARKED)
    open_ones = (DeliveryState.PENDING, DeliveryState.ATTEMPTING)
    return DeskPage(
        alarms=tuple(queries.list_cases(tx, alarm=True, limit=SHOWN)),
        escalated=tuple(queries.list_cases(tx, state=CaseState.ESCALATED, limit=SHOWN)),
        studies=tuple(row for row in rows if row.study_uid is not None),
        requests=tuple(row for row in rows if row.study_uid is None),
        quarantined=tuple(archive.quarantined(tx, limit=SHOWN)),
        parked=tuple(outbox.parked(tx)[:SHOWN]),
        stuck=tuple(health_record.list_deliveries(tx, states=stuck, limit=SHOWN)),
        pending=tuple(health_record.list_deliveries(tx, states=open_ones, limit=SHOWN)),
    )

"""The case page: where it stands and why, its clocks, documents, deliveries and its journal."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from app.http.access import (
    CheckedForm,
    DispatchesCases,
    OpenedCase,
    ReadsCases,
    SeesReport,
    SignedIn,
    open_case,
)
from app.http.body import TheEngine
from app.identity import store as people
from app.identity.policy import Right
from app.pages import document
from app.pages.rendering import render
from app.priors import ToldPrior, told_of
from app.studies import Completeness, Said, remarks_of, verdict_on
from health_record import commands as health_record
from health_record import store as deliveries_store
from health_record.delivery import Delivery
from reporting import SealedDocument, sealed_for_case
from storage import archive, audit, patients, rejections
from storage.audit import Entry
from storage.engine import Transaction
from storage.patients import Patient
from storage.rejections import RefusedNote
from worklist import commands as worklist
from worklist import queries
from worklist.act import Act
from worklist.case import Case, CaseState
from worklist.history import CaseMove
from worklist.organisation import Organisation
from worklist.request import Request as ReadingRequest

router = APIRouter()
_MAX_NOTE = 500


@dataclass(frozen=True, slots=True)
class Images:
    """How much there is to see, without seeing it."""

    instances: int
    series: int
    version: int
    digest: str
    frozen_at: datetime
    study_date: str
    description: str


@dataclass(frozen=True, slots=True)
class CasePage:
    """Everything on the page; what the visitor may not see is None or empty."""

    case: Case
    request: ReadingRequest
    site: Organisation
    profile: str
    images: Images
    whole: Completeness | None
    remarks: tuple[Said, ...]
    priors: tuple[ToldPrior, ...]
    rejections: tuple[RefusedNote, ...]
    patient: Patient | None
    moves: tuple[CaseMove, ...]
    documents: tuple[SealedDocument, ...]
    deliveries: tuple[Delivery, ...]
    journal: tuple[Entry, ...] | None
    people: Mapping[str, str]


@router.get("/cases/{case_id}")
def case_page(request: Request, engine: TheEngine, opened: ReadsCases) -> Response:
    """Show a case."""
    journal = Right.SEE_JOURNAL in opened.rights
    if journal:
        with engine.database.transaction() as tx:
            audit.record(
                tx,
                actor=opened.visitor.person.actor,
                action="journal.viewed",
                subject=f"case:{opened.case.id}",
                case_id=opened.case.id,
            )
    with engine.database.reading() as tx:
        page = page_for(tx, opened)
    return render(request, "case.html", {"page": page, "opened": opened})


@router.get("/cases/{case_id}/report/{version}.pdf")
def signed_report(version: int, engine: TheEngine, opened: SeesReport) -> Response:
    """Give the signed document of a version."""
    with engine.database.reading() as tx:
        signed = document.of_version(tx, opened.case, version)
    content = document.verified(engine.objects, signed.pdf_key, signed.pdf_sha256)
    return _pdf(content, f"report-{opened.case.id[:8]}-v{version}.pdf")


@router.get("/cases/{case_id}/report/{version}.dcm")
def signed_sr(version: int, engine: TheEngine, opened: SeesReport) -> Response:
    """Give the structured report of a signed version (DICOM SR)."""
    with engine.database.reading() as tx:
        signed = document.of_version(tx, opened.case, version)
    content = document.verified(engine.objects, signed.sr_key, signed.sr_sha256)
    name = f"report-{opened.case.id[:8]}-v{version}.dcm"
    return Response(content, media_type="application/dicom", headers=_attachment(name))


@router.get("/cases/{case_id}/report/{version}.fhir.json")
def fhir_document(version: int, engine: TheEngine, opened: SeesReport) -> Response:
    """Give the FHIR document: the exact bytes that left for the health record."""
    with engine.database.reading() as tx:
        signed = document.of_version(tx, opened.case, version)
        content = document.fhir_document(engine, tx, signed)
    return Response(content, media_type="application/fhir+json")


@router.post("/cases/{case_id}/put-back")
def put_back(engine: TheEngine, opened: DispatchesCases, form: CheckedForm) -> Response:
    """Put a case back into the queue, by a dispatcher with a reason."""
    act_by = opened.visitor.person.actor
    note = form.get("note", "")[:_MAX_NOTE]
    with engine.database.transaction() as tx:
        act = Act(tx.at, act_by)
        if opened.case.state is CaseState.ESCALATED:
            worklist.ask_again(tx, opened.case.id, note=note, act=act)
        else:
            worklist.release(tx, opened.case.id, note=note, act=act)
    engine.nudge()
    return RedirectResponse(f"/cases/{opened.case.id}", HTTPStatus.SEE_OTHER)


@router.post("/deliveries/{delivery_id}/replay")
def replay_delivery(
    delivery_id: str, engine: TheEngine, visitor: SignedIn, form: CheckedForm
) -> Response:
    """Take up a refused or parked delivery again."""
    with engine.database.reading() as tx:
        case_id = deliveries_store.get(tx, delivery_id).case_id
    open_case(engine, visitor, case_id, Right.DISPATCH, None)
    with engine.database.transaction() as tx:
        health_record.replay(tx, delivery_id, actor=visitor.person.actor)
    engine.nudge()
    return RedirectResponse(f"/cases/{case_id}#deliveries", HTTPStatus.SEE_OTHER)


def page_for(tx: Transaction, opened: OpenedCase) -> CasePage:
    """Gather what the page shows to this visitor."""
    case, granted = opened.case, opened.rights
    moves = tuple(queries.case_history(tx, case.id))
    shown = Right.SEE_JOURNAL in granted
    journal = tuple(reversed(audit.of_case(tx, case.id, case.study_uid))) if shown else None
    refs = {move.actor for move in moves} | {entry.actor for entry in journal or ()}
    refs |= {f"reader:{move.reader_id}" for move in moves if move.reader_id}
    return CasePage(
        case=case,
        request=queries.get_request(tx, case.request_id),
        site=queries.get_organisation(tx, case.site_id),
        profile=_profile_name(tx, case.profile),
        images=_images(tx, case),
        whole=verdict_on(tx, case.study_uid),
        remarks=remarks_of(tx, case.study_uid),
        rejections=(
            *rejections.refused(tx, study_uid=case.study_uid),
            *rejections.left_in_use(tx, case.study_uid),
        ),
        priors=tuple(told_of(tx, case.patient_ref)),
        patient=patients.get(tx, case.patient_ref) if Right.SEE_PATIENT in granted else None,
        moves=moves,
        documents=tuple(sealed_for_case(tx, case.id)),
        deliveries=tuple(health_record.list_deliveries(tx, case_id=case.id)),
        journal=journal,
        people=_named(tx, refs),
    )


def _pdf(content: bytes, name: str) -> Response:
    headers = {"Content-Disposition": f'inline; filename="{name}"'}
    return Response(content, media_type="application/pdf", headers=headers)


def _attachment(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}"'}


def _images(tx: Transaction, case: Case) -> Images:
    manifest = archive.manifest(tx, case.study_uid, case.manifest_version)
    return Images(
        instances=len(manifest.entries),
        series=len({entry.series_uid for entry in manifest.entries}),
        version=manifest.version,
        digest=manifest.digest,
        frozen_at=manifest.frozen_at,
        study_date=manifest.study_date,
        description=manifest.study_description,
    )


def _profile_name(tx: Transaction, profile: str) -> str:
    return next((p.name for p in queries.list_profiles(tx) if p.id == profile), profile)


def _named(tx: Transaction, refs: set[str]) -> dict[str, str]:
    """Return the names of people; those who only stand on a list have theirs from there."""
    known = people.names(tx, refs)
    for ref in refs - set(known):
        kind, _, id = ref.partition(":")
        if kind == "reader":
            known[ref] = queries.get_reader(tx, id).name
        elif kind == "system":
            known[ref] = "the engine"
        else:
            known[ref] = {"ae": "device ", "client": "program ", "token": "program "}.get(
                kind, ""
            ) + (id if kind != "token" else id[:8])
    return known

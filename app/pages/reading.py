"""The reading page: images beside the request and the report that is being written."""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from app.engine import Engine
from app.http.access import CheckedForm, OpenedCase, ReadsStudies, SignsReports, WritesReports
from app.http.body import TheEngine
from app.http.errors import BodyMalformed
from app.http.problems import status_of
from app.pages import pictures
from app.pages.pictures import Preset
from app.pages.rendering import render
from app.pages.triage import TriageShown, shown_triage
from app.studies import Said, remarks_of
from kernel.errors import EngineError, NotFound, Refused
from reporting import WRITTEN, Report, Section, VersionState, report_for_case
from reporting import commands as reporting
from reporting.sections import REQUIRED
from reporting.wording import LANGUAGES
from storage import audit, patients, rejections
from storage.archive_queries import SeriesRow
from storage.engine import Transaction
from storage.patients import Patient
from storage.rejections import RefusedNote
from worklist import commands as worklist
from worklist import queries
from worklist.act import Act
from worklist.case import Case
from worklist.organisation import Organisation
from worklist.request import Request as ReadingRequest

router = APIRouter()
_MAX_NOTE = 500
_MAX_PASSPHRASE = 256


class KeyMissing(Refused):
    """This node has no key file of the consultant."""

    code = "pages.key_missing"
    clause = "KZ §37"


@dataclass(frozen=True, slots=True)
class Field:
    """One section of the editor."""

    code: str
    label: str
    text: str
    required: bool
    rows: int


@dataclass(frozen=True, slots=True)
class Shown:
    """The image that the page begins with."""

    series_uid: str
    instance_uid: str
    window: str


@dataclass(frozen=True, slots=True)
class ReadingPage:
    """Everything on the page."""

    case: Case
    request: ReadingRequest
    site: Organisation
    profile: str
    patient: Patient
    series: tuple[SeriesRow, ...]
    shown: Shown | None
    presets: Mapping[str, tuple[Preset, ...]]
    triage: TriageShown
    remarks: tuple[Said, ...]
    rejections: tuple[RefusedNote, ...]
    report: Report
    fields: tuple[Field, ...]
    alert: str = ""
    notice: str = ""

    @property
    def finalised(self) -> bool:
        """Say whether the newest text is frozen and can be signed."""
        return self.report.newest.state is VersionState.FINALISED


@router.get("/cases/{case_id}/read")
def reading_page(
    request: Request, engine: TheEngine, opened: ReadsStudies, image: str = "", window: str = ""
) -> Response:
    """Show the page; the report is begun if there is none yet."""
    return _page(request, engine, opened, image=image, window=window)


@router.put("/cases/{case_id}/report")
def autosave(
    request: Request, engine: TheEngine, opened: WritesReports, form: CheckedForm
) -> Response:
    """Store what is typed, and lengthen the lease: who writes is at work.

    The answer is the fragment that says so, with the revision for the next saving.
    """
    try:
        report = _saved(engine, opened, form)
    except Refused as refusal:
        # The revision stays what it was: saving goes on once the page was loaded again.
        kept = {"revision": form.get("revision", ""), "alert": refusal.sentence, "saved": None}
        return render(request, "_saved.html", kept, status=status_of(refusal))
    shown = {"revision": report.revision, "alert": "", "saved": engine.database.clock()}
    return render(request, "_saved.html", shown)


@router.post("/cases/{case_id}/report")
def save(request: Request, engine: TheEngine, opened: WritesReports, form: CheckedForm) -> Response:
    """Store the text, and finalise it if that button was pressed."""
    try:
        report = _saved(engine, opened, form)
        if form.get("then") == "finalise":
            with engine.database.transaction() as tx:
                reporting.finalise(
                    tx, report.id, _reader(opened), expected_revision=report.revision
                )
    except Refused as refusal:
        return _page(request, engine, opened, refused=refusal, typed=form)
    anchor = "#sign" if form.get("then") == "finalise" else "#report"
    return RedirectResponse(f"/cases/{opened.case.id}/read{anchor}", HTTPStatus.SEE_OTHER)


@router.get("/cases/{case_id}/preview.pdf")
def preview(engine: TheEngine, opened: WritesReports) -> Response:
    """Give the finalised text as the document it will be, marked as not signed."""
    from reporting.render import to_pdf  # typst is loaded when the first document is set
    from reporting.store import content_of

    with engine.database.transaction() as tx:
        report = _report(tx, opened)
        content = content_of(tx, report.id, report.newest.number)
        audit.record(
            tx,
            actor=opened.visitor.person.actor,
            action="report.previewed",
            subject=f"report:{report.id}",
            case_id=opened.case.id,
        )
    headers = {"Content-Disposition": 'inline; filename="preview.pdf"'}
    return Response(to_pdf(content, None), media_type="application/pdf", headers=headers)


@router.post("/cases/{case_id}/sign")
def sign(request: Request, engine: TheEngine, opened: SignsReports, form: CheckedForm) -> Response:
    """Sign the finalised version with the consultant's key, opened for this one act."""
    version = form.get("version", "")
    if not version.isdecimal():
        raise BodyMalformed("name the version to sign")
    try:
        _sign(engine, opened, int(version), form.get("passphrase", "")[:_MAX_PASSPHRASE])
    except EngineError as refusal:
        if isinstance(refusal, NotFound):
            raise
        return _page(request, engine, opened, refused=refusal)
    engine.nudge()
    return RedirectResponse(f"/cases/{opened.case.id}", HTTPStatus.SEE_OTHER)


@router.post("/cases/{case_id}/release")
def release(engine: TheEngine, opened: WritesReports, form: CheckedForm) -> Response:
    """Give the case back into its place, with a word on why."""
    with engine.database.transaction() as tx:
        worklist.require_holder(tx, opened.case.id, _reader(opened))
        worklist.release(
            tx,
            opened.case.id,
            note=form.get("note", "")[:_MAX_NOTE],
            act=Act(tx.at, opened.visitor.person.actor),
        )
    engine.nudge()
    return RedirectResponse("/queue", HTTPStatus.SEE_OTHER)


@router.post("/cases/{case_id}/late-images")
def take_note(engine: TheEngine, opened: WritesReports, form: CheckedForm) -> Response:
    """Note that the consultant has seen that images came late, and reads them too."""
    with engine.database.transaction() as tx:
        worklist.take_note_of_late_images(
            tx, opened.case.id, _reader(opened), act=Act(tx.at, opened.visitor.person.actor)
        )
    return RedirectResponse(f"/cases/{opened.case.id}/read", HTTPStatus.SEE_OTHER)


def _page(
    request: Request,
    engine: Engine,
    opened: OpenedCase,
    *,
    image: str = "",
    window: str = "",
    refused: EngineError | None = None,
    typed: Mapping[str, str] | None = None,
) -> Response:
    with engine.database.transaction() as tx:
        report = reporting.start_draft(tx, opened.case.id, _reader(opened))
        page = _gathered(tx, opened.case, report, image, window, refused, typed)
    status = HTTPStatus.OK if refused is None else status_of(refused)
    return render(request, "reading.html", {"page": page, "opened": opened}, status=status)


def _gathered(
    tx: Transaction,
    case: Case,
    report: Report,
    image: str,
    window: str,
    refused: EngineError | None,
    typed: Mapping[str, str] | None,
) -> ReadingPage:
    series = tuple(pictures.series_of_case(tx, case))
    names = {p.id: p.name for p in queries.list_profiles(tx)}
    return ReadingPage(
        case=case,
        request=queries.get_request(tx, case.request_id),
        site=queries.get_organisation(tx, case.site_id),
        profile=names.get(case.profile, case.profile),
        patient=patients.get(tx, case.patient_ref),
        series=series,
        shown=_shown(series, image, window),
        presets={row.series_uid: pictures.presets_of(row.modality) for row in series},
        triage=shown_triage(tx, case),
        remarks=remarks_of(tx, case.study_uid),
        rejections=(
            *rejections.refused(tx, study_uid=case.study_uid),
            *rejections.left_in_use(tx, case.study_uid),
        ),
        report=report,
        fields=_fields(report, typed),
        alert=refused.sentence if refused else "",
    )


def _shown(series: tuple[SeriesRow, ...], image: str, window: str) -> Shown | None:
    """Return the asked image, else the middle one of the first series."""
    for row in series:
        for instance in row.instances:
            if instance.instance_uid == image:
                return Shown(row.series_uid, image, window or "default")
    if not series:
        return None
    first = series[0]
    middle = first.instances[len(first.instances) // 2]
    return Shown(first.series_uid, middle.instance_uid, window or "default")


def _fields(report: Report, typed: Mapping[str, str] | None) -> tuple[Field, ...]:
    """Return the sections with the stored text, or with what was typed and could not be stored."""
    headings = LANGUAGES[report.subject.language].headings
    stored = {section.code.value: section.text for section in report.newest.sections}
    long = {code.value for code in REQUIRED}
    return tuple(
        Field(
            code=code.value,
            label=headings[code.value],
            text=(typed or {}).get(_name(code.value), stored.get(code.value, "")),
            required=code in REQUIRED,
            rows=7 if code.value in long else 1,
        )
        for code in WRITTEN
    )


def _saved(engine: Engine, opened: OpenedCase, form: Mapping[str, str]) -> Report:
    revision = form.get("revision", "")
    if not revision.isdecimal():
        raise BodyMalformed("name the revision that the text was written on")
    sections = [Section(code, form.get(_name(code.value), "")) for code in WRITTEN]
    with engine.database.transaction() as tx:
        report = _report(tx, opened)
        saved = reporting.save_draft(
            tx, report.id, _reader(opened), sections, expected_revision=int(revision)
        )
        worklist.renew(
            tx,
            opened.case.id,
            _reader(opened),
            settings=engine.worklist,
            act=Act(tx.at, opened.visitor.person.actor),
        )
    return saved


def _sign(engine: Engine, opened: OpenedCase, version: int, passphrase: str) -> None:
    from dicom_node.as_shown import AsShown
    from reporting.sign import Signing  # pyHanko is loaded when the first document is signed
    from reporting.signers.pkcs12 import open_key_file

    with engine.database.reading() as tx:
        report = _report(tx, opened)
    try:
        signer = open_key_file(_key(engine, opened), passphrase)
    except Refused as refusal:
        with engine.database.transaction() as tx:
            audit.record(
                tx,
                actor=opened.visitor.person.actor,
                action="report.signing_refused",
                subject=f"report:{report.id}",
                case_id=opened.case.id,
                outcome=audit.Outcome.REFUSED,
                detail={"version": version, "code": refusal.code},
            )
        raise
    signing = Signing(engine.database, engine.objects, AsShown(engine.archive), engine.trust)
    signing.sign(report.id, version, signer)


def _key(engine: Engine, opened: OpenedCase) -> bytes:
    path = engine.key_file(_reader(opened))
    if not path.is_file():
        raise KeyMissing("this node has no key of yours; ask the administrator")
    return path.read_bytes()


def _report(tx: Transaction, opened: OpenedCase) -> Report:
    report = report_for_case(tx, opened.case.id, author=_reader(opened))
    if report is None:
        return reporting.start_draft(tx, opened.case.id, _reader(opened))
    return report


def _reader(opened: OpenedCase) -> str:
    reader_id = opened.visitor.person.reader_id
    assert reader_id is not None  # only a consultant is granted the right to write
    return reader_id


def _name(code: str) -> str:
    """Return the name of a section's field in the form."""
    return f"section-{code}"

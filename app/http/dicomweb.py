"""DICOMweb: STOW-RS, WADO-RS of instances and their metadata, QIDO-RS for studies.

References
----------
DICOM PS3.18 sections 8 (conventions), 10.4 (retrieve), 10.5 (store), 10.6 (search).
"""

from collections.abc import Iterator, Sequence
from http import HTTPStatus

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.requests import ClientDisconnect

from app.engine import Engine
from app.http import dicom_search
from app.http.accept import ANY, DICOM, Form, asked_instances, require_json
from app.http.access import (
    FORM_TOKEN_HEADER,
    Caller,
    ReadsDicom,
    Visitor,
    WritesDicom,
    may_see_images,
    record_refusal,
)
from app.http.body import TheEngine
from app.http.errors import BodyMalformed, MediaTypeRefused, NotAcceptable
from app.http.multipart import Limits, Part, Spool, joined, media_type
from app.identity import secret
from app.identity.errors import AccessRefused, FormForged
from dicom_node.errors import PictureRefused
from kernel.ids import fresh
from storage import archive_queries, audit
from storage.archive import InstanceUnknown, StudyUnknown
from storage.archive_queries import InstanceRow

router = APIRouter(prefix="/dicomweb")
DICOM_JSON = "application/dicom+json"


@router.get("/studies")
def search_studies(request: Request, engine: TheEngine, caller: ReadsDicom) -> Response:
    """Search studies; a person finds those whose images are open to them, and no other."""
    require_json(request.headers.get("accept", ""))
    query = dicom_search.parsed(request.query_params.multi_items())
    with engine.database.reading() as tx:
        rows = archive_queries.find_studies(tx, query)
        visitor = caller.visitor
        if visitor is not None:
            some = rows[: dicom_search.MAX_FILTERED]
            rows = [row for row in some if may_see_images(tx, engine, visitor, row.study_uid)]
    with engine.database.transaction() as tx:
        audit.record(
            tx,
            actor=caller.actor,
            action="studies.searched",
            subject="studies",
            detail={"found": [row.study_uid for row in rows[:100]], "count": len(rows)},
        )
    if not rows:
        return Response(status_code=HTTPStatus.NO_CONTENT)
    answers = [dicom_search.answered(row, _base(request)) for row in rows]
    return JSONResponse(answers, media_type=DICOM_JSON)


@router.post("/studies")
async def store(request: Request, engine: TheEngine, caller: WritesDicom) -> Response:
    """Store instances; nothing of a request that was cut short."""
    return await _store(request, engine, caller, None)


@router.post("/studies/{study_uid}")
async def store_in_study(
    study_uid: str, request: Request, engine: TheEngine, caller: WritesDicom
) -> Response:
    """Store instances of one study; those of another are refused one by one."""
    return await _store(request, engine, caller, study_uid)


@router.get("/studies/{study_uid}")
def retrieve_study(
    study_uid: str, request: Request, engine: TheEngine, caller: ReadsDicom
) -> Response:
    """Give every instance of a study."""
    return _instances(request, engine, caller, study_uid)


@router.get("/studies/{study_uid}/metadata")
def study_metadata(
    study_uid: str, request: Request, engine: TheEngine, caller: ReadsDicom
) -> Response:
    """Give the metadata of every instance of a study."""
    return _metadata(request, engine, caller, study_uid)


@router.get("/studies/{study_uid}/series/{series_uid}")
def retrieve_series(
    study_uid: str, series_uid: str, request: Request, engine: TheEngine, caller: ReadsDicom
) -> Response:
    """Give every instance of a series."""
    return _instances(request, engine, caller, study_uid, series_uid)


@router.get("/studies/{study_uid}/series/{series_uid}/metadata")
def series_metadata(
    study_uid: str, series_uid: str, request: Request, engine: TheEngine, caller: ReadsDicom
) -> Response:
    """Give the metadata of every instance of a series."""
    return _metadata(request, engine, caller, study_uid, series_uid)


@router.get("/studies/{study_uid}/series/{series_uid}/instances/{instance_uid}")
def retrieve_instance(
    study_uid: str,
    series_uid: str,
    instance_uid: str,
    request: Request,
    engine: TheEngine,
    caller: ReadsDicom,
) -> Response:
    """Give one instance, alone or as the only part."""
    return _instances(request, engine, caller, study_uid, series_uid, instance_uid)


@router.get("/studies/{study_uid}/series/{series_uid}/instances/{instance_uid}/metadata")
def instance_metadata(
    study_uid: str,
    series_uid: str,
    instance_uid: str,
    request: Request,
    engine: TheEngine,
    caller: ReadsDicom,
) -> Response:
    """Give the metadata of one instance."""
    return _metadata(request, engine, caller, study_uid, series_uid, instance_uid)


async def _store(
    request: Request, engine: Engine, caller: Caller, study_uid: str | None
) -> Response:
    await run_in_threadpool(_require_sender, request, engine, caller)
    kind, parameters = media_type(request.headers.get("content-type", ""))
    if kind != "multipart/related" or parameters.get("type", DICOM).lower() != DICOM:
        raise MediaTypeRefused('instances come as multipart/related; type="application/dicom"')
    limits = Limits(engine.web.upload_bytes, engine.web.instance_bytes, engine.web.upload_idle)
    spool = Spool(parameters.get("boundary", ""), limits, engine.web.spool_directory)
    try:
        parts = await spool.take(request.stream())
        if any(media_type(part.content_type)[0] not in {DICOM, ""} for part in parts):
            raise MediaTypeRefused(f"every part is {DICOM}")
        return await run_in_threadpool(_stored, request, engine, caller, study_uid, spool, parts)
    except ClientDisconnect as gone:
        raise BodyMalformed("the multipart request was cut short; nothing was stored") from gone
    finally:
        spool.close()


def _stored(
    request: Request,
    engine: Engine,
    caller: Caller,
    study_uid: str | None,
    spool: Spool,
    parts: Sequence[Part],
) -> Response:
    from app.http.dicom_stored import source_of, store_all

    report = store_all(
        engine.intake,
        (spool.read(part) for part in parts),
        source_of(caller),
        base=_base(request),
        study_uid=study_uid,
    )
    with engine.database.transaction() as tx:
        audit.record(
            tx,
            actor=caller.actor,
            action="instances.stored",
            subject=f"study:{study_uid or next(iter(sorted(report.studies)), 'none')}",
            outcome="success" if report.stored else "refused",
            detail={
                "stored": len(report.stored),
                "refused": len(report.failed) + len(report.unnamed),
                "studies": sorted(report.studies)[:20],
            },
        )
    engine.nudge()
    return JSONResponse(report.body(), report.status, media_type=DICOM_JSON)


def _instances(
    request: Request,
    engine: Engine,
    caller: Caller,
    study_uid: str,
    series_uid: str | None = None,
    instance_uid: str | None = None,
) -> Response:
    single = instance_uid is not None
    form = asked_instances(request.headers.get("accept", ""), single=single)
    rows = _opened(engine, caller, study_uid, series_uid, instance_uid)
    _require_givable(form, rows)
    if not form.multipart:
        syntax, data = _given(engine, form, rows[0])
        return Response(data, media_type=f"{DICOM}; transfer-syntax={syntax}")
    boundary = f"telerad-{fresh()}"
    parts = _parts(engine, form, rows)
    first = next(parts)  # what cannot be read at all is an error, not a broken stream

    def all_parts() -> Iterator[tuple[str, bytes]]:
        yield first
        yield from parts

    return StreamingResponse(
        joined(boundary, all_parts()),
        media_type=f'multipart/related; type="{DICOM}"; boundary="{boundary}"',
    )


def _metadata(
    request: Request,
    engine: Engine,
    caller: Caller,
    study_uid: str,
    series_uid: str | None = None,
    instance_uid: str | None = None,
) -> Response:
    from dicom_node.dicom_json import metadata_of

    require_json(request.headers.get("accept", ""))
    rows = _opened(engine, caller, study_uid, series_uid, instance_uid)
    found = [metadata_of(engine.archive.read(row.instance_uid)) for row in rows]
    return JSONResponse(found, media_type=DICOM_JSON)


def _opened(
    engine: Engine,
    caller: Caller,
    study_uid: str,
    series_uid: str | None,
    instance_uid: str | None,
) -> list[InstanceRow]:
    """Return what was asked for, if the caller may have it; either is in the audit chain."""
    with engine.database.reading() as tx:
        allowed = caller.visitor is None or may_see_images(tx, engine, caller.visitor, study_uid)
        rows = [
            row
            for series in archive_queries.series_of(tx, study_uid)
            for row in series.instances
            if series_uid in {None, row.series_uid} and instance_uid in {None, row.instance_uid}
        ]
    if not allowed:
        record_refusal(engine, caller.actor, f"study:{study_uid}")
        raise AccessRefused("this study is not, or no longer, open to you", study_uid=study_uid)
    if not rows:
        unknown = StudyUnknown if instance_uid is None else InstanceUnknown
        raise unknown("nothing is stored under this address")
    with engine.database.transaction() as tx:
        audit.record(
            tx,
            actor=caller.actor,
            action="study.retrieved",
            subject=f"study:{study_uid}",
            case_id=_case_of(caller, engine, study_uid),
            detail={"instances": len(rows), "series": series_uid, "instance": instance_uid},
        )
    return rows


def _case_of(caller: Caller, engine: Engine, study_uid: str) -> str | None:
    """Return the case in whose journal the access belongs, if the study has one."""
    from worklist.store import cases_of_study

    with engine.database.reading() as tx:
        cases = cases_of_study(tx, study_uid, lock=False)
    return cases[0].id if cases else None


def _require_sender(request: Request, engine: Engine, caller: Caller) -> None:
    """Refuse people who send no studies; programs were refused by their scope already."""
    visitor = caller.visitor
    if visitor is None:
        return
    if not visitor.person.is_site_staff:
        record_refusal(engine, caller.actor, "studies")
        raise AccessRefused("studies are sent by the staff of the requesting organisation")
    _require_own_page(request, visitor)


def _require_own_page(request: Request, visitor: Visitor) -> None:
    if not secret.same(request.headers.get(FORM_TOKEN_HEADER, ""), visitor.form_token):
        raise FormForged("the request is not from a page of this session")


def _require_givable(form: Form, rows: Sequence[InstanceRow]) -> None:
    for row in rows:
        if not form.takes(row.transfer_syntax_uid) and "1.2.840.10008.1.2.1" not in form.syntaxes:
            raise NotAcceptable("an instance is not stored in any of the transfer syntaxes asked")


def _parts(engine: Engine, form: Form, rows: Sequence[InstanceRow]) -> Iterator[tuple[str, bytes]]:
    for row in rows:
        syntax, data = _given(engine, form, row)
        yield f"{DICOM}; transfer-syntax={syntax}", data


def _given(engine: Engine, form: Form, row: InstanceRow) -> tuple[str, bytes]:
    """Return (transfer syntax, file) of an instance, as stored wherever that is allowed."""
    data = engine.archive.read(row.instance_uid)
    if form.takes(row.transfer_syntax_uid) or ANY in form.syntaxes:
        return row.transfer_syntax_uid, data
    from dicom_node.transcode import EXPLICIT_LITTLE, to_explicit_little

    try:
        return EXPLICIT_LITTLE, to_explicit_little(data)
    except PictureRefused as refusal:
        raise NotAcceptable(refusal.sentence) from refusal


def _base(request: Request) -> str:
    return str(request.base_url).rstrip("/") + "/dicomweb"

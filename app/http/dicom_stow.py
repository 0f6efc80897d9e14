"""STOW-RS: storing instances, as Part 10 files or as metadata with bulk data.

References
----------
DICOM PS3.18 section 10.5, 8.7.3 and 8.6.1 (payloads).
"""

from collections.abc import Iterable, Sequence

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response
from starlette.requests import ClientDisconnect

from app.engine import Engine
from app.http.accept import DICOM, DICOM_JSON, DICOM_XML, accept_of, asked_model
from app.http.access import FORM_TOKEN_HEADER, Caller, Visitor, WritesDicom, record_refusal
from app.http.body import TheEngine
from app.http.dicom_model import base_of, given
from app.http.errors import BodyMalformed, BodyTooLarge, MediaTypeRefused
from app.http.limits import Limits
from app.http.multipart import Part, Spool, media_type
from app.identity import secret
from app.identity.errors import AccessRefused, FormForged
from storage import audit

router = APIRouter(prefix="/dicomweb")
_MAX_TOLD = 20


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


async def _store(
    request: Request, engine: Engine, caller: Caller, study_uid: str | None
) -> Response:
    await run_in_threadpool(_require_sender, request, engine, caller)
    kind, boundary = _payload(request, engine)
    limits = Limits(engine.web.upload_bytes, engine.web.instance_bytes, engine.web.upload_idle)
    spool = Spool(boundary, limits, engine.web.spool_directory)
    try:
        parts = await spool.take(request.stream())
        return await run_in_threadpool(
            _stored, request, engine, caller, study_uid, spool, parts, kind
        )
    except ClientDisconnect as gone:
        raise BodyMalformed("the multipart request was cut short; nothing was stored") from gone
    finally:
        spool.close()


def _payload(request: Request, engine: Engine) -> tuple[str, str]:
    """Return (media type of the root part, boundary) before a byte of the body is taken."""
    asked_model(accept_of(request), single=True)
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise MediaTypeRefused("a compressed request body is not taken: compress the pixels")
    length = request.headers.get("content-length", "0")
    if length.isdecimal() and int(length) > engine.web.upload_bytes:
        raise BodyTooLarge(f"one request has at most {engine.web.upload_bytes} bytes")
    kind, parameters = media_type(request.headers.get("content-type", ""))
    root = parameters.get("type", DICOM).lower()
    if kind != "multipart/related" or root not in {DICOM, DICOM_JSON, DICOM_XML}:
        raise MediaTypeRefused(
            f"instances come as multipart/related; type is {DICOM}, {DICOM_JSON} or {DICOM_XML}"
        )
    return root, parameters.get("boundary", "")


def _stored(
    request: Request,
    engine: Engine,
    caller: Caller,
    study_uid: str | None,
    spool: Spool,
    parts: Sequence[Part],
    kind: str,
) -> Response:
    from app.http.dicom_stored import source_of, store_all

    report = store_all(
        engine.intake,
        _files(spool, parts, kind),
        source_of(caller),
        base=base_of(request),
        study_uid=study_uid,
    )
    with engine.database.transaction() as tx:
        audit.record(
            tx,
            actor=caller.actor,
            action="instances.stored",
            subject=f"study:{study_uid or next(iter(sorted(report.studies)), 'none')}",
            outcome=audit.Outcome.SUCCESS if report.stored else audit.Outcome.REFUSED,
            detail={
                "stored": len(report.stored),
                "refused": len(report.failed) + len(report.unnamed),
                "studies": sorted(report.studies)[:_MAX_TOLD],
            },
        )
    engine.nudge()
    if not asked_model(accept_of(request), single=True).is_xml:
        return JSONResponse(report.body(), report.status, media_type=DICOM_JSON)
    answer = given(request, [report.body()], single=True)
    answer.status_code = report.status
    return answer


def _files(spool: Spool, parts: Sequence[Part], kind: str) -> Iterable[bytes]:
    if kind != DICOM:
        from app.http.dicom_composed import files_of

        return files_of(spool, parts, kind)
    if any(media_type(part.content_type)[0] not in {DICOM, ""} for part in parts):
        raise MediaTypeRefused(f"every part is {DICOM}")
    return (spool.read(part) for part in parts)


def _require_sender(request: Request, engine: Engine, caller: Caller) -> None:
    """Refuse people who send no studies; programs were refused by their scope already."""
    visitor = caller.visitor
    if visitor is None:
        return
    if not visitor.person.is_site_staff:
        record_refusal(engine, caller.actor, "studies")
        raise AccessRefused("studies are sent by the staff of the requesting organisation")
    require_own_page(request, visitor)


def require_own_page(request: Request, visitor: Visitor) -> None:
    """Refuse a request of a person that no page of their session has sent.

    Raises
    ------
    FormForged
        It lacks the token of the session.
    """
    if not secret.same(request.headers.get(FORM_TOKEN_HEADER, ""), visitor.form_token):
        raise FormForged("the request is not from a page of this session")

"""Files of a site for one of its requests: JPEG, PNG, PDF and MP4 become objects of its study."""

import asyncio
import tempfile
from http import HTTPStatus
from typing import IO
from urllib.parse import unquote

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response
from starlette.requests import ClientDisconnect

import worklist
from app.engine import Engine
from app.http.access import (
    FORM_TOKEN_HEADER,
    Caller,
    Visitor,
    WritesDicom,
    record_refusal,
)
from app.http.body import TheEngine
from app.http.errors import BodyMalformed, BodyTooLarge
from app.http.limits import Limits, within
from app.identity import secret
from app.identity.errors import AccessRefused, FormForged
from worklist.request import Request as ReadingRequest

router = APIRouter(prefix="/api")
FILE_NAME = "x-file-name"
_MAX_NAME = 400


@router.post("/requests/{request_id}/files")
async def add_file(
    request_id: str, request: Request, engine: TheEngine, caller: WritesDicom
) -> Response:
    """Take one file, the body of the request; its content says what it is.

    The header X-File-Name (percent-encoded) may tell its name, which must not contradict that.
    """
    await run_in_threadpool(_require_own, request, engine, caller, request_id)
    name = unquote(request.headers.get(FILE_NAME, "")[:_MAX_NAME])
    with tempfile.TemporaryFile(dir=engine.web.spool_directory) as spool:
        await _spooled(request, engine, spool)
        return await run_in_threadpool(_import, engine, caller, request_id, name, spool)


def opened_request(engine: Engine, visitor: Visitor, request_id: str) -> ReadingRequest:
    """Return a request of the visitor's own site.

    Raises
    ------
    AccessRefused
        It is another's, or the visitor is not of those who ask for readings.
    """
    with engine.database.reading() as tx:
        found = worklist.get_request(tx, request_id)
    person = visitor.person
    if not person.is_site_staff or person.organisation_id != found.organisation_id:
        record_refusal(engine, person.actor, f"request:{request_id}")
        raise AccessRefused("this request is not one of your organisation")
    return found


def _require_own(request: Request, engine: Engine, caller: Caller, request_id: str) -> None:
    if caller.visitor is None:
        _require_own_token(engine, caller, request_id)
        return
    opened_request(engine, caller.visitor, request_id)
    shown = request.headers.get(FORM_TOKEN_HEADER, "")
    if not secret.same(shown, caller.visitor.form_token):
        raise FormForged("the request is not from a page of this session")


def _require_own_token(engine: Engine, caller: Caller, request_id: str) -> None:
    assert caller.machine is not None
    site = caller.machine.organisation_id
    with engine.database.reading() as tx:
        found = worklist.get_request(tx, request_id)
    if site not in (None, found.organisation_id):
        record_refusal(engine, caller.actor, f"request:{request_id}")
        raise AccessRefused("this request is not one of the token's organisation")


async def _spooled(request: Request, engine: Engine, spool: IO[bytes]) -> None:
    """Take the whole body in, bounded, before anything looks at it."""
    from dicom_node.imported import MAX_BYTES

    length, idle = request.headers.get("content-length", "0"), engine.web.upload_idle
    if length.isdecimal() and int(length) > MAX_BYTES:
        raise BodyTooLarge(f"a file has at most {MAX_BYTES >> 20} MiB")
    try:
        async for chunk in within(request.stream(), Limits(MAX_BYTES, MAX_BYTES, idle)):
            await asyncio.to_thread(spool.write, chunk)
    except ClientDisconnect as gone:
        raise BodyMalformed("the file was cut short; nothing was stored") from gone


def _import(
    engine: Engine, caller: Caller, request_id: str, name: str, spool: IO[bytes]
) -> Response:
    from app.imports import import_file

    spool.seek(0)
    done = import_file(
        engine,
        request_id,
        spool.read(),
        name=name,
        account=_account(caller),
        by=caller.actor,
    )
    told = {
        "kind": done.kind.value,
        "study_uid": done.study_uid,
        "series_uid": done.series_uid,
        "instance_uid": done.instance_uid,
        "duplicate": done.duplicate,
        "remarks": list(done.remarks),
    }
    status = HTTPStatus.OK if done.duplicate else HTTPStatus.CREATED
    return JSONResponse(told, status)


def _account(caller: Caller) -> str:
    if caller.machine is not None:
        return caller.machine.id
    assert caller.visitor is not None
    return caller.visitor.person.id

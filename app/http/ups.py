"""UPS-RS: workitems created, retrieved, updated, moved, searched and subscribed to.

References
----------
DICOM PS3.18 chapter 11 (worklist service); the rules are those of PS3.4 Annex CC.
"""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from app.engine import Engine
from app.http.access import Caller, ReadsDicom, WritesDicom
from app.http.body import TheEngine
from app.http.dicom_model import base_of, given
from app.http.ups_answer import refused, warned
from app.http.ups_asker import asker_of, require_own_page, seen_of
from app.http.ups_body import Search, body_of, data_set_of, filter_of, flag, search_of
from kernel.errors import EngineError, Refused
from storage import audit
from storage.engine import Transaction

if TYPE_CHECKING:
    from dicom_node.workitems.subscriber import Asker
    from dicom_node.workitems.workitem import Workitem

router = APIRouter(prefix="/dicomweb")
_MORE = '299 telerad "There are additional results that can be requested"'
_LITERAL = '299 telerad "The fuzzymatching parameter is not supported."'

Done = Callable[[Transaction, "Asker"], Response]


@router.get("/workitems")
def search(request: Request, engine: TheEngine, caller: ReadsDicom) -> Response:
    """Search workitems; each finds those that it may see."""
    try:
        asked = search_of(request.query_params.multi_items())
        seen = _seen(engine, caller, asked)
        page = list(islice(seen, asked.offset, asked.offset + asked.limit + 1))
    except EngineError as error:
        return refused(request, error)
    models = [_model(item, asked) for item in page[: asked.limit]]
    with engine.database.transaction() as tx:
        audit.record(
            tx,
            actor=caller.actor,
            action="workitems.searched",
            subject="workitems",
            detail={"matches": len(models), "keys": len(asked.keys.by_tag)},
        )
    warnings = [_MORE] * (len(page) > asked.limit) + [_LITERAL] * asked.fuzzy
    return given(request, models, {"Warning": ", ".join(warnings)} if warnings else {})


@router.post("/workitems")
async def create(request: Request, engine: TheEngine, caller: WritesDicom) -> Response:
    """Create a workitem, under the UID that stands in the query or one of ours."""
    body = await body_of(request)
    uid = _named(request, "AffectedSOPInstanceUID", "workitem")

    def done(tx: Transaction, asker: "Asker") -> Response:
        from dicom_node.workitems import commands

        told = data_set_of(request.headers.get("content-type", ""), body)
        made = commands.create(tx, asker, uid or told.value("SOPInstanceUID"), told)
        address = f"{base_of(request)}/workitems/{made.item.uid}"
        headers = {"Location": address, "Content-Location": address, **warned(made.remark)}
        return Response(status_code=201, headers=headers)

    return await _done(request, engine, caller, None, done)


@router.get("/workitems/{uid}")
def retrieve(uid: str, request: Request, engine: TheEngine, caller: ReadsDicom) -> Response:
    """Return a workitem, without the UID that locks it."""
    from dicom_node.workitems import commands
    from dicom_node.workitems.model import to_model

    try:
        with engine.database.transaction() as tx:
            asker = asker_of(engine, caller)
            item = seen_of(tx, engine, caller, commands.view(tx, asker, uid))
            audit.record(
                tx, actor=caller.actor, action="workitem.viewed", subject=f"workitem:{uid}"
            )
    except EngineError as error:
        return refused(request, error)
    return given(request, [to_model(item.shown())], single=True)


@router.post("/workitems/{uid}")
async def update(uid: str, request: Request, engine: TheEngine, caller: WritesDicom) -> Response:
    """Set attributes; of a workitem in progress with the Transaction UID, in query or body."""
    body = await body_of(request)

    def done(tx: Transaction, asker: "Asker") -> Response:
        from dicom_node.workitems import commands

        told = data_set_of(request.headers.get("content-type", ""), body)
        lock = _named(request, "transaction-uid", "transaction", "TransactionUID")
        lock = lock or told.value("TransactionUID")
        changed = commands.update(tx, asker, uid, told, transaction_uid=lock)
        return Response(status_code=200, headers=_located(request, uid) | warned(changed.remark))

    return await _done(request, engine, caller, uid, done)


@router.put("/workitems/{uid}/state")
@router.put("/workitems/{uid}/state/{requester}")
async def change_state(
    uid: str, request: Request, engine: TheEngine, caller: WritesDicom, requester: str = ""
) -> Response:
    """Begin, complete or cancel a workitem as its performer."""
    body = await body_of(request)

    def done(tx: Transaction, asker: "Asker") -> Response:
        from app.readings import Readings
        from dicom_node.workitems import commands

        told = data_set_of(request.headers.get("content-type", ""), body)
        moved = commands.change_state(
            tx,
            asker,
            uid,
            state=told.value("ProcedureStepState"),
            transaction_uid=told.value("TransactionUID"),
            performing=Readings(engine.worklist),
        )
        return Response(status_code=200, headers=_located(request, uid) | warned(moved.remark))

    return await _done(request, engine, caller, uid, done, title=requester)


@router.post("/workitems/{uid}/cancelrequest")
@router.post("/workitems/{uid}/cancelrequest/{requester}")
async def request_cancel(
    uid: str, request: Request, engine: TheEngine, caller: WritesDicom, requester: str = ""
) -> Response:
    """Ask the performer to cancel; accepted is not yet canceled."""
    body = await body_of(request)

    def done(tx: Transaction, asker: "Asker") -> Response:
        from dicom_node.workitems import commands

        told = data_set_of(request.headers.get("content-type", ""), body, optional=True)
        asked = commands.request_cancel(tx, asker, uid, told)
        return Response(status_code=202, headers=_located(request, uid) | warned(asked.remark))

    return await _done(request, engine, caller, uid, done, title=requester)


@router.post("/workitems/{uid}/subscribers/{title}")
async def subscribe(
    uid: str, title: str, request: Request, engine: TheEngine, caller: WritesDicom
) -> Response:
    """Subscribe under a title to one workitem, to all, or to those that match a filter."""

    def done(tx: Transaction, asker: "Asker") -> Response:
        from dicom_node.workitems import commands
        from dicom_node.workitems.subscriber import FILTERED

        receiver = commands.web_receiver(asker, title)
        parameters = request.query_params
        remark = commands.subscribe(
            tx,
            asker,
            uid,
            receiver,
            lock=flag(parameters.get("deletionlock", "false")),
            keys=filter_of(parameters.multi_items()) if uid == FILTERED else None,
        )
        channel = f"{_socket_base(request)}/ws/subscribers/{receiver.title}"
        return Response(status_code=201, headers={"Content-Location": channel, **warned(remark)})

    return await _done(request, engine, caller, uid, done)


@router.delete("/workitems/{uid}/subscribers/{title}")
async def unsubscribe(
    uid: str, title: str, request: Request, engine: TheEngine, caller: WritesDicom
) -> Response:
    """End a subscription; by a well-known UID, all of them."""

    def done(tx: Transaction, asker: "Asker") -> Response:
        from dicom_node.workitems import commands
        from dicom_node.workitems.subscriber import Channel

        commands.unsubscribe(tx, asker, uid, Channel.WEB, title)
        return Response(status_code=200)

    return await _done(request, engine, caller, uid, done)


@router.post("/workitems/{uid}/subscribers/{title}/suspend")
async def suspend(
    uid: str, title: str, request: Request, engine: TheEngine, caller: WritesDicom
) -> Response:
    """Subscribe to no further workitems; those subscribed to stay."""

    def done(tx: Transaction, asker: "Asker") -> Response:
        from dicom_node.workitems import commands
        from dicom_node.workitems.subscriber import Channel

        commands.suspend(tx, asker, uid, Channel.WEB, title)
        return Response(status_code=200)

    return await _done(request, engine, caller, uid, done)


async def _done(
    request: Request,
    engine: Engine,
    caller: Caller,
    uid: str | None,
    done: Done,
    *,
    title: str = "",
) -> Response:
    """Do something with a workitem in one transaction; answer once it is durable."""

    def act() -> Response:
        from dicom_node.workitems import commands
        from dicom_node.workitems.subscriber import WELL_KNOWN

        require_own_page(request, caller)
        asker = asker_of(engine, caller, title)
        with engine.database.transaction() as tx:
            if uid is not None and uid not in WELL_KNOWN:
                seen_of(tx, engine, caller, commands.get(tx, asker, uid))
            return done(tx, asker)

    try:
        answer = await run_in_threadpool(act)
    except EngineError as error:
        return refused(request, error)
    engine.nudge()
    return answer


def _seen(engine: Engine, caller: Caller, asked: Search) -> Iterator["Workitem"]:
    """Yield what matches, without the readings that are not open to a person."""
    from dicom_node.workitems.search import matches
    from dicom_node.workitems.serving import matching_items

    for item in matching_items(engine.database, asker_of(engine, caller), asked.keys):
        if item.case_id is None or caller.visitor is None:
            yield item
            continue
        with engine.database.reading() as tx:
            try:
                seen = seen_of(tx, engine, caller, item)
            except Refused:
                continue
        if matches(asked.keys, seen.shown()):  # what is not seen is not searched by either
            yield seen


def _model(item: "Workitem", asked: Search) -> dict[str, object]:
    from dicom_node.data_sets import Attributes
    from dicom_node.dictionary import tag_of
    from dicom_node.workitems.model import to_model

    shown = item.shown()
    if asked.included is not None:
        wanted = {
            *asked.included,
            *asked.keys.by_tag,
            *(tag_of(k) for k in ("SOPClassUID", "SOPInstanceUID", "SpecificCharacterSet")),
        }
        shown = Attributes({tag: each for tag, each in shown.by_tag.items() if tag in wanted})
    return to_model(shown)


def _named(request: Request, *names: str) -> str:
    """Return the UID that a query names, or that stands there alone, whatever it is."""
    for name in names:
        if request.query_params.get(name):
            return request.query_params[name]
    query = request.url.query
    return "" if "=" in query else query


def _located(request: Request, uid: str) -> dict[str, str]:
    return {"Content-Location": f"{base_of(request)}/workitems/{uid}"}


def _socket_base(request: Request) -> str:
    base = str(request.base_url).rstrip("/")
    return "ws" + base.removeprefix("http")

"""The event channel of UPS-RS: a WebSocket on which a subscriber is told of workitems.

A WebSocket has no word for 'received'.  What was sent is kept until the connection has outlived
it by more than the time in which a dead one is noticed; whoever opens the channel again is told
the rest once more, under the same message ids.  Of one subscriber one connection is told at a
time, at whatever process it was opened last: which one that is stands in the database, and what
it is told is taken there before it is sent.

References
----------
DICOM PS3.18 sections 8.10 (notification connection) and 11.13, RFC 6455.
"""

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog
from fastapi import APIRouter, WebSocket
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from starlette.websockets import WebSocketDisconnect

from app.engine import Engine
from app.http.access import Caller, socket_caller
from app.http.problems import PROBLEM_JSON, status_of
from app.http.ups_asker import asker_of
from app.identity.person import Scope
from kernel.errors import EngineError
from kernel.ids import fresh

if TYPE_CHECKING:
    from dicom_node.workitems.store import Report

router = APIRouter()
MAX_CHANNELS = 200
SURE_AFTER = timedelta(seconds=60)
"""Longer than the interval and the patience of the keep-alive (20 s each) that ends a dead one."""
_LOOK_S = 0.25
_TURNS_UNTIL_SURE = 100
_ELSEWHERE = 4001

log = structlog.get_logger()


@router.websocket("/ws/subscribers/{title}")
async def open_channel(socket: WebSocket, title: str) -> None:
    """Tell a subscriber of events until the connection ends; opened anew, it moves here."""
    engine: Engine = socket.app.state.engine
    channels: dict[str, asyncio.Event] = socket.app.state.event_channels
    try:
        caller = await run_in_threadpool(socket_caller, socket, engine, Scope.DICOMWEB_READ)
        subscriber_id = await run_in_threadpool(_subscriber, engine, caller, title)
    except EngineError as error:
        status = status_of(error)
        problem = {"status": status.value, "detail": error.sentence, "code": error.code}
        await socket.send_denial_response(JSONResponse(problem, status, {}, PROBLEM_JSON))
        return
    if len(channels) >= MAX_CHANNELS and subscriber_id not in channels:
        await socket.send_denial_response(JSONResponse({"detail": "too many channels"}, 503))
        return
    if subscriber_id in channels:
        channels[subscriber_id].set()
    ended = channels[subscriber_id] = asyncio.Event()
    channel = fresh()
    await socket.accept()
    log.info("workitem.channel_opened")
    listening = asyncio.create_task(_until_gone(socket, ended))
    try:
        await run_in_threadpool(_open, engine, subscriber_id, channel)
        await _tell(socket, engine, subscriber_id, channel, ended)
    except (WebSocketDisconnect, RuntimeError):
        log.info("workitem.channel_lost")
    finally:
        listening.cancel()
        if channels.get(subscriber_id) is ended:
            del channels[subscriber_id]


async def _tell(
    socket: WebSocket, engine: Engine, subscriber_id: str, channel: str, ended: asyncio.Event
) -> None:
    turns = 0
    while not ended.is_set():
        turns += 1
        if not turns % _TURNS_UNTIL_SURE:
            await run_in_threadpool(_sure, engine, subscriber_id, channel)
        if await run_in_threadpool(_look, engine, subscriber_id, channel):
            reports = await run_in_threadpool(_take, engine, subscriber_id, channel)
            if reports is None:
                break
            for report in reports:
                await socket.send_text(json.dumps(event_model(report), ensure_ascii=False))
            continue
        with suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_S):
                await ended.wait()
    await _close(socket)


async def _close(socket: WebSocket) -> None:
    """Say goodbye to a channel that was opened elsewhere; one that is gone hears nothing."""
    if socket.client_state.name == "CONNECTED":
        await socket.close(_ELSEWHERE, "the channel was opened anew")


async def _until_gone(socket: WebSocket, ended: asyncio.Event) -> None:
    """Read until the client is gone; nothing that it says means anything here."""
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            ended.set()
            return


def event_model(report: "Report") -> dict[str, object]:
    """Return an event in the JSON model, its message id the same each time it is told."""
    from dicom_node.uids import UPS_EVENT
    from dicom_node.workitems.model import to_model

    return {
        "00000002": {"vr": "UI", "Value": [UPS_EVENT]},
        "00000110": {"vr": "US", "Value": [report.seq % 0x10000]},
        "00001000": {"vr": "UI", "Value": [report.uid]},
        "00001002": {"vr": "US", "Value": [report.event_type]},
        **to_model(report.information),
    }


def _subscriber(engine: Engine, caller: Caller, title: str) -> str:
    from dicom_node.workitems import commands
    from dicom_node.workitems.subscriber import Channel

    with engine.database.transaction() as tx:
        return commands.require_own(tx, asker_of(engine, caller), Channel.WEB, title).id


def _open(engine: Engine, subscriber_id: str, channel: str) -> None:
    from dicom_node.workitems import store

    with engine.database.transaction() as tx:
        store.open_channel(tx, subscriber_id, channel)


def _look(engine: Engine, subscriber_id: str, channel: str) -> bool:
    from dicom_node.workitems import store

    with engine.database.reading() as tx:
        return store.look(tx, subscriber_id, channel)


def _take(engine: Engine, subscriber_id: str, channel: str) -> Sequence["Report"] | None:
    from dicom_node.workitems import store

    with engine.database.transaction() as tx:
        return store.take(tx, subscriber_id, channel)


def _sure(engine: Engine, subscriber_id: str, channel: str) -> None:
    from dicom_node.workitems import store

    with engine.database.transaction() as tx:
        store.surely_told(tx, subscriber_id, channel, before=tx.at - SURE_AFTER)

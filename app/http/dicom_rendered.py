"""Rendered pictures of instances and frames, thumbnails; never for diagnosis.

References
----------
DICOM PS3.18 sections 8.3.5 (rendering parameters), 10.4.1.1.3 (rendered), 10.4.1.1.4 (thumbnail).
"""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse

from app.engine import Engine
from app.http.accept import accept_of, accepts, asked_picture, takes_parts
from app.http.access import ReadsDicom
from app.http.body import TheEngine
from app.http.dicom_address import INSTANCE, SERIES, STUDY, Named
from app.http.dicom_frames import MAX_FRAMES, BulkUnknown, frame_numbers
from app.http.dicom_opened import opened
from app.http.dicom_shown import MAX_SIDE, Shown, remarks_on, shown_as
from app.http.errors import NotAcceptable
from app.http.headers import AS_DOWNLOAD
from app.http.multipart import joined
from dicom_node.errors import PictureRefused
from dicom_node.verbatim import holds_file
from kernel.ids import fresh
from storage import instance_file
from storage.series_queries import Held

if TYPE_CHECKING:
    from dicom_node.pictures import Picture

router = APIRouter(prefix="/dicomweb")
THUMBNAIL_SIDE = 128
MAX_INSTANCE_BYTES = 1 << 30


@router.get(INSTANCE + "/rendered")
@router.get(INSTANCE + "/frames/{numbers}/rendered")
def rendered(
    named: Named,
    request: Request,
    engine: TheEngine,
    caller: ReadsDicom,
    numbers: str = "1",
) -> Response:
    """Give pictures of frames, of the first where none is named; several in parts.

    What holds a document or a video is given as that.
    """
    wanted = frame_numbers(numbers)
    (row,) = opened(engine, caller, *named.uids)
    if holds_file(row.sop_class_uid, row.transfer_syntax_uid):
        return _file(request, engine, row)
    asked_picture(accept_of(request))
    if max(wanted) > (row.frames or 1):
        raise BulkUnknown(f"the instance has {row.frames or 1} frames")
    return _pictures(request, engine, [(row, number) for number in wanted])


@router.get(STUDY + "/rendered")
@router.get(SERIES + "/rendered")
def rendered_all(named: Named, request: Request, engine: TheEngine, caller: ReadsDicom) -> Response:
    """Give a picture of each image of a study or series, in parts, in reading order.

    What is no image has none; what cannot be shown is left out.
    """
    asked_picture(accept_of(request))
    rows = opened(engine, caller, *named.uids)
    images = [(row, 1) for row in rows if row.rows]
    if not images:
        raise NotAcceptable("nothing of this can be shown as a picture")
    if len(images) > MAX_FRAMES:
        raise NotAcceptable(f"one request has at most {MAX_FRAMES} pictures: ask for a part")
    return _pictures(request, engine, images)


@router.get(STUDY + "/thumbnail")
@router.get(SERIES + "/thumbnail")
@router.get(INSTANCE + "/thumbnail")
@router.get(INSTANCE + "/frames/{number}/thumbnail")
def thumbnail(
    named: Named, request: Request, engine: TheEngine, caller: ReadsDicom, number: str = "1"
) -> Response:
    """Give a small picture that stands for a study or series, or is of an instance or frame."""
    media_type = asked_picture(accept_of(request))
    shown = shown_as(request.query_params)
    (frame,) = frame_numbers(number)[:1]
    rows = opened(engine, caller, *named.uids)
    images = [row for row in rows if row.rows] or rows
    row = images[len(images) // 2]  # the middle of a series shows more than its first slice
    if frame > (row.frames or 1):
        raise BulkUnknown(f"the instance has {row.frames or 1} frames")
    made = picture_of(
        engine, row, frame=frame, media_type=media_type, shown=shown, side=THUMBNAIL_SIDE
    )
    return Response(made.data, headers=remarks_on(request.query_params), media_type=media_type)


def picture_of(
    engine: Engine, row: Held, *, frame: int, media_type: str, shown: Shown, side: int = MAX_SIDE
) -> "Picture":
    """Return the picture of one frame.

    Raises
    ------
    NotAcceptable
        No picture can be made of this instance.
    """
    from dicom_node.pictures import Curve, View, render

    if row.length > MAX_INSTANCE_BYTES:
        raise NotAcceptable("the instance is too large to be shown as a picture")
    view = None
    if shown.size is not None:
        view = View(width=shown.size[0], height=shown.size[1], region=shown.region)
    try:
        return render(
            instance_file.whole(engine.archive, row),
            frame=frame,
            max_side=side,
            window=shown.window,
            curve=Curve(shown.curve),
            view=view,
            quality=shown.quality,
            media_type=media_type,
        )
    except PictureRefused as refusal:
        raise NotAcceptable(refusal.sentence) from refusal


def _pictures(request: Request, engine: Engine, wanted: Sequence[tuple[Held, int]]) -> Response:
    """Give pictures of frames of instances: one alone, or as many as can be made in parts."""
    accept = accept_of(request)
    media_type, shown = asked_picture(accept), shown_as(request.query_params)
    remarks = remarks_on(request.query_params)
    if len(wanted) == 1 and not takes_parts(accept):
        (row, number), *_ = wanted
        made = picture_of(engine, row, frame=number, media_type=media_type, shown=shown)
        return Response(made.data, headers=remarks, media_type=media_type)
    if accept and not takes_parts(accept) and "*/*" not in accept:
        raise NotAcceptable("several pictures come as multipart/related")
    boundary, whole = f"telerad-{fresh()}", len({row.instance_uid for row, _ in wanted}) > 1

    def pictures() -> Iterator[tuple[str, bytes]]:
        for row, number in wanted:
            try:
                made = picture_of(engine, row, frame=number, media_type=media_type, shown=shown)
            except NotAcceptable:
                if whole:
                    continue
                raise
            yield media_type, made.data

    pieces = pictures()
    first = next(pieces, None)
    if first is None:
        raise NotAcceptable("nothing of this can be shown as a picture")
    return StreamingResponse(
        joined(boundary, chain((first,), pieces)),
        headers=remarks,
        media_type=f'multipart/related; type="{media_type}"; boundary="{boundary}"',
    )


def _file(request: Request, engine: Engine, row: Held) -> Response:
    """Give the document or video that an instance holds, so that nothing in it can act here."""
    from dicom_node.verbatim import held_file

    if row.length > MAX_INSTANCE_BYTES:
        raise NotAcceptable("the instance is too large to be given out in one piece")
    try:
        held = held_file(instance_file.whole(engine.archive, row))
    except PictureRefused as refusal:
        raise NotAcceptable(refusal.sentence) from refusal
    if not accepts(accept_of(request), held.media_type):
        raise NotAcceptable(f"this instance is rendered as {held.media_type}")
    named = f'attachment; filename="{row.instance_uid}.{held.suffix}"'
    headers = {**AS_DOWNLOAD, "Content-Disposition": named}
    return Response(held.data, media_type=held.media_type, headers=headers)

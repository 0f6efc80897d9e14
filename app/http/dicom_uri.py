"""WADO-URI: one instance, or a picture of it, by parameters.

References
----------
DICOM PS3.18 section 9.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from fastapi import APIRouter, Request
from fastapi.responses import Response

from app.http.accept import DICOM, JPEG, PNG, Form, accept_of
from app.http.access import ReadsDicom
from app.http.body import TheEngine
from app.http.dicom_frames import BulkUnknown, frame_numbers
from app.http.dicom_opened import opened_instance
from app.http.dicom_rendered import picture_of
from app.http.dicom_shown import MAX_SIDE, Shown, remarks_on, whole_number
from app.http.dicom_wado import alone
from app.http.errors import BodyMalformed, NotAcceptable
from dicom_node.uids import EXPLICIT_LITTLE
from storage.series_queries import Held

router = APIRouter(prefix="/dicomweb")
_UIDS = ("studyUID", "seriesUID", "objectUID")
_PICTURES = (JPEG, PNG)
_EDGES = ("left", "top", "right", "bottom")


@router.get("/wado")
def wado_uri(request: Request, engine: TheEngine, caller: ReadsDicom) -> Response:
    """Give one instance as application/dicom, or a picture of it."""
    asked = request.query_params
    if asked.get("requestType") != "WADO":
        raise BodyMalformed("requestType is WADO")
    if any(not asked.get(name) for name in _UIDS):
        raise BodyMalformed("studyUID, seriesUID and objectUID name what is asked for")
    from dicom_node.outgoing import shown_of

    _refuse_what_is_not_done(asked)
    media_type = _media_type(asked.get("contentType") or accept_of(request))
    shown, region = _shown(asked), _region(asked.get("region"))
    row = opened_instance(engine, caller, *(asked[name] for name in _UIDS))
    if media_type == DICOM or (media_type == "*/*" and not row.rows):
        syntax = asked.get("transferSyntax", "")
        form = Form(False, (syntax or EXPLICIT_LITTLE,), else_stored=not syntax)
        return alone(request, engine, form, row, shown_of(engine.archive, row.study_uid))
    (frame,) = frame_numbers(asked.get("frameNumber", "1"))[:1]
    if frame > (row.frames or 1):
        raise BulkUnknown(f"the instance has {row.frames or 1} frames")
    media_type = JPEG if media_type == "*/*" else media_type
    if region is not None:
        shown = _cropped(shown, region, row)
    made = picture_of(engine, row, frame=frame, media_type=media_type, shown=shown)
    return Response(made.data, headers=remarks_on(asked), media_type=media_type)


def _refuse_what_is_not_done(asked: Mapping[str, str]) -> None:
    """Refuse what would be given otherwise than it is asked for, and be taken for it.

    Who asks for an instance without the patient in it must not get it with the patient.
    """
    if asked.get("anonymize"):
        raise NotAcceptable("instances are not given without the patient here")
    if asked.get("presentationUID") or asked.get("presentationSeriesUID"):
        raise NotAcceptable("presentation states are not applied here: pictures come without")


def _media_type(asked: str) -> str:
    """Return the first of the media types asked that can be given (section 9.4.1)."""
    for item in asked.split(",") if asked else ["*/*"]:
        name = item.partition(";")[0].strip().lower()
        if name in {DICOM, *_PICTURES}:
            return name
        if name in {"*/*", "image/*"}:
            return "*/*" if name == "*/*" else JPEG
        if name == "image/jpg":  # no media type, but what many viewers ask for
            return JPEG
    raise NotAcceptable(f"an instance comes as {DICOM}, {JPEG} or {PNG}")


def _shown(asked: Mapping[str, str]) -> Shown:
    """Return how a picture is asked for (section 9.1.2.2)."""
    width, height = (_side(asked, name) for name in ("columns", "rows"))
    size = None
    if width is not None or height is not None:
        size = (width or MAX_SIDE, height or MAX_SIDE)
    center, spread = _number(asked, "windowCenter"), _number(asked, "windowWidth")
    if (center is None) != (spread is None):
        raise BodyMalformed("windowCenter and windowWidth go together")
    window = None
    if center is not None and spread is not None:
        if spread < 1:
            raise BodyMalformed("windowWidth is at least 1")
        window = (center, spread)
    quality = whole_number("imageQuality", asked.get("imageQuality") or "90")
    if not 1 <= quality <= 100:
        raise BodyMalformed("imageQuality is a number from 1 to 100")
    return Shown(size, None, window, "linear", quality)


def _side(asked: Mapping[str, str], name: str) -> int | None:
    if not asked.get(name):
        return None
    side = whole_number(name, asked[name])
    if not 1 <= side <= MAX_SIDE:
        raise BodyMalformed(f"rows and columns are from 1 to {MAX_SIDE}")
    return side


def _region(text: str | None) -> tuple[float, ...] | None:
    """Return (left, top, right, bottom) of the part that is shown, as shares of the image."""
    if not text:
        return None
    try:
        edges = tuple(float(each[:32]) for each in text.split(",", 4))
    except ValueError as error:
        raise BodyMalformed("region is four numbers") from error
    if len(edges) != len(_EDGES) or not all(0 <= edge <= 1 for edge in edges):
        raise BodyMalformed("region is left, top, right and bottom, each from 0 to 1")
    left, top, right, bottom = edges
    if left >= right or top >= bottom:
        raise BodyMalformed("a region has its left and top before its right and bottom")
    return edges


def _cropped(shown: Shown, region: Sequence[float], row: Held) -> Shown:
    """Return how a picture of a part of an image is shown: each pixel that the part touches."""
    columns, rows = row.columns or 1, row.rows or 1
    left, top = int(region[0] * columns), int(region[1] * rows)
    width = max(1, math.ceil(region[2] * columns) - left)
    height = max(1, math.ceil(region[3] * rows) - top)
    size = shown.size or (min(width, MAX_SIDE), min(height, MAX_SIDE))
    return replace(shown, size=size, region=(left, top, width, height))


def _number(asked: Mapping[str, str], name: str) -> float | None:
    text = asked.get(name)
    if not text:
        return None
    try:
        value = float(text[:32])
    except ValueError as error:
        raise BodyMalformed(f"{name} is not a number") from error
    if not abs(value) < 1e12:
        raise BodyMalformed(f"{name} is not a number")
    return value

"""WADO-URI: one instance, or a picture of it, by parameters.

References
----------
DICOM PS3.18 section 9.
"""

from collections.abc import Mapping

from fastapi import APIRouter, Request
from fastapi.responses import Response

from app.http.accept import DICOM, EXPLICIT_LITTLE, JPEG, PNG, Form, accept_of
from app.http.access import ReadsDicom
from app.http.body import TheEngine
from app.http.dicom_frames import BulkUnknown, frame_numbers
from app.http.dicom_opened import opened_instance
from app.http.dicom_rendered import MAX_SIDE, Shown, picture_of
from app.http.dicom_wado import alone
from app.http.errors import BodyMalformed, NotAcceptable

router = APIRouter(prefix="/dicomweb")
_UIDS = ("studyUID", "seriesUID", "objectUID")
_PICTURES = (JPEG, PNG)


@router.get("/wado")
def wado_uri(request: Request, engine: TheEngine, caller: ReadsDicom) -> Response:
    """Give one instance as application/dicom, or a picture of it."""
    asked = request.query_params
    if asked.get("requestType") != "WADO":
        raise BodyMalformed("requestType is WADO")
    if any(not asked.get(name) for name in _UIDS):
        raise BodyMalformed("studyUID, seriesUID and objectUID name what is asked for")
    from dicom_node.outgoing import shown_of

    media_type = _media_type(asked.get("contentType") or accept_of(request))
    shown = _shown(asked)
    row = opened_instance(engine, caller, *(asked[name] for name in _UIDS))
    if media_type == DICOM or (media_type == "*/*" and not row.rows):
        form = Form(False, (asked.get("transferSyntax") or EXPLICIT_LITTLE,))
        return alone(request, engine, form, row, shown_of(engine.archive, row.study_uid))
    (frame,) = frame_numbers(asked.get("frameNumber", "1"))[:1]
    if frame > (row.frames or 1):
        raise BulkUnknown(f"the instance has {row.frames or 1} frames")
    media_type = JPEG if media_type == "*/*" else media_type
    made = picture_of(engine, row, frame=frame, media_type=media_type, shown=shown)
    return Response(made.data, media_type=media_type)


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
    width = _number(asked, "columns", whole=True)
    height = _number(asked, "rows", whole=True)
    size = None
    if width is not None or height is not None:
        size = (int(width or MAX_SIDE), int(height or MAX_SIDE))
        if not all(1 <= side <= MAX_SIDE for side in size):
            raise BodyMalformed(f"rows and columns are from 1 to {MAX_SIDE}")
    center, spread = _number(asked, "windowCenter"), _number(asked, "windowWidth")
    if (center is None) != (spread is None):
        raise BodyMalformed("windowCenter and windowWidth go together")
    window = None
    if center is not None and spread is not None:
        if spread < 1:
            raise BodyMalformed("windowWidth is at least 1")
        window = (center, spread)
    quality = int(_number(asked, "imageQuality", whole=True) or 90)
    if not 1 <= quality <= 100:
        raise BodyMalformed("imageQuality is a number from 1 to 100")
    return Shown(size, None, window, "linear", quality)


def _number(asked: Mapping[str, str], name: str, *, whole: bool = False) -> float | None:
    text = asked.get(name)
    if not text:
        return None
    try:
        value = int(text[:12]) if whole else float(text[:32])
    except ValueError as error:
        raise BodyMalformed(f"{name} is not a number") from error
    if not abs(value) < 1e12:
        raise BodyMalformed(f"{name} is not a number")
    return value

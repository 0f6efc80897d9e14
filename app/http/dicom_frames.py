"""WADO-RS: frames and bulk data.

References
----------
DICOM PS3.18 sections 10.4.1.1.5 (bulk data), 10.4.1.1.6 (frames), 8.7.3 (media types).
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from itertools import chain
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse

from app.engine import Engine
from app.http.accept import ANY, OCTETS, Taken, accept_of, asked_bulk
from app.http.access import ReadsDicom
from app.http.body import TheEngine
from app.http.dicom_address import INSTANCE, Named
from app.http.dicom_opened import opened
from app.http.dicom_range import ranged
from app.http.errors import BodyMalformed, NotAcceptable
from app.http.headers import AS_DOWNLOAD
from app.http.multipart import joined
from dicom_node.errors import PictureRefused, Unreadable
from dicom_node.uids import COMPRESSIONS, EXPLICIT_LITTLE
from kernel.errors import NotFound
from kernel.ids import fresh
from storage import instance_file
from storage.series_queries import Held

if TYPE_CHECKING:
    from storage.shown import StudyShown

router = APIRouter(prefix="/dicomweb")
MAX_FRAMES = 1000
_NUMBERS = re.compile(r"[1-9]\d{0,8}(,[1-9]\d{0,8})*")
_PATH = re.compile(r"[0-9A-F]{8}(/[1-9]\d{0,5}/[0-9A-F]{8}){0,20}")
_PIXEL_DATA = "7FE00010"
_DOCUMENT = "00420011"
# What is stored may be anything: it is named for what it is only if no browser runs it.
_HARMLESS = frozenset({"application/pdf", "model/stl", "model/obj", "model/mtl"})

Piece = tuple[str, bytes]


@dataclass(frozen=True, slots=True)
class _Way:
    """In which transfer syntax frames are given, and whether that is work beyond decoding."""

    syntax: str
    is_work: bool = False


_STORED, _PLAIN = _Way(ANY), _Way(EXPLICIT_LITTLE)


class BulkUnknown(NotFound):
    """The instance has no such frame or bulk data."""

    code = "dicomweb.bulk_unknown"


@router.get(INSTANCE + "/frames/{numbers}")
def retrieve_frames(
    named: Named, numbers: str, request: Request, engine: TheEngine, caller: ReadsDicom
) -> Response:
    """Give frames as they are stored, decoded, or compressed anew; one of them also alone."""
    forms = asked_bulk(accept_of(request))
    wanted = frame_numbers(numbers)
    (row,) = opened(engine, caller, *named.uids)
    if max(wanted) > (row.frames or 1):
        raise BulkUnknown(f"the instance has {row.frames or 1} frames")
    form, pieces = _frames(engine, row, forms, wanted)
    return _given(form, pieces)


@router.get(INSTANCE + "/bulkdata/{path:path}")
def retrieve_bulk(
    named: Named, path: str, request: Request, engine: TheEngine, caller: ReadsDicom
) -> Response:
    """Give the binary value that metadata name by this address; a download, never a page.

    It is that of the instance as it leaves: what a correction took out is not there.
    """
    forms = asked_bulk(accept_of(request))
    (row,) = opened(engine, caller, *named.uids)
    if _PATH.fullmatch(path) is None:
        raise BulkUnknown("the instance has no such bulk data")
    from dicom_node.frames import NATIVE
    from dicom_node.outgoing import shown_of

    if path == _PIXEL_DATA and row.transfer_syntax_uid not in NATIVE:
        count = range(1, (row.frames or 1) + 1)
        form, pieces = _frames(engine, row, forms, count)
        return _given(form, pieces)
    shown = shown_of(engine.archive, row.study_uid)
    try:
        media_type, data = _bulk(engine, row, path, shown)
    except Unreadable as refusal:
        raise NotAcceptable(refusal.sentence) from refusal
    for form in forms:
        if form.media_type in {media_type, OCTETS, "*/*", "application/*"}:
            name = media_type if form.media_type != OCTETS else OCTETS
            if form.multipart and form.media_type != "*/*":
                return _given(form, iter([(name, data)]))
            return _download(request, _tag(row, path, shown), name, data)
    raise NotAcceptable(f"this value comes as {media_type} or {OCTETS}")


def frame_numbers(text: str) -> list[int]:
    """Return the numbers of a list of frames.

    Raises
    ------
    BodyMalformed
        It is no list of numbers from 1 on, or a very long one.
    """
    if _NUMBERS.fullmatch(text) is None:
        raise BodyMalformed("frames are a list of numbers from 1 on")
    found = [int(each) for each in text.split(",")]
    if len(found) > MAX_FRAMES:
        raise BodyMalformed(f"one request has at most {MAX_FRAMES} frames")
    return found


def _frames(
    engine: Engine, row: Held, forms: Sequence[Taken], numbers: Sequence[int]
) -> tuple[Taken, Iterator[Piece]]:
    """Return the form to give frames in, and the frames; the first of them is at hand already."""
    ways = [(form, way) for form in forms if (way := _way(form, row)) is not None]
    if not ways:
        raise NotAcceptable("the frames cannot be given in any of the forms asked")
    why = NotAcceptable("several frames come as multipart/related")
    for form, way in sorted(ways, key=lambda each: (-each[0].quality, each[1].is_work)):
        if not form.multipart and len(numbers) > 1:
            continue
        found = _pieces(engine, row, way, numbers)
        try:
            first = next(found)
        except (PictureRefused, Unreadable) as refusal:
            why = NotAcceptable(refusal.sentence)
        else:
            return form, chain([first], found)
    raise why


def _way(form: Taken, row: Held) -> _Way | None:
    """Return in which transfer syntax frames are given in this form, None if in none.

    Each compression can be asked for as it is stored and decoded, and pixels are compressed anew
    without loss.  Deflated pixels are native ones.
    """
    from dicom_node.frames import MEDIA_TYPES, NATIVE

    media_type = MEDIA_TYPES.get(row.transfer_syntax_uid)
    is_native = row.transfer_syntax_uid in NATIVE or media_type is None
    if form.media_type in {"*/*", "image/*"}:
        return _STORED if form.media_type == "*/*" or not is_native else None
    if form.media_type == OCTETS:
        if form.syntax in {ANY, row.transfer_syntax_uid}:
            return _STORED
        return _PLAIN if form.syntax in {"", EXPLICIT_LITTLE} else None
    if form.media_type == media_type and form.syntax in {"", ANY, row.transfer_syntax_uid}:
        return _STORED
    made = (each for each in COMPRESSIONS if MEDIA_TYPES[each] == form.media_type)
    target = next((each for each in made if form.syntax in {"", ANY, each}), None)
    return None if target is None else _Way(target, is_work=True)


def _pieces(engine: Engine, row: Held, way: _Way, numbers: Sequence[int]) -> Iterator[Piece]:
    from dicom_node.frames import MEDIA_TYPES, Frames

    with instance_file.opened(engine.archive, row) as file:
        frames = Frames(file)
        for number in numbers:
            if way is _STORED:
                name, syntax, data = frames.stored(number)
            elif way is _PLAIN:
                name, syntax, data = OCTETS, EXPLICIT_LITTLE, frames.plain(number)
            else:
                from dicom_node.transcode import transcoded_frame

                name, syntax = MEDIA_TYPES[way.syntax], way.syntax
                data = transcoded_frame(frames, number, syntax)
            yield f"{name}; transfer-syntax={syntax}", data


def _bulk(engine: Engine, row: Held, path: str, shown: "StudyShown | None") -> Piece:
    from io import BytesIO

    from dicom_node.dicom_json import bulk_of, metadata_of
    from dicom_node.outgoing import whole

    data = whole(engine.archive, row, shown)
    try:
        found = bulk_of(data, path)
    except KeyError as error:
        raise BulkUnknown("the instance has no such bulk data") from error
    if path != _DOCUMENT:
        return OCTETS, found
    told = metadata_of(BytesIO(data), bulk="")
    media_type = str(told.get("00420012", {}).get("Value", [""])[0]).lower()
    length = told.get("00420015", {}).get("Value", [])
    if length and isinstance(length[0], int) and length[0] <= len(found):
        found = found[: length[0]]  # without the byte that makes the length even
    return (media_type if media_type in _HARMLESS else OCTETS), found


def _given(form: Taken, pieces: Iterator[Piece]) -> Response:
    if not form.multipart:
        media_type, data = next(pieces)
        return Response(data, HTTPStatus.OK, headers=AS_DOWNLOAD, media_type=media_type)
    boundary = f"telerad-{fresh()}"
    first, second = next(pieces), next(pieces, None)
    kind = first[0].partition(";")[0]
    media_type = f'multipart/related; type="{kind}"; boundary="{boundary}"'
    if second is None:  # at hand as a whole: to stream it would change threads for each piece
        body = b"".join(joined(boundary, iter([first])))
        return Response(body, headers=AS_DOWNLOAD, media_type=media_type)
    parts = chain([first, second], pieces)
    return StreamingResponse(joined(boundary, parts), headers=AS_DOWNLOAD, media_type=media_type)


def _tag(row: Held, path: str, shown: "StudyShown | None") -> str:
    """Name the bytes of a value, which change with the corrections."""
    own = None if shown is None else shown.of(row.instance_uid)
    corrected = "" if own is None else f"-{own.at:%Y%m%d%H%M%S%f}"
    return f"{row.digest}-{path.replace('/', '-')}{corrected}"


def _download(request: Request, tag: str, media_type: str, data: bytes) -> Response:
    return ranged(
        request,
        len(data),
        lambda start, length: data[start : start + length],
        media_type=media_type,
        tag=tag,
        headers=AS_DOWNLOAD,
    )

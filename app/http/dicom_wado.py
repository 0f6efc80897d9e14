"""WADO-RS: instances and their metadata.

References
----------
DICOM PS3.18 section 10.4 (retrieve), 8.7 (media types).
"""

import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import structlog
from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse

from app.engine import Engine
from app.http.accept import (
    ANY,
    DICOM,
    Form,
    accept_of,
    asked_instances,
    asked_model,
)
from app.http.access import ReadsDicom
from app.http.body import TheEngine
from app.http.dicom_address import INSTANCE, SERIES, STUDY, Named
from app.http.dicom_model import as_xml, base_of, given
from app.http.dicom_opened import opened
from app.http.dicom_range import ranged
from app.http.errors import NotAcceptable
from app.http.multipart import closing, opening
from app.http.read_ahead import (
    BATCH_BYTES,
    Batch,
    in_turn,
    made_ahead,
    prefetched,
    prefetched_batch,
    read_ahead,
)
from dicom_node.decodable import MAX_PIXEL_BYTES
from dicom_node.errors import PictureRefused
from dicom_node.uids import COMPRESSIONS, WITHOUT_LOSS
from kernel.errors import EngineError
from kernel.ids import fresh
from storage import instance_file
from storage.archive import StudyUnknown, manifest
from storage.series_queries import Held

if TYPE_CHECKING:
    from storage.shown import StudyShown

router = APIRouter(prefix="/dicomweb")
log = structlog.get_logger()
Targets = tuple[str, ...]
"""Transfer syntaxes, of which the first is taken that can be made of an instance."""


@router.get(STUDY)
@router.get(SERIES)
@router.get(INSTANCE)
def retrieve(
    named: Named,
    request: Request,
    engine: TheEngine,
    caller: ReadsDicom,
    original: bool = False,
) -> Response:
    """Give every instance of a study or series, or one alone or as the only part.

    `original` gives those who correct studies what came, byte for byte.
    """
    from dicom_node.outgoing import shown_of

    forms = asked_instances(accept_of(request), single=named.instance_uid is not None)
    rows = opened(engine, caller, *named.uids, original=original)
    form = _best(forms, rows)
    if original:
        require_stored(form, rows)
    shown = None if original else shown_of(engine.archive, named.study_uid)
    if not form.multipart:
        return alone(request, engine, form, rows[0], shown)
    rows.sort(key=_place)  # of the parts no order is promised; what lies together is read at once
    targets = [targets_of(form, row) for row in rows]
    boundary = f"telerad-{fresh()}"
    headers = {}
    is_stored = (
        row.transfer_syntax_uid == first for row, (first, *_) in zip(rows, targets, strict=True)
    )
    if shown is None and all(is_stored):
        headers["Content-Length"] = str(_length(boundary, rows))
    return StreamingResponse(
        made_ahead(prefetched_batch(_parts(engine, boundary, rows, targets, shown))),
        headers=headers,
        media_type=f'multipart/related; type="{DICOM}"; boundary="{boundary}"',
    )


@router.get(STUDY + "/metadata")
@router.get(SERIES + "/metadata")
@router.get(INSTANCE + "/metadata")
def metadata(named: Named, request: Request, engine: TheEngine, caller: ReadsDicom) -> Response:
    """Give the metadata of every instance of a study or series, or of one."""
    from dicom_node.outgoing import shown_of
    from dicom_node.series_metadata import document, model_of

    model = asked_model(accept_of(request), single=named.instance_uid is not None)
    rows = opened(engine, caller, *named.uids)
    base, shown = base_of(request), shown_of(engine.archive, named.study_uid)
    if model.is_xml:
        models = (model_of(engine.archive, row, base=base, shown=shown) for row in rows)
        return as_xml(models) if model.multipart else given(request, list(models), single=True)
    pieces = document(
        engine.archive,
        rows,
        base=base,
        keep=lambda: _is_complete(engine, named.study_uid, rows),
        shown=shown,
    )
    headers = {"Vary": "Accept, Accept-Encoding"}
    if len(rows) > 1 and _takes_gzip(request):
        headers["Content-Encoding"] = "gzip"
        pieces = _gzipped(pieces)
    return StreamingResponse(
        read_ahead(prefetched(pieces)), headers=headers, media_type=model.media_type
    )


def alone(
    request: Request, engine: Engine, form: Form, row: Held, shown: "StudyShown | None"
) -> Response:
    """Give one instance that is not a part of anything; as it is stored, also a range of it."""
    from dicom_node.outgoing import outgoing, own_of

    targets = targets_of(form, row)
    media_type = f"{DICOM}; transfer-syntax={row.transfer_syntax_uid}"
    if targets[0] != row.transfer_syntax_uid:
        made, data = _in_syntax(engine, row, targets, shown)
        return Response(data, media_type=f"{DICOM}; transfer-syntax={made}")
    if own_of(shown, row) is not None:
        leaving = outgoing(engine.archive, row, shown)
        return StreamingResponse(
            read_ahead(prefetched(leaving.pieces)),
            headers={"Content-Length": str(leaving.length)},
            media_type=media_type,
        )
    return ranged(
        request,
        row.length,
        lambda start, length: instance_file.stretch(engine.archive, row, start, length),
        whole=lambda: prefetched(instance_file.chunks(engine.archive, row)),
        media_type=media_type,
        tag=row.digest,
    )


def targets_of(form: Form, row: Held) -> tuple[str, ...]:
    """Return the transfer syntaxes in which an instance may be given, the first that works.

    As it is stored comes first if that is taken, and last where the client named none and there is
    nothing but what was compressed with loss (PS3.18 section 8.7.3.5.2).

    Raises
    ------
    NotAcceptable
        There is none.
    """
    stored = row.transfer_syntax_uid
    if form.takes(stored) or ANY in form.syntaxes:
        return (stored,)
    from dicom_node.transcode import TARGETS

    made = TARGETS if row.rows is not None else TARGETS.difference(COMPRESSIONS)
    targets = tuple(each for each in form.syntaxes if each in made)
    if not targets:
        raise NotAcceptable("an instance cannot be given in any of the transfer syntaxes asked")
    if row.length <= MAX_PIXEL_BYTES:
        as_last = form.else_stored and stored not in WITHOUT_LOSS
        return (*targets, stored) if as_last else targets
    if not form.else_stored:
        raise NotAcceptable("an instance is too large to be given in another syntax")
    return (stored,)


def _best(forms: Sequence[Form], rows: Sequence[Held]) -> Form:
    """Return the first form in which all instances can be given; the last, if they can in none."""
    for form in forms[:-1]:
        with suppress(NotAcceptable):
            for row in rows:
                targets_of(form, row)
            return form
    return forms[-1]


def require_stored(form: Form, rows: Sequence[Held]) -> None:
    """Refuse a form in which instances would not be given as they are stored.

    Raises
    ------
    NotAcceptable
        The client takes one of them in other transfer syntaxes only.
    """
    if not all(form.takes(row.transfer_syntax_uid) for row in rows):
        raise NotAcceptable("what came is given in its own transfer syntax: transfer-syntax=*")


def _place(row: Held) -> tuple[str, int]:
    return row.pack_key or row.segment or "", row.offset


def _parts(
    engine: Engine,
    boundary: str,
    rows: Sequence[Held],
    targets: Sequence[Targets],
    shown: "StudyShown | None",
) -> Iterator[Batch]:
    """Yield the body in batches; of a large instance one is read behind the other."""
    end = b""
    for batch in _batches(rows, targets):
        found = _of_batch(engine, boundary, batch, shown, several=len(rows) > 1)
        pieces = _pieces(found, end)
        if batch[0][0].length > instance_file.WHOLE:
            yield from in_turn(pieces)
        else:
            yield partial(b"".join, pieces)
        end = b"\r\n"
    yield partial(bytes, end + closing(boundary))


def _pieces(
    parts: Iterable[tuple[bytes, Iterator[bytes | memoryview]]], end: bytes
) -> Iterator[bytes | memoryview]:
    """Yield the parts of a batch; `end` ends what stands before."""
    for head, pieces in parts:
        yield end + head
        yield from pieces
        end = b"\r\n"


def _of_batch(
    engine: Engine,
    boundary: str,
    batch: Sequence[tuple[Held, Targets]],
    shown: "StudyShown | None",
    *,
    several: bool,
) -> Iterator[tuple[bytes, Iterator[bytes | memoryview]]]:
    """Yield head and bytes of each part; what is kept as it is asked for is read at once.

    One of several that cannot be brought into another transfer syntax, as its pixels are damaged,
    goes as it is kept, and its part says so: the others are none the worse for it, and no reader
    takes a study for whole that lacks an image.
    """
    from dicom_node.outgoing import all_outgoing

    row, targets = batch[0]
    if targets[0] != row.transfer_syntax_uid:
        try:
            made, data = _in_syntax(engine, row, targets, shown)
        except NotAcceptable:
            if not several:
                raise
            log.warning("retrieve.given_as_kept", instance=row.instance_uid)
        else:
            yield _part_head(boundary, made, len(data)), iter((data,))
            return
    for row, leaving in all_outgoing(engine.archive, [row for row, _ in batch], lambda _: shown):
        if isinstance(leaving, EngineError):
            raise leaving
        yield _part_head(boundary, row.transfer_syntax_uid, leaving.length), iter(leaving.pieces)


def _batches(
    rows: Sequence[Held], targets: Sequence[Targets]
) -> Iterator[Sequence[tuple[Held, Targets]]]:
    """Yield what is kept in the syntax that is asked for in batches, all else one by one."""
    batch: list[tuple[Held, Targets]] = []
    size = 0
    for row, asked in zip(rows, targets, strict=True):
        as_kept = asked[0] == row.transfer_syntax_uid
        if batch and (not as_kept or size + row.length > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        if not as_kept:
            yield [(row, asked)]
            continue
        batch.append((row, asked))
        size += row.length
    if batch:
        yield batch


def _length(boundary: str, rows: Sequence[Held]) -> int:
    heads = sum(
        len(_part_head(boundary, row.transfer_syntax_uid, row.length)) + row.length + 2
        for row in rows
    )
    return heads + len(closing(boundary))


def _part_head(boundary: str, syntax: str, length: int) -> bytes:
    return opening(boundary, f"{DICOM}; transfer-syntax={syntax}", length)


def _in_syntax(
    engine: Engine, row: Held, targets: Targets, shown: "StudyShown | None"
) -> tuple[str, bytes]:
    """Return the first transfer syntax in which an instance can be given, and its file in it."""
    from dicom_node.outgoing import whole
    from dicom_node.transcode import transcoded

    file = whole(engine.archive, row, shown)
    why = "an instance cannot be given in any of the transfer syntaxes asked"
    for target in targets:
        if target == row.transfer_syntax_uid:
            return target, file
        try:
            return target, transcoded(file, target)
        except PictureRefused as refusal:
            why = refusal.sentence
    raise NotAcceptable(why)


def _gzipped(pieces: Iterable[bytes]) -> Iterator[bytes]:
    packer = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    for piece in pieces:
        packed = packer.compress(piece)
        if packed:
            yield packed
    yield packer.flush()


def _is_complete(engine: Engine, study_uid: str, rows: Sequence[Held]) -> bool:
    """Say whether a manifest holds all of these, so that no more are expected."""
    with engine.database.reading() as tx:
        try:
            frozen = {entry.instance_uid for entry in manifest(tx, study_uid).entries}
        except StudyUnknown:
            return False
    return all(row.instance_uid in frozen for row in rows)


def _takes_gzip(request: Request) -> bool:
    for item in request.headers.get("accept-encoding", "").lower().split(","):
        coding, _, parameters = item.partition(";")
        if coding.strip() in {"gzip", "*"}:
            return parameters.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return False

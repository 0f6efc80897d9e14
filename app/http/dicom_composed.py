"""STOW-RS with metadata in JSON or XML: each data set becomes a file, with its bulk data.

References
----------
DICOM PS3.18 sections 8.6.1.2.2 (metadata and bulk data in parts), 10.5.1.1.2 and F.2.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from typing import Any

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, ExplicitVRLittleEndian

from app.http.accept import DICOM_XML, OCTETS
from app.http.dicom_told import require_plain
from app.http.errors import BodyMalformed, BodyTooLarge, MediaTypeRefused
from app.http.multipart import Part, Spool, media_type
from dicom_node.frames import MEDIA_TYPES
from dicom_node.uids import JPEG_2000_LOSSLESS, JPEG_LOSSLESS_SV1, JPEG_LS_LOSSLESS, RLE_LOSSLESS
from kernel.ids import is_uid

MAX_METADATA_BYTES = 64 << 20
MAX_DATA_SETS = 10_000
MAX_MARKS = 2_000_000
"""Commas, braces and brackets of metadata in JSON, tags in XML.

Each may become an object of a hundred bytes; four of them are an attribute, as a rule.
"""
_MARKS = (b",", b"{", b"[", b"<")
_PIXEL_DATA = "7FE00010"
_DEFAULT_SYNTAX = {
    "image/jpeg": JPEG_LOSSLESS_SV1,
    "image/jls": JPEG_LS_LOSSLESS,
    "image/jp2": JPEG_2000_LOSSLESS,
    "image/dicom-rle": RLE_LOSSLESS,
}
"""Without a transfer-syntax parameter (PS3.18 table 8.7.3-5)."""


def files_of(spool: Spool, parts: Sequence[Part], kind: str) -> Iterator[bytes]:
    """Yield a Part 10 file for each data set of the metadata.

    Parameters
    ----------
    kind
        The media type of the metadata.

    Raises
    ------
    BodyMalformed
        The metadata cannot be read, or name bulk data that are not there; nothing is stored then.
    BodyTooLarge, MediaTypeRefused
        There are too many of them, or a part is of no type that they have.
    """
    documents = [part for part in parts if media_type(part.content_type)[0] == kind]
    bulk = {part.location: part for part in parts if part.location}
    if not documents:
        raise MediaTypeRefused(f"the first part is {kind}")
    if sum(part.length for part in documents) > MAX_METADATA_BYTES:
        raise BodyTooLarge(f"metadata have at most {MAX_METADATA_BYTES} bytes")
    read = _of_xml if kind == DICOM_XML else _of_json
    models = [model for part in documents for model in read(_bounded(spool.read(part)))]
    if not models:
        raise BodyMalformed("the metadata hold no data set")
    if len(models) > MAX_DATA_SETS:
        raise BodyTooLarge(f"one request has at most {MAX_DATA_SETS} data sets")
    whole = 0
    for model in models:
        length = _bulk_of(model, bulk, 0)
        if length > spool.limits.part:
            raise BodyTooLarge(f"one instance has at most {spool.limits.part} bytes")
        whole += length
    if whole > spool.limits.whole:  # bulk data that many name are stored as often
        raise BodyTooLarge(f"the instances of a request have at most {spool.limits.whole} bytes")
    return (_file(model, spool, bulk) for model in models)


def _bounded(document: bytes) -> bytes:
    """Return metadata that become no more in memory than they may."""
    if sum(map(document.count, _MARKS)) > MAX_MARKS:
        raise BodyTooLarge("the metadata have more attributes and values than one request may")
    return document


def _of_json(document: bytes) -> list[dict[str, Any]]:
    try:
        found = json.loads(document)
    except (ValueError, RecursionError) as error:
        raise BodyMalformed("the metadata are not JSON") from error
    models = found if isinstance(found, list) else [found]
    if not all(isinstance(model, dict) for model in models):
        raise BodyMalformed("the metadata are no list of data sets")
    return models


def _of_xml(document: bytes) -> list[dict[str, Any]]:
    from dicom_node.dicom_xml import read_native
    from dicom_node.errors import DataSetUnreadable

    try:
        return [read_native(document, deepest=_MAX_DEPTH, bulk=True)]
    except DataSetUnreadable as error:
        raise BodyMalformed(error.sentence) from error


_MAX_DEPTH = 60


def _bulk_of(model: Mapping[str, Any], bulk: Mapping[str, Part], depth: int) -> int:
    """Return the length of all bulk data that a data set names; all of it must be here."""
    if depth > _MAX_DEPTH:
        raise BodyMalformed("the metadata lie too deep in each other")
    length = 0
    for element in model.values():
        if not isinstance(element, dict):
            raise BodyMalformed("the metadata are not in the DICOM JSON model")
        address = element.get("BulkDataURI")
        if address is not None:
            if not isinstance(address, str) or address not in bulk:
                raise BodyMalformed("the metadata name bulk data that the request does not hold")
            length += bulk[address].length
        if element.get("vr") == "SQ":
            items = element.get("Value") or []
            if not isinstance(items, list):
                raise BodyMalformed("the items of a sequence are a list")
            length += sum(_bulk_of(i, bulk, depth + 1) for i in items if isinstance(i, dict))
    return length


def _file(model: dict[str, Any], spool: Spool, bulk: Mapping[str, Part]) -> bytes:
    """Return the file of one data set; of what cannot be one, bytes that the intake refuses."""
    try:
        return _composed(model, spool, bulk)
    except Exception as error:  # noqa: BLE001 - the model is the sender's: anything may be wrong
        return f"no instance: {type(error).__name__}".encode()


def _composed(model: dict[str, Any], spool: Spool, bulk: Mapping[str, Part]) -> bytes:
    syntax = _syntax_of(model, bulk)

    def read(_tag: str, _vr: str, address: str) -> bytes:
        return spool.read(bulk[address])

    clean = {tag: element for tag, element in model.items() if not tag.startswith("0002")}
    require_plain(clean)
    data_set = Dataset.from_json(clean, bulk_data_uri_handler=read)
    data_set.SpecificCharacterSet = "ISO_IR 192"  # the model is UTF-8
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = UID(syntax)
    data_set.file_meta.MediaStorageSOPClassUID = data_set.SOPClassUID
    data_set.file_meta.MediaStorageSOPInstanceUID = data_set.SOPInstanceUID
    if syntax != ExplicitVRLittleEndian:
        if int(data_set.get("NumberOfFrames") or 1) != 1:
            raise MediaTypeRefused("compressed frames come in application/dicom")
        data_set.PixelData = encapsulate([data_set.PixelData])
        data_set["PixelData"].VR = "OB"
    out = BytesIO()
    data_set.save_as(out, enforce_file_format=True)
    return out.getvalue()


def _syntax_of(model: Mapping[str, Any], bulk: Mapping[str, Part]) -> str:
    address = model.get(_PIXEL_DATA, {}).get("BulkDataURI")
    if address is None:
        return str(ExplicitVRLittleEndian)
    name, parameters = media_type(bulk[address].content_type)
    if name in {OCTETS, ""}:
        return str(ExplicitVRLittleEndian)
    syntax = parameters.get("transfer-syntax", _DEFAULT_SYNTAX.get(name, ""))
    if not is_uid(syntax) or MEDIA_TYPES.get(syntax) != name:
        raise MediaTypeRefused("the pixels are of no media type that is taken")
    return syntax

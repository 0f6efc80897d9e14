"""A PDF as an Encapsulated PDF object: the file verbatim, with the right patient around it.

References
----------
DICOM PS3.3 sections A.45.1 and C.24 (encapsulated document); PS3.4 table B.5-1.
"""

import re
import zlib
from typing import Any

from dicom_node.composite import Belonging, Kind, data_set, part10
from dicom_node.errors import FileRefused
from dicom_node.uids import EXPLICIT_LITTLE

SOP_CLASS = "1.2.840.10008.5.1.4.1.1.104.1"
MAX_BYTES = 128 << 20
_TRAILER_WITHIN = 4096
_MAX_STREAMS = 20_000
_MAX_INFLATED = 32 << 20
_NAME = rb"(?=[\s/<\[(>\]]|$)"
# What a reader may act upon without being asked (ISO 32000-1 sections 12.6 and 7.11.4).
_ACTIVE = re.compile(
    rb"/(JavaScript|JS|Launch|EmbeddedFiles?|RichMedia|XFA|SubmitForm|ImportData|GoToE|GoToR|AA"
    rb"|OpenAction)" + _NAME
)
_ESCAPED = re.compile(rb"#([0-9A-Fa-f]{2})")
_STREAM = re.compile(rb"stream\r?\n")


def is_pdf(data: bytes) -> bool:
    """Say whether bytes begin as a PDF does (ISO 32000-1 section 7.5.2)."""
    return data[:5] == b"%PDF-"


def encapsulated(
    pdf: bytes, of: Belonging, *, instance_uid: str, series_uid: str, title: str, number: int = 1
) -> bytes:
    """Return the Part 10 file of a PDF, which it holds verbatim.

    Raises
    ------
    FileRefused
        The bytes are no whole PDF, are too long, or cannot be read without a password.
    """
    require_readable(pdf)
    ds: Any = data_set(
        of,
        Kind(
            sop_class_uid=SOP_CLASS,
            transfer_syntax_uid=EXPLICIT_LITTLE,
            modality="DOC",
            instance_uid=instance_uid,
            series_uid=series_uid,
            series_number=number,
            series_description=title,
            made_by="document import",
        ),
    )
    ds.ConversionType = "WSD"
    ds.AcquisitionDateTime = ""
    ds.BurnedInAnnotation = "YES"
    ds.DocumentTitle = title[:1024]
    ds.ConceptNameCodeSequence = []
    ds.MIMETypeOfEncapsulatedDocument = "application/pdf"
    ds.EncapsulatedDocument = pdf + bytes(len(pdf) % 2)
    ds.EncapsulatedDocumentLength = len(pdf)
    return part10(ds)


def require_readable(pdf: bytes) -> None:
    """Check that the bytes are a PDF that every reader can show.

    Raises
    ------
    FileRefused
        They are not.
    """
    if len(pdf) > MAX_BYTES:
        raise FileRefused(f"a PDF has at most {MAX_BYTES >> 20} MiB")
    if not is_pdf(pdf):
        raise FileRefused("the file does not begin as a PDF does (ISO 32000-1, 7.5.2)")
    tail = pdf[-_TRAILER_WITHIN:]
    if b"%%EOF" not in tail:
        raise FileRefused("the PDF is cut short: its end is missing (ISO 32000-1, 7.5.5)")
    if re.search(rb"/Encrypt" + _NAME, pdf):
        raise FileRefused("the PDF is encrypted; who reads the case could not open it")


def active_content(pdf: bytes) -> tuple[str, ...]:
    """Return the names of what a PDF may do by itself: scripts, launches, forms, files in it.

    It looks into compressed streams as far as a bound goes.  A flag for people, not a fence:
    documents are given out in a way that nothing in them can act (attachment, sandbox).
    """
    found = {name.decode() for name in _names(pdf)}
    budget = _MAX_INFLATED
    for count, match in enumerate(_STREAM.finditer(pdf)):
        if count >= _MAX_STREAMS or budget <= 0:
            break
        inflated = _inflated(pdf[match.end() : match.end() + (1 << 20)], budget)
        budget -= len(inflated)
        found |= {name.decode() for name in _names(inflated)}
    return tuple(sorted(found))


def _names(data: bytes) -> set[bytes]:
    plain = _ESCAPED.sub(lambda match: bytes([int(match[1], 16)]), data)
    return set(_ACTIVE.findall(plain))


def _inflated(data: bytes, most: int) -> bytes:
    try:
        return zlib.decompressobj().decompress(data, min(most, 4 << 20))
    except zlib.error:
        return b""  # a stream of another kind: pixels, fonts

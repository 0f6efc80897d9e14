"""From the bytes of a data set to a frozen header: the one place that spells DICOM attributes.

References
----------
DICOM PS3.3 sections C.7.1.1, C.7.2.1, C.7.3.1, C.7.6.3 and C.12.1; PS3.6 section 6 for the tags.
"""

import hashlib
import re
from collections.abc import Mapping
from datetime import date
from enum import IntEnum
from functools import lru_cache
from typing import Any, NamedTuple

from dicom_node.charsets import CharacterSet, character_set
from dicom_node.elements import (
    MAX_HEADER_LENGTH,
    Bytes,
    HeadTooShort,
    find,
    is_big_endian,
    too_long,
)
from dicom_node.errors import Unreadable, UnreadableReason
from dicom_node.part10 import Part10, split
from kernel.ids import UNIDENTIFIED, is_uid

MAX_IDENTIFIER = 64
MAX_NAME = 400
MAX_TEXT = 64
MAX_CODE = 16
MAX_DATE = 8
# Of the series that come just now; more would be memory that nothing is found in.
_MAX_REPEATED = 512
_MAX_SERIES = 64
_MAX_REPEATED_BYTES = 4096
_DIGEST_TAIL = 17
_MEDIA_DIRECTORY = "1.2.840.10008.1.3.10"
_INT32 = 2**31
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


class _Tag(IntEnum):
    SPECIFIC_CHARACTER_SET = 0x00080005
    SOP_CLASS_UID = 0x00080016
    SOP_INSTANCE_UID = 0x00080018
    STUDY_DATE = 0x00080020
    STUDY_TIME = 0x00080030
    ACCESSION_NUMBER = 0x00080050
    MODALITY = 0x00080060
    REFERRING_PHYSICIAN_NAME = 0x00080090
    STUDY_DESCRIPTION = 0x00081030
    SERIES_DESCRIPTION = 0x0008103E
    PATIENT_NAME = 0x00100010
    PATIENT_ID = 0x00100020
    ISSUER_OF_PATIENT_ID = 0x00100021
    PATIENT_BIRTH_DATE = 0x00100030
    PATIENT_SEX = 0x00100040
    BODY_PART_EXAMINED = 0x00180015
    STUDY_INSTANCE_UID = 0x0020000D
    STUDY_ID = 0x00200010
    SERIES_INSTANCE_UID = 0x0020000E
    SERIES_NUMBER = 0x00200011
    INSTANCE_NUMBER = 0x00200013
    NUMBER_OF_FRAMES = 0x00280008
    ROWS = 0x00280010
    COLUMNS = 0x00280011


_WANTED = frozenset(int(tag) for tag in _Tag)
# Hashed and compared as plain numbers: members of an enumeration are slower at that.
_INSTANCE_UID = int(_Tag.SOP_INSTANCE_UID)
_CHARACTER_SET = int(_Tag.SPECIFIC_CHARACTER_SET)
_INSTANCE_NUMBER = int(_Tag.INSTANCE_NUMBER)
_ROWS, _COLUMNS, _FRAMES = int(_Tag.ROWS), int(_Tag.COLUMNS), int(_Tag.NUMBER_OF_FRAMES)
_OF_SERIES = tuple(
    int(tag)
    for tag in _Tag
    if tag
    not in (
        _Tag.SOP_INSTANCE_UID,
        _Tag.INSTANCE_NUMBER,
        _Tag.ROWS,
        _Tag.COLUMNS,
        _Tag.NUMBER_OF_FRAMES,
    )
)
_ABSENT = (b"",) * len(_OF_SERIES)
_LAST = int(_Tag.COLUMNS)


class Defaults(NamedTuple):
    """What is assumed of a device's data sets where they are silent.

    `issuer` stands for an absent (0010,0021), `character_set` for an absent (0008,0005).
    """

    issuer: str
    character_set: str = ""


class InstanceHeader(NamedTuple):
    """What the index keeps of an instance, decoded, trimmed and bounded.

    What the instances of a series have in common comes first, so that it is decoded once for all
    of them (`_common`).
    """

    series_uid: str
    study_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    modality: str
    issuer: str
    patient_id: str
    patient_name: str
    sex: str
    birth_date: date | None
    accession: str
    study_description: str
    study_date: str
    study_time: str
    study_id: str
    referring_physician: str
    series_number: str
    series_description: str
    body_part: str
    character_set_defined: bool
    instance_uid: str
    instance_number: str
    rows: int | None
    columns: int | None
    frames: int


def read(
    data: Bytes, transfer_syntax_uid: str, defaults: Defaults, *, total: int | None = None
) -> InstanceHeader:
    """Read the header of an encoded data set; pixels are stepped over.

    Parameters
    ----------
    data
        The data set, or its beginning where `total` says how long the whole is.

    Raises
    ------
    Unreadable
        The bytes are not a data set, or it lacks what identifies an instance.  Nothing else is
        raised, whatever the bytes are.
    HeadTooShort
        Only with `total`: come again with more of the data set.
    """
    try:
        found = find(data, transfer_syntax_uid, _WANTED, last=_LAST, total=total)
    except HeadTooShort:
        if total is None or len(data) >= MAX_HEADER_LENGTH:
            raise too_long() from None
        raise
    return _header(found, transfer_syntax_uid, defaults)


def read_file(data: Bytes, defaults: Defaults) -> tuple[InstanceHeader, Part10]:
    """Read the header of a whole Part 10 file.

    Raises
    ------
    Unreadable
        The bytes are not a Part 10 file, or its data set cannot be indexed.
    """
    file = split(data)
    if file.sop_class_uid == _MEDIA_DIRECTORY:
        raise _not_an_instance()
    header = read(memoryview(data)[file.data_set_offset :], file.transfer_syntax_uid, defaults)
    return header, file


def _header(
    found: dict[int, bytes], transfer_syntax_uid: str, defaults: Defaults
) -> InstanceHeader:
    values = tuple(map(found.get, _OF_SERIES, _ABSENT))
    repeats = sum(map(len, values)) <= _MAX_REPEATED_BYTES
    common = (_common if repeats else _common.__wrapped__)(values, transfer_syntax_uid, defaults)
    big = is_big_endian(transfer_syntax_uid)
    own = (
        _uid(found, _INSTANCE_UID),
        _text(found, _INSTANCE_NUMBER, _charset(found, defaults))[:MAX_CODE],
        _unsigned(found, _ROWS, big),
        _unsigned(found, _COLUMNS, big),
        max(1, _integer(found, _FRAMES) or 1) if _FRAMES in found else 1,
    )
    return InstanceHeader._make(common + own)


@lru_cache(maxsize=_MAX_SERIES)
def _common(
    values: tuple[bytes, ...], transfer_syntax_uid: str, defaults: Defaults
) -> tuple[Any, ...]:
    """Decode what the instances of a series have in common: the first fields of their headers."""
    found = dict(zip(_OF_SERIES, values, strict=True))
    sop_class = _uid(found, _Tag.SOP_CLASS_UID)
    if sop_class == _MEDIA_DIRECTORY:
        raise _not_an_instance()
    study = _uid(found, _Tag.STUDY_INSTANCE_UID)
    charset = _charset(found, defaults)
    patient_id, issuer = _identity(found, charset, defaults, study)
    return (
        _uid(found, _Tag.SERIES_INSTANCE_UID),
        study,
        sop_class,
        transfer_syntax_uid,
        _text(found, _Tag.MODALITY, charset)[:MAX_CODE],
        issuer,
        patient_id,
        _name(found, _Tag.PATIENT_NAME, charset),
        _text(found, _Tag.PATIENT_SEX, charset)[:MAX_CODE],
        calendar_date(_text(found, _Tag.PATIENT_BIRTH_DATE, charset)),
        bounded_identifier(_text(found, _Tag.ACCESSION_NUMBER, charset)),
        _text(found, _Tag.STUDY_DESCRIPTION, charset)[:MAX_TEXT],
        _text(found, _Tag.STUDY_DATE, charset).replace(".", "")[:MAX_DATE],
        _text(found, _Tag.STUDY_TIME, charset)[:MAX_CODE],
        _text(found, _Tag.STUDY_ID, charset)[:MAX_CODE],
        _name(found, _Tag.REFERRING_PHYSICIAN_NAME, charset),
        _text(found, _Tag.SERIES_NUMBER, charset)[:MAX_CODE],
        _text(found, _Tag.SERIES_DESCRIPTION, charset)[:MAX_TEXT],
        _text(found, _Tag.BODY_PART_EXAMINED, charset)[:MAX_CODE],
        charset.defined,
    )


def _charset(found: Mapping[int, bytes], defaults: Defaults) -> CharacterSet:
    named = found.get(_CHARACTER_SET, b"")[:MAX_NAME]
    return _charset_of(named, defaults.character_set)


def _not_an_instance() -> Unreadable:
    return Unreadable(
        UnreadableReason.NOT_AN_INSTANCE, "a media directory (DICOMDIR) is not an instance"
    )


def _identity(
    found: Mapping[int, bytes], charset: CharacterSet, defaults: Defaults, study_uid: str
) -> tuple[str, str]:
    """Return (patient id, issuer).

    An empty id identifies nobody: the study then stands for itself under the issuer
    `UNIDENTIFIED`, so that two unnamed patients are never taken for one.
    """
    patient_id = bounded_identifier(_text(found, _Tag.PATIENT_ID, charset))
    if not patient_id:
        return study_uid, UNIDENTIFIED
    issuer = bounded_identifier(_text(found, _Tag.ISSUER_OF_PATIENT_ID, charset))
    return patient_id, issuer or defaults.issuer


def _uid(found: Mapping[int, bytes], tag: int) -> str:
    raw = found.get(tag, b"").strip(b"\0 ")
    uid = _uid_of(raw[: MAX_IDENTIFIER + 1])
    if uid is None:
        raise _no_uid(raw, _Tag(tag).name.lower().replace("_", " "))
    return uid


def _no_uid(raw: bytes, name: str) -> Unreadable:
    if not raw:
        return Unreadable(UnreadableReason.UID_MISSING, f"the data set has no {name}")
    return Unreadable(UnreadableReason.UID_INVALID, f"the {name} is not a UID")


def _text(found: Mapping[int, bytes], tag: int, charset: CharacterSet) -> str:
    raw = found.get(tag)
    if not raw:
        return ""
    if len(raw) <= MAX_TEXT and raw.isascii() and b"\x1b" not in raw:
        return _plain(raw)
    return _CONTROL.sub(" ", charset.decode(raw)).strip()


@lru_cache(maxsize=_MAX_REPEATED)
def _plain(raw: bytes) -> str:
    """Return ASCII text; most of it repeats from instance to instance of a series."""
    return _CONTROL.sub(" ", raw.decode("ascii")).strip()


def _uid_of(raw: bytes) -> str | None:
    uid = raw.decode("ascii", "replace")
    return uid if is_uid(uid) else None


@lru_cache(maxsize=256)
def _charset_of(raw: bytes, default: str) -> CharacterSet:
    terms = raw.decode("ascii", "replace").split("\\")
    return character_set([term.strip("\0 ") for term in terms], default=default)


def _name(found: Mapping[int, bytes], tag: _Tag, charset: CharacterSet) -> str:
    return _text(found, tag, charset).rstrip("=^ ")[:MAX_NAME]


def bounded_identifier(text: str) -> str:
    """Return an identifier as the index keeps it: two long ones never become one by being cut."""
    if len(text) <= MAX_IDENTIFIER:
        return text
    digest = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
    return f"{text[: MAX_IDENTIFIER - _DIGEST_TAIL]}~{digest[: _DIGEST_TAIL - 1]}"


def calendar_date(text: str) -> date | None:
    """Return the day that a DA value names, None if there is no such day."""
    digits = text.replace(".", "")  # the form of ACR-NEMA (PS3.5 table 6.2-1, note to DA)
    if len(digits) != MAX_DATE or not (digits.isascii() and digits.isdigit()):
        return None
    try:
        return date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError:
        return None


def _integer(found: Mapping[int, bytes], tag: int) -> int | None:
    """Return an integer string (VR IS); the first value of several, None where it is none."""
    raw = found.get(tag, b"").split(b"\\")[0].strip(b"\0 ")
    try:
        value = int(raw[:12])
    except ValueError:
        return None
    return value if -_INT32 <= value < _INT32 else None


def _unsigned(found: Mapping[int, bytes], tag: int, big_endian: bool) -> int | None:
    raw = found.get(tag, b"")
    return int.from_bytes(raw[:2], "big" if big_endian else "little") if len(raw) >= 2 else None

"""The Part 10 file around a data set: preamble, prefix, file meta information.

What is archived is the data set exactly as it came, behind a blank preamble and file meta
information made by this node from the data set's own identifiers.  So the same data set has the
same digest whichever way and through whomever it came, and a preamble that is also a program or
a page never reaches a reader.

References
----------
DICOM PS3.10 section 7.1.
"""

import struct
from dataclasses import dataclass
from functools import lru_cache

from dicom_node.errors import Unreadable, UnreadableReason
from dicom_node.pdu import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION
from kernel.ids import is_uid

PREAMBLE_LENGTH = 128
_PREFIX = b"DICM"
_BLANK = bytes(PREAMBLE_LENGTH)
_BLANK_START = _BLANK + _PREFIX
_START = len(_BLANK_START)
_MAX_META_LENGTH = 65_536
_LONG_VRS = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"UC", b"UN", b"UR", b"UT"})
_VERSION, _CLASS, _INSTANCE, _SYNTAX = 0x0001, 0x0002, 0x0003, 0x0010
_IMPLEMENTATION, _IMPLEMENTATION_NAME = 0x0012, 0x0013


@dataclass(frozen=True, slots=True)
class Part10:
    """The parts of a file: what its meta information says and where its data set begins."""

    transfer_syntax_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    data_set_offset: int
    preamble_is_blank: bool


def file_head(*, sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> bytes:
    """Return preamble, prefix and file meta information for a data set.

    What is announced but is not a UID stays out: the bytes must be kept even then.
    """
    before, behind = _around_instance(sop_class_uid, transfer_syntax_uid)
    instance = _short(_INSTANCE, b"UI", sop_instance_uid, b"\0")
    length = struct.pack("<HH2sHI", 2, 0, b"UL", 4, len(before) + len(instance) + len(behind))
    return b"".join((_BLANK_START, length, before, instance, behind))


@lru_cache(maxsize=256)
def _around_instance(sop_class_uid: str, transfer_syntax_uid: str) -> tuple[bytes, bytes]:
    """Return the meta information before and behind the instance UID, the same for a series."""
    version = struct.pack("<HH2sHI", 2, _VERSION, b"OB", 0, 2) + b"\0\1"
    behind = (
        _short(_SYNTAX, b"UI", transfer_syntax_uid, b"\0")
        + _short(_IMPLEMENTATION, b"UI", IMPLEMENTATION_CLASS_UID, b"\0")
        + _short(_IMPLEMENTATION_NAME, b"SH", IMPLEMENTATION_VERSION, b" ")
    )
    return version + _short(_CLASS, b"UI", sop_class_uid, b"\0"), behind


def split(data: bytes | bytearray | memoryview) -> Part10:
    """Find the data set of a Part 10 file; a missing group length is tolerated.

    Raises
    ------
    Unreadable
        There is no prefix or no transfer syntax, or the meta information is cut short.
    """
    view = memoryview(data)
    start = bytes(view[:_START])
    if len(start) < _START or start[PREAMBLE_LENGTH:] != _PREFIX:
        raise Unreadable(UnreadableReason.NOT_PART10, "the file has no DICM prefix at byte 128")
    meta, offset = _file_meta(view[: _START + _MAX_META_LENGTH])
    syntax = _text(meta, _SYNTAX)
    if not syntax:
        raise Unreadable(
            UnreadableReason.NO_TRANSFER_SYNTAX, "the file meta information has no transfer syntax"
        )
    return Part10(
        transfer_syntax_uid=syntax,
        sop_class_uid=_text(meta, _CLASS),
        sop_instance_uid=_text(meta, _INSTANCE),
        data_set_offset=offset,
        preamble_is_blank=start.startswith(_BLANK),
    )


def _file_meta(head: memoryview) -> tuple[dict[int, bytes], int]:
    found: dict[int, bytes] = {}
    position = _START
    while position + 8 <= len(head):
        group, element, vr, length = struct.unpack_from("<HH2sH", head, position)
        if group != 2:
            break
        start = position + 8
        if vr in _LONG_VRS:
            if position + 12 > len(head):
                raise _cut_short()
            length, start = struct.unpack_from("<I", head, position + 8)[0], position + 12
        if length > len(head) - start:
            raise _cut_short()
        found[element] = bytes(head[start : start + length])
        position = start + length
    return found, position


def _cut_short() -> Unreadable:
    return Unreadable(UnreadableReason.CUT_SHORT, "the file meta information is cut short")


def _text(meta: dict[int, bytes], element: int) -> str:
    return meta.get(element, b"").decode("ascii", "replace").strip("\0 ")


def _short(element: int, vr: bytes, text: str, padding: bytes) -> bytes:
    raw = text.encode("ascii") if vr != b"UI" or is_uid(text) else b""
    raw += padding * (len(raw) % 2)
    return struct.pack("<HH2sH", 2, element, vr, len(raw)) + raw

"""What a compressed picture says of its own size, read from its head with nothing decoded.

Decoders allocate what the stream asks for, and a few hundred bytes can ask for gigabytes.

References
----------
ISO/IEC 10918-1 B.2.2 and ISO/IEC 14495-1 C.2.2 (frame header), ISO/IEC 15444-1 A.5.1 (SIZ) and
I.5.1 (the boxes around a codestream).
"""

import struct
from dataclasses import dataclass

_JPEG_START, _J2K_START = b"\xff\xd8", b"\xff\x4f\xff\x51"
_JP2_START = b"\x00\x00\x00\x0cjP  \r\n\x87\n"
_BOX = struct.Struct(">I4s")
_SCAN = 0xDA
_FRAMES = frozenset({*range(0xC0, 0xD0), 0xF7}) - {0xC4, 0xC8, 0xCC}
"""Markers of a frame header; among them are those of tables, and that of JPEG-LS is beside."""
_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})
_SIZ = struct.Struct(">HH8IH")
"""Length, capabilities, Xsiz, Ysiz, XOsiz, YOsiz, four sizes of tiles, Csiz."""


@dataclass(frozen=True, slots=True)
class StatedSize:
    """Rows, columns (pixels) and samples per pixel of a stream."""

    rows: int
    columns: int
    samples: int


def stated_size(stream: bytes) -> StatedSize | None:
    """Return what a stream of JPEG, JPEG-LS, JPEG 2000 or HTJ2K says; None if it is none."""
    if stream.startswith(_JPEG_START):
        return _of_jpeg(stream)
    start = _behind_boxes(stream) if stream.startswith(_JP2_START) else 0
    if not stream.startswith(_J2K_START, start):
        return None
    return _of_jpeg_2000(stream[start + len(_J2K_START) :])


def _behind_boxes(stream: bytes) -> int:
    """Return where the codestream begins in a JP2 file; its end where it has none."""
    at = 0
    while at + _BOX.size <= len(stream):
        length, kind = _BOX.unpack_from(stream, at)
        if kind == b"jp2c":
            return at + _BOX.size + (8 if length == 1 else 0)
        if length < _BOX.size:  # to the end of the file, or longer than any head
            break
        at += length
    return len(stream)


def _of_jpeg(stream: bytes) -> StatedSize | None:
    at = 2
    while at + 4 <= len(stream):
        marker = stream[at + 1]
        if stream[at] != 0xFF or marker == _SCAN:
            return None
        if marker == 0xFF or marker in _ALONE:  # fill bytes may stand before a marker
            at += 1 if marker == 0xFF else 2
            continue
        if marker in _FRAMES:
            head = stream[at + 5 : at + 10]
            return StatedSize(*struct.unpack(">HHB", head)) if len(head) == 5 else None
        at += 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
    return None


def _of_jpeg_2000(segment: bytes) -> StatedSize | None:
    if len(segment) < _SIZ.size:
        return None
    _, _, right, bottom, left, top, *_, samples = _SIZ.unpack_from(segment)
    return StatedSize(bottom - top, right - left, samples)

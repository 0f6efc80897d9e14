"""Which characters the fonts of a document can show, read from the fonts themselves."""

import struct
from functools import cache
from pathlib import Path

FONTS = Path(__file__).parent / "fonts"

_TABLE_RECORD = struct.Struct(">4sIII")
_UNICODE_FULL = frozenset({(3, 10), (0, 4), (0, 6)})


@cache
def showable() -> frozenset[int]:
    """Return the code points that every shipped font has: text may be set in any of them."""
    fonts = [_code_points(path.read_bytes()) for path in sorted(FONTS.glob("*.ttf"))]
    return frozenset.intersection(*fonts)


def spelled(text: str) -> str:
    """Return text of others (a name from a device) with what cannot be shown spelled out."""
    return "".join(c if ord(c) in showable() else f"[U+{ord(c):04X}]" for c in text)


def _code_points(font: bytes) -> frozenset[int]:
    """Read the segmented coverage of a TrueType font.

    References
    ----------
    OpenType 1.9, 'cmap' table, format 12 (segmented coverage).
    """
    cmap = _table(font, b"cmap")
    (count,) = struct.unpack_from(">H", cmap, 2)
    for index in range(count):
        platform, encoding, offset = struct.unpack_from(">HHI", cmap, 4 + 8 * index)
        (form,) = struct.unpack_from(">H", cmap, offset)
        if (platform, encoding) in _UNICODE_FULL and form == 12:
            return _segments(cmap, offset)
    raise ValueError("the font has no cmap subtable of format 12")


def _table(font: bytes, tag: bytes) -> bytes:
    (count,) = struct.unpack_from(">H", font, 4)
    for index in range(count):
        name, _, offset, length = _TABLE_RECORD.unpack_from(font, 12 + 16 * index)
        if name == tag:
            return font[offset : offset + length]
    raise ValueError(f"the font has no {tag.decode()} table")


def _segments(cmap: bytes, offset: int) -> frozenset[int]:
    (groups,) = struct.unpack_from(">I", cmap, offset + 12)
    points: set[int] = set()
    for index in range(groups):
        first, last, _ = struct.unpack_from(">III", cmap, offset + 16 + 12 * index)
        points.update(range(first, last + 1))
    return frozenset(points)

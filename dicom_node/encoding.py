"""Writing single elements and items in the encoding of a data set at hand.

References
----------
DICOM PS3.5 sections 7.1 and 7.5.
"""

import struct
from dataclasses import dataclass

_LONG_VRS = frozenset(
    {"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"}
)
_ITEM = (0xFFFE, 0xE000)
_MAX_SHORT = 0xFFFE


@dataclass(frozen=True, slots=True)
class Encoding:
    """The order of bytes, ``<`` or ``>``, and whether elements name their VR."""

    order: str
    explicit: bool


def element(tag: int, vr: str, value: bytes, encoding: Encoding) -> bytes:
    """Return one element.

    Raises
    ------
    ValueError
        The value is longer than its VR can be.
    """
    group, number = tag >> 16, tag & 0xFFFF
    if not encoding.explicit:
        return struct.pack(f"{encoding.order}HHI", group, number, len(value)) + value
    if vr in _LONG_VRS:
        head = struct.pack(f"{encoding.order}HH2sHI", group, number, vr.encode(), 0, len(value))
        return head + value
    if len(value) > _MAX_SHORT:
        raise ValueError(f"a value of {vr} has at most {_MAX_SHORT} bytes")
    return struct.pack(f"{encoding.order}HH2sH", group, number, vr.encode(), len(value)) + value


def item(body: bytes, encoding: Encoding) -> bytes:
    """Return one item of a sequence."""
    return struct.pack(f"{encoding.order}HHI", *_ITEM, len(body)) + body

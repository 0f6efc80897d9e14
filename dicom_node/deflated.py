"""Deflated instances, inflated within a bound before anybody reads on.

References
----------
DICOM PS3.5 section A.5 (Deflated Explicit VR Little Endian).
"""

import zlib
from typing import IO

from dicom_node.errors import Unreadable, UnreadableReason
from dicom_node.part10 import PREAMBLE_LENGTH, file_head, split
from dicom_node.uids import DEFLATED_LITTLE, EXPLICIT_LITTLE

MAX_INFLATED_BYTES = 64 << 20
_META_END = PREAMBLE_LENGTH + 4 + 65_536


def inflated(part10: bytes) -> bytes:
    """Return an instance in Explicit VR Little Endian if it is deflated, else as it is.

    Raises
    ------
    Unreadable
        It is no Part 10 file, or inflates beyond the bound, or not at all.
    """
    file = split(part10)
    if file.transfer_syntax_uid != DEFLATED_LITTLE:
        return part10
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        body = inflater.decompress(part10[file.data_set_offset :], MAX_INFLATED_BYTES)
    except zlib.error as error:
        raise Unreadable(
            UnreadableReason.NOT_INFLATABLE, "the data set does not inflate"
        ) from error
    if inflater.unconsumed_tail:
        raise Unreadable(UnreadableReason.NOT_INFLATABLE, "the deflated instance is too large")
    head = file_head(
        sop_class_uid=file.sop_class_uid,
        sop_instance_uid=file.sop_instance_uid,
        transfer_syntax_uid=EXPLICIT_LITTLE,
    )
    return head + body


def head_of(file: IO[bytes]) -> tuple[str, int]:
    """Return (transfer syntax, offset of the data set) of a Part 10 file; leave it at that offset.

    Raises
    ------
    Unreadable
        It is no Part 10 file.
    """
    file.seek(0)
    found = split(file.read(_META_END))
    file.seek(found.data_set_offset)
    return found.transfer_syntax_uid, found.data_set_offset

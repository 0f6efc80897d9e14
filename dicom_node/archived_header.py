"""The header of an archived instance, of which no more is read than that takes."""

from typing import BinaryIO

from dicom_node.elements import MAX_HEADER_LENGTH, HeadTooShort
from dicom_node.headers import Defaults, InstanceHeader, read
from dicom_node.part10 import split

_HEAD = 64 << 10


def header_of(file: BinaryIO, length: int, defaults: Defaults) -> InstanceHeader | None:
    """Return the header of a file of so many bytes; None if it is longer than any may be.

    Raises
    ------
    Unreadable
        It is no instance, which it was when it was admitted.
    """
    wanted = _HEAD
    while True:
        file.seek(0)
        head = file.read(wanted)
        try:
            part = split(head)
            data_set = memoryview(head)[part.data_set_offset :]
            total = length - part.data_set_offset
            return read(data_set, part.transfer_syntax_uid, defaults, total=total)
        except HeadTooShort:
            if wanted >= min(length, MAX_HEADER_LENGTH):
                return None
            wanted *= 4

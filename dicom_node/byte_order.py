"""Values made of words, brought from big endian into little endian.

References
----------
DICOM PS3.5 sections 6.2 (which VR is of words of which length) and 7.3 (byte ordering).
"""

from collections.abc import Mapping

import numpy as np
from pydicom.dataset import Dataset

from dicom_node.errors import PictureRefused

WORDS: Mapping[str, int] = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}
"""Bytes of a word, by VR; a library that reads any of these leaves the bytes as they are."""


def to_little(data_set: Dataset) -> None:
    """Swap the bytes of each word of a data set that was read as big endian."""
    for element in data_set.iterall():
        if element.VR in WORDS and element.value:
            element.value = swapped(element.value, WORDS[element.VR])


def swapped(value: bytes, length: int) -> bytes:
    """Return words of so many bytes in the other byte order; a rest that is no word stays."""
    whole = len(value) // length * length
    return np.frombuffer(value[:whole], f">u{length}").byteswap().tobytes() + value[whole:]


def refuse_two_readings(data_set: Dataset) -> None:
    """Refuse native pixels of which nobody can say what they are, as `require_one_reading` does."""
    if "PixelData" in data_set and not data_set.file_meta.TransferSyntaxUID.is_little_endian:
        require_one_reading(data_set["PixelData"].VR, int(data_set.get("BitsAllocated") or 0))


def require_one_reading(vr: str, bits_allocated: int) -> None:
    """Refuse samples in big endian that are longer than the words in which they are written.

    By PS3.5 section 6.2 the bytes of each word of OW are swapped and the words stay where they are,
    and DCMTK writes 32 bits so; others swap all four bytes, and pydicom reads them so.  Nothing in
    the file says who wrote it, and a dose that was guessed is worse than none.

    Raises
    ------
    PictureRefused
        It is such a one.
    """
    if vr == "OW" and bits_allocated > 8 * WORDS["OW"]:
        raise PictureRefused(
            f"samples of {bits_allocated} bits in words of 16, in big endian, are written in two "
            "ways that cannot be told apart (PS3.5 section 6.2, OW): it is given as it is stored"
        )

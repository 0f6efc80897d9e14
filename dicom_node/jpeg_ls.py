"""JPEG-LS without loss, of pictures of every size and in the precision that Bits Stored says.

The encoder (CharLS, by `pyjpegls`) writes into twice the room of the samples, and a picture of a
few pixels is shorter than the head of its stream.  So it is given room behind the samples, which it
does not read.

References
----------
DICOM PS3.5 sections 8.2.3 and A.4.3; ISO/IEC 14495-1.
"""

import _CharLS  # the part of pyjpegls that takes more than just the samples
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from dicom_node.lossless import BYTES_AND_WORDS, frames_of, put, require_kept, require_range
from dicom_node.uids import JPEG_LS_LOSSLESS

MIN_BITS, MAX_BITS = 2, 16
_ROOM = bytes(1024)
_NO_ERROR = 0
_BY_PIXEL, _ALONE = 2, 0
"""Interleave modes: the samples of a pixel side by side, and one component."""


def compress(data_set: Dataset) -> None:
    """Compress the native pixels of a data set; colours stay as they are.

    Raises
    ------
    PictureRefused
        Pixels of this kind cannot be given in this transfer syntax without loss.
    """
    require_kept(data_set, min_bits=MIN_BITS, max_bits=MAX_BITS, allocated=BYTES_AND_WORDS)
    bits, signed = int(data_set.BitsStored), int(data_set.PixelRepresentation) == 1
    frames = [encoded(frame, bits=bits, signed=signed) for frame in frames_of(data_set)]
    put(data_set, frames, JPEG_LS_LOSSLESS)


def encoded(frame: NDArray[np.integer], *, bits: int, signed: bool) -> bytes:
    """Return one frame, (rows, columns) or (rows, columns, 3), as a codestream.

    Raises
    ------
    PictureRefused
        A sample does not fit into that many bits.

    References
    ----------
    DICOM PS3.5 section 8.2.3: the stream knows no sign, so its samples are the stored bits alone.
    """
    require_range(frame, bits=bits, signed=signed)
    rows, columns = frame.shape[:2]
    samples = frame.shape[2] if frame.ndim == 3 else 1
    stored = (frame.astype(np.int64) & ((1 << bits) - 1)).astype("u1" if bits <= 8 else "<u2")
    mode = _BY_PIXEL if samples > 1 else _ALONE
    given = stored.tobytes() + _ROOM
    return bytes(_CharLS._encode(given, _NO_ERROR, mode, rows, columns, samples, bits))

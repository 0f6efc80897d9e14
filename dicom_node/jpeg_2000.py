"""JPEG 2000 without loss, of pictures of every size, and of single bits.

OpenJPEG by `imagecodecs`: the other door to it, `pylibjpeg`, always makes six resolutions, for
which a picture has to be 32 pixels wide and high, and takes no single bits.

References
----------
DICOM PS3.5 sections 8.2.4 and A.4.4; ISO/IEC 15444-1 B.5 (resolutions).
"""

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from dicom_node.lossless import ALLOCATED, frames_of, put, require_kept, require_range
from dicom_node.uids import JPEG_2000_LOSSLESS

MAX_BITS = 24
"""Of the samples that OpenJPEG codes in 32 bits it keeps no more for certain."""

MAX_RESOLUTIONS = 6
"""Of one picture; each is half of the next, and the smallest has a pixel at least."""


def compress(data_set: Dataset) -> None:
    """Compress the native pixels of a data set; colours stay as they are.

    Raises
    ------
    PictureRefused
        Pixels of this kind cannot be given in this transfer syntax without loss.
    """
    require_kept(data_set, max_bits=MAX_BITS, allocated=(1, *ALLOCATED))
    bits, signed = int(data_set.BitsStored), int(data_set.PixelRepresentation) == 1
    frames = [encoded(frame, bits=bits, signed=signed) for frame in frames_of(data_set)]
    put(data_set, frames, JPEG_2000_LOSSLESS)


def encoded(frame: NDArray[np.integer], *, bits: int, signed: bool) -> bytes:
    """Return one frame, (rows, columns) or (rows, columns, 3), as a codestream.

    Raises
    ------
    PictureRefused
        A sample does not fit into that many bits.
    """
    require_range(frame, bits=bits, signed=signed)
    length = 1 if bits <= 8 else 2 if bits <= 16 else 4
    return bytes(
        imagecodecs.jpeg2k_encode(
            np.ascontiguousarray(frame, f"{'i' if signed else 'u'}{length}"),
            level=0,
            codecformat="j2k",
            colorspace=imagecodecs.JPEG2K.CLRSPC.UNSPECIFIED,
            planar=False,
            bitspersample=bits,
            resolutions=min(MAX_RESOLUTIONS, min(frame.shape[:2]).bit_length()),
            reversible=True,
            mct=False,
        )
    )

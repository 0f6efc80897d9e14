"""JPEG 2000 without loss of pictures that are too small for the encoder of the others.

That one (`pylibjpeg`) always makes six resolutions, for which a picture has to be 32 pixels wide
and high.  The same library, OpenJPEG, makes fewer where it is asked (`imagecodecs`).

References
----------
DICOM PS3.5 sections 8.2.4 and A.4.4; ISO/IEC 15444-1 B.5 (resolutions).
"""

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.utils import iter_pixels

from dicom_node.lossless import put, require_kept, require_range
from dicom_node.uids import JPEG_2000_LOSSLESS

MAX_BITS = 24
"""Of the samples that OpenJPEG codes in 32 bits it keeps no more for certain."""


def compress(data_set: Dataset) -> None:
    """Compress the native pixels of a data set; colours stay as they are.

    Raises
    ------
    PictureRefused
        Pixels of this kind cannot be given in this transfer syntax without loss.
    """
    require_kept(data_set, max_bits=MAX_BITS)
    bits, signed = int(data_set.BitsStored), int(data_set.PixelRepresentation) == 1
    frames = [encoded(frame, bits=bits, signed=signed) for frame in iter_pixels(data_set, raw=True)]
    put(data_set, frames, JPEG_2000_LOSSLESS)


def encoded(frame: NDArray[np.integer], *, bits: int, signed: bool) -> bytes:
    """Return one frame, (rows, columns) or (rows, columns, 3), as a codestream.

    Raises
    ------
    PictureRefused
        A sample does not fit into that many bits.
    """
    require_range(frame, bits=bits, signed=signed)
    return bytes(
        imagecodecs.jpeg2k_encode(
            np.ascontiguousarray(frame),
            level=0,
            codecformat="j2k",
            colorspace=imagecodecs.JPEG2K.CLRSPC.UNSPECIFIED,
            planar=False,
            bitspersample=bits,
            resolutions=min(frame.shape[:2]).bit_length(),
            reversible=True,
            mct=False,
        )
    )

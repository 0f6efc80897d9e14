"""RLE of pixels: the bytes of what is allocated for each sample, as they are.

References
----------
DICOM PS3.5 sections 8.2.2, A.4.2 and Annex G.
"""

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from rle.utils import encode_pixel_data

from dicom_node.lossless import BYTES_AND_WORDS, frames_of, put, require_kind
from dicom_node.uids import RLE_LOSSLESS


def compress(data_set: Dataset) -> None:
    """Compress the native pixels of a data set; colours stay as they are.

    Raises
    ------
    PictureRefused
        Pixels of this kind cannot be given in this transfer syntax.
    """
    require_kind(data_set, BYTES_AND_WORDS)
    put(data_set, [encoded(frame) for frame in frames_of(data_set)], RLE_LOSSLESS)


def encoded(frame: NDArray[np.integer]) -> bytes:
    """Return one frame, (rows, columns) or (rows, columns, 3), as its segments."""
    rows, columns = frame.shape[:2]
    return bytes(
        encode_pixel_data(
            frame.astype(frame.dtype.newbyteorder("<")).tobytes(),
            byteorder="<",
            rows=rows,
            columns=columns,
            samples_per_pixel=frame.shape[2] if frame.ndim == 3 else 1,
            bits_allocated=8 * frame.itemsize,
        )
    )

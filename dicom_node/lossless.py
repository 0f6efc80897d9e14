"""What native pixels have to be, that they can be compressed here without loss.

References
----------
DICOM PS3.5 sections 8.1.1 (where samples lie), 8.2 and A.4 (stream and data set agree).
"""

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID

from dicom_node.errors import PictureRefused

_SAMPLES = {"MONOCHROME1": 1, "MONOCHROME2": 1, "PALETTE COLOR": 1, "RGB": 3, "YBR_FULL": 3}


def require_kept(data_set: Dataset, *, max_bits: int) -> None:
    """Check that pixels are of a kind that is compressed here without loss.

    Raises
    ------
    PictureRefused
        Their colours, or the bits of their samples, are not.
    """
    if _SAMPLES.get(str(data_set.PhotometricInterpretation)) != int(data_set.SamplesPerPixel):
        raise PictureRefused("colours of this kind are not given in this transfer syntax")
    bits = int(data_set.BitsStored)
    if int(data_set.BitsAllocated) < 8:
        raise PictureRefused(
            "single bits are not compressed: they would have to be allocated eight each, and what "
            "the instance says of its pixels stays (PS3.5 section A.4)"
        )
    if not 1 <= bits <= max_bits:
        raise PictureRefused(
            f"samples of more than {max_bits} bits are not given in this transfer syntax: no "
            "second decoder reads them, and what cannot be compared is not given"
        )
    if int(data_set.HighBit) != bits - 1:
        raise PictureRefused("samples that do not end at their high bit are not compressed")


def require_range(frame: NDArray[np.integer], *, bits: int, signed: bool) -> None:
    """Check that samples are what `bits` bits can say.

    Raises
    ------
    PictureRefused
        A sample is not: the decoders of others would bound it.
    """
    half = 1 << (bits - 1)
    middle = 0 if signed else half
    if frame.min() < middle - half or frame.max() >= middle + half:
        raise PictureRefused("there are samples outside of what Bits Stored says")


def put(data_set: Dataset, frames: list[bytes], transfer_syntax_uid: str) -> None:
    """Put the compressed frames of a data set into the place of its pixels."""
    data_set.PixelData = encapsulate(frames)
    element = data_set["PixelData"]
    element.is_undefined_length, element.VR = True, "OB"
    if int(data_set.SamplesPerPixel) > 1:
        data_set.PlanarConfiguration = 0
    data_set.file_meta.TransferSyntaxUID = UID(transfer_syntax_uid)

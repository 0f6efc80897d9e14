"""What native pixels have to be, that they can be compressed here without loss.

References
----------
DICOM PS3.5 sections 8.1.1 (where samples lie), 8.2 and A.4 (stream and data set agree).
"""

import math
from collections.abc import Collection, Iterator

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels.utils import iter_pixels
from pydicom.uid import UID

from dicom_node.errors import PictureRefused

ALLOCATED = (8, 16, 24, 32, 40)
"""What may be allocated for a sample in the JPEG 2000 family (bits)."""

BYTES_AND_WORDS = (8, 16)
"""What may be in RLE and JPEG-LS (bits)."""

_SAMPLES = {"MONOCHROME1": 1, "MONOCHROME2": 1, "PALETTE COLOR": 1, "RGB": 3, "YBR_FULL": 3}


def require_kind(data_set: Dataset, allocated: Collection[int]) -> None:
    """Check that the colours of pixels, and what is allocated for them, are for a transfer syntax.

    Raises
    ------
    PictureRefused
        They are not.

    References
    ----------
    DICOM PS3.5 tables 8.2.2-1 (RLE), 8.2.3-1 (JPEG-LS) and 8.2.4-1 (JPEG 2000).
    """
    if _SAMPLES.get(str(data_set.PhotometricInterpretation)) != int(data_set.SamplesPerPixel):
        raise PictureRefused("colours of this kind are not given in this transfer syntax")
    # RLE and JPEG-LS have YBR_FULL of bytes alone, JPEG 2000 of whatever else it takes.
    if data_set.PhotometricInterpretation == "YBR_FULL" and allocated == BYTES_AND_WORDS:
        allocated = BYTES_AND_WORDS[:1]
    bits = int(data_set.BitsAllocated)
    if bits == 1 and bits not in allocated:
        raise PictureRefused(
            "single bits are not compressed in this transfer syntax: they would have to be "
            "allocated eight each, and what the instance says of its pixels stays (PS3.5 A.4)"
        )
    if bits not in allocated:
        said = ", ".join(map(str, allocated))
        raise PictureRefused(
            f"samples of {bits} bits are not given in this transfer syntax, which is for those "
            f"that are allocated {said} (PS3.5 section 8.2)"
        )


def require_kept(
    data_set: Dataset,
    *,
    max_bits: int,
    min_bits: int = 1,
    allocated: Collection[int] = ALLOCATED,
) -> None:
    """Check that pixels are of a kind that is compressed here without loss.

    Raises
    ------
    PictureRefused
        Their colours, or the bits of their samples, are not.
    """
    require_kind(data_set, allocated)
    bits = int(data_set.BitsStored)
    if bits < min_bits:
        raise PictureRefused(f"this transfer syntax is for samples of {min_bits} bits and more")
    if bits > max_bits:
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
        raise _outside()


def require_stored_bits(data_set: Dataset) -> None:
    """Check that decoded samples are no larger than Bits Stored says, as those of a stream can be.

    Above the high bit a sample has nothing, or its sign: readers leave these bits out, and a sample
    that is larger would come out dark where it is bright.

    Raises
    ------
    PictureRefused
        There are larger ones.
    """
    length, bits = int(data_set.BitsAllocated) // 8, int(data_set.BitsStored)
    if length not in (1, 2, 4) or bits >= 8 * length:
        return
    end = len(data_set.PixelData) // length * length
    samples = np.frombuffer(data_set.PixelData[:end], f"<u{length}")
    above = samples >> bits
    kept = above == 0
    if int(data_set.PixelRepresentation) == 1:
        every = (1 << (8 * length - bits)) - 1
        kept |= (above == every) & (samples >> (bits - 1) & 1 == 1)
    if not kept.all():
        raise _outside()


def _outside() -> PictureRefused:
    return PictureRefused("there are samples outside of what Bits Stored says")


def put(data_set: Dataset, frames: list[bytes], transfer_syntax_uid: str) -> None:
    """Put the compressed frames of a data set into the place of its pixels."""
    data_set.PixelData = encapsulate(frames)
    element = data_set["PixelData"]
    element.is_undefined_length, element.VR = True, "OB"
    if int(data_set.SamplesPerPixel) > 1:
        data_set.PlanarConfiguration = 0
    data_set.file_meta.TransferSyntaxUID = UID(transfer_syntax_uid)


def frames_of(data_set: Dataset) -> Iterator[NDArray[np.integer]]:
    """Yield native frames, (rows, columns) or (rows, columns, 3), with what is allocated.

    References
    ----------
    DICOM PS3.5 section 8.1.1: single bits follow each other also from frame to frame.
    """
    if int(data_set.BitsAllocated) != 1:
        yield from iter_pixels(data_set, raw=True)
        return
    shape = int(data_set.get("NumberOfFrames") or 1), int(data_set.Rows), int(data_set.Columns)
    bits = np.unpackbits(np.frombuffer(data_set.PixelData, np.uint8), bitorder="little")
    yield from bits[: math.prod(shape)].reshape(shape)

"""High-throughput JPEG 2000, without loss and in the precision that Bits Stored says.

The encoder (OpenJPH, by `imagecodecs`) takes no precision but that of the container: 8 or 16 bits.
So the level shift of the true precision is made here, the differences are encoded as signed, and
the true precision and sign are written into the SIZ segment, for the decoder to shift by.  That
keeps every sample: on the reversible path a decoder takes the number of bit planes from QCD, and
SIZ is what it shifts by after the wavelet and the reversible colour transform are undone.

References
----------
DICOM PS3.5 sections 8.2.14, 10.18 and A.4 (what the data set says is what the stream says);
ISO/IEC 15444-1 A.5.1 (SIZ), E.1 (bit planes), G.1 (level shift), G.2 (colour); ISO/IEC 15444-15.
"""

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from dicom_node.errors import PictureRefused
from dicom_node.lossless import frames_of, put, require_kept, require_range

MAX_BITS = 16
"""Longer samples are coded in 32 bits, and of such streams OpenJPEG 2.5 reads none."""

SMALLEST_PX = 64
"""What the smallest resolution is at most, rows and columns (PS3.5 section 10.18)."""

_SIZ_START = b"\xff\x4f\xff\x51"
_FIRST_COMPONENT = 42  # of SIZ, from the start of the codestream; three bytes each
_SIGNED = 0x80


def compress(data_set: Dataset, transfer_syntax_uid: str) -> None:
    """Compress the native pixels of a data set; colours in RGB get the reversible transform.

    Every stream is in RPCL order, with TLM, a tile-part for each resolution and a small first one:
    it serves both transfer syntaxes without loss.

    Raises
    ------
    PictureRefused
        Pixels of this kind cannot be given in this transfer syntax without loss.
    """
    require_kept(data_set, max_bits=MAX_BITS)
    bits, signed = int(data_set.BitsStored), int(data_set.PixelRepresentation) == 1
    is_rgb = str(data_set.PhotometricInterpretation) == "RGB"
    frames = [
        encoded(frame, bits=bits, signed=signed, transform=is_rgb) for frame in frames_of(data_set)
    ]
    put(data_set, frames, transfer_syntax_uid)
    if is_rgb:
        data_set.PhotometricInterpretation = "YBR_RCT"


def encoded(
    frame: NDArray[np.integer], *, bits: int, signed: bool, transform: bool = False
) -> bytes:
    """Return one frame as a codestream of the precision `bits`.

    Parameters
    ----------
    frame
        (rows, columns) or (rows, columns, 3), samples of `bits` bits.
    transform
        Whether three components go through the reversible colour transform.

    Raises
    ------
    PictureRefused
        A sample does not fit into that many bits.

    References
    ----------
    ISO/IEC 15444-1 G.1.2: unsigned samples are shifted by half of their range.
    """
    require_range(frame, bits=bits, signed=signed)
    middle = 0 if signed else 1 << (bits - 1)
    shifted = (frame.astype(np.int32) - middle).astype(np.int8 if bits <= 8 else np.int16)
    stream = imagecodecs.htj2k_encode(
        np.ascontiguousarray(shifted),
        reversible=True,
        rgb=transform,
        planar=False,
        resolutions=decompositions(*frame.shape[:2]),
        tlm=True,
        tilepart=imagecodecs.HTJ2K.TILEPART.RESOLUTIONS,
    )
    return _told(
        stream, bits=bits, signed=signed, components=frame.shape[2] if frame.ndim == 3 else 1
    )


def decompositions(rows: int, columns: int) -> int:
    """Return how often a picture is halved, so that the smallest is a thumbnail.

    References
    ----------
    DICOM PS3.5 section 10.18: the base resolution is at most 64 wide or high.
    """
    return max(5, (-(-max(rows, columns) // SMALLEST_PX) - 1).bit_length())


def _told(stream: bytes | bytearray, *, bits: int, signed: bool, components: int) -> bytes:
    """Return a codestream whose SIZ says the true precision of each component."""
    told = bytearray(stream)
    container = _SIGNED | (7 if bits <= 8 else 15)
    at = slice(_FIRST_COMPONENT, _FIRST_COMPONENT + 3 * components, 3)
    if told[:4] != _SIZ_START or told[at] != bytes([container]) * components:
        raise PictureRefused("the encoder wrote another kind of stream than was asked for")
    told[at] = bytes([(_SIGNED if signed else 0) | (bits - 1)]) * components
    return bytes(told)

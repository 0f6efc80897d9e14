"""An instance in another transfer syntax, for those who do not take it as it is stored.

Decompressing loses nothing that is still there.  Compressing is lossless and proven: the pixels
that come out of the result are compared with those that went in, and no other step is offered.

References
----------
DICOM PS3.18 section 8.7.3.5.2 (transfer syntax of instances), PS3.5 sections 8.2 and A.4.
"""

import hashlib
from collections.abc import Iterator
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset
from pydicom.pixels.utils import iter_pixels
from pydicom.uid import UID

from dicom_node.apart import decompressed
from dicom_node.byte_order import refuse_two_readings, to_little
from dicom_node.decompression import decompress, refuse_bomb
from dicom_node.deflated import inflated
from dicom_node.errors import DecoderAway, PictureRefused
from dicom_node.frames import Frames
from dicom_node.lossless import ALLOCATED, frames_of, require_kind, require_stored_bits
from dicom_node.uids import (
    COMPRESSIONS,
    DEFLATED_LITTLE,
    EXPLICIT_LITTLE,
    HTJ2K,
    IMPLICIT_LITTLE,
    JPEG_2000_LOSSLESS,
    JPEG_LS_LOSSLESS,
)
from kernel.decoders import decoder_of

TARGETS = frozenset({*COMPRESSIONS, EXPLICIT_LITTLE, IMPLICIT_LITTLE, DEFLATED_LITTLE})

_OVERLAYS = range(0x6000, 0x6100)
_BIT_POSITION, _OVERLAY_DATA = 0x0102, 0x3000


def transcoded(part10: bytes, target: str) -> bytes:
    """Return the same instance in the transfer syntax `target`; identifiers stay as they are.

    Raises
    ------
    PictureRefused
        That transfer syntax cannot be made here of this instance without loss.
    DecoderAway
        It could not be decoded now.
    """
    if target not in TARGETS:
        raise PictureRefused("this transfer syntax cannot be made here without loss")
    try:
        return _transcoded(part10, target)
    except (PictureRefused, DecoderAway):
        raise
    except Exception as error:  # decoders of many makers raise what they like
        raise PictureRefused(
            f"the instance cannot be given in this transfer syntax: {type(error).__name__}"
        ) from error


def transcoded_frame(frames: Frames, number: int, target: str) -> bytes:
    """Return one frame, compressed in the transfer syntax `target`.

    Raises
    ------
    PictureRefused
        It is not there, or cannot be given in this transfer syntax without loss.
    """
    made = transcoded(frames.alone(number), target)
    return Frames(BytesIO(made)).stored(1)[2]


def _transcoded(part10: bytes, target: str) -> bytes:
    data_set = dcmread(BytesIO(decompressed(inflated(part10))))
    has_pixels = "PixelData" in data_set
    if target in COMPRESSIONS and not has_pixels:
        raise PictureRefused("an instance without pixels is not compressed as a picture")
    if has_pixels:
        refuse_bomb(data_set)
        refuse_two_readings(data_set)
        if data_set.file_meta.TransferSyntaxUID.is_encapsulated:
            decompress(data_set, decoder_of(str(data_set.file_meta.TransferSyntaxUID)))
            if target in COMPRESSIONS:
                require_stored_bits(data_set)
    if target in COMPRESSIONS:
        # Of a kind that no syntax here takes, pixels are not looked at; each refuses more itself.
        require_kind(data_set, (1, *ALLOCATED))
        _refuse_overlay_bits(data_set)
    before = _pixel_digest(data_set) if _is_at_risk(data_set, target, has_pixels) else ""
    if not data_set.file_meta.TransferSyntaxUID.is_little_endian:
        to_little(data_set)
        data_set.file_meta.TransferSyntaxUID = UID(EXPLICIT_LITTLE)
    if target in COMPRESSIONS:
        _compress(data_set, target)
    made = _written(data_set, target)
    if before and before != _pixel_digest(dcmread(BytesIO(inflated(made)))):
        raise PictureRefused("the transfer syntax would not have kept every pixel")
    return made


def _compress(data_set: Dataset, target: str) -> None:
    # What makes each is imported for those who ask, and with it its library.
    if target in HTJ2K:
        from dicom_node import htj2k

        htj2k.compress(data_set, target)
    elif target == JPEG_LS_LOSSLESS:
        from dicom_node import jpeg_ls

        jpeg_ls.compress(data_set)
    elif target == JPEG_2000_LOSSLESS:
        from dicom_node import jpeg_2000

        jpeg_2000.compress(data_set)
    else:
        from dicom_node import run_lengths

        run_lengths.compress(data_set)


def _is_at_risk(data_set: Dataset, target: str, has_pixels: bool) -> bool:
    """Say whether pixels are encoded anew, and not merely decoded or copied."""
    syntax = data_set.file_meta.TransferSyntaxUID
    return has_pixels and (target in COMPRESSIONS or not syntax.is_little_endian)


def _refuse_overlay_bits(data_set: Dataset) -> None:
    """Refuse old pictures that keep overlays in bits which no sample uses.

    References
    ----------
    DICOM PS3.5 section 8.1.2: retired there, and not to be had in compressed pixels.
    """
    for group in range(_OVERLAYS.start, _OVERLAYS.stop, 2):
        position = data_set.get((group, _BIT_POSITION))
        if position is not None and position.value and (group, _OVERLAY_DATA) not in data_set:
            raise PictureRefused("an overlay that is kept among the pixels would be lost")


def _pixel_digest(data_set: Dataset) -> str:
    hasher = hashlib.sha256()
    for frame in _frames(data_set):
        hasher.update(f"{frame.shape}".encode())
        # Values and not containers: a decoder may give eight bits that were allocated sixteen.
        hasher.update(frame.astype("<i4").tobytes())
    return hasher.hexdigest()


def _frames(data_set: Dataset) -> Iterator[NDArray[np.integer]]:
    syntax = data_set.file_meta.TransferSyntaxUID
    if not syntax.is_encapsulated:
        return frames_of(data_set)
    return iter_pixels(data_set, raw=True, decoding_plugin=decoder_of(str(syntax)))


def _written(data_set: Dataset, target: str) -> bytes:
    data_set.file_meta.TransferSyntaxUID = UID(target)
    out = BytesIO()
    # Not `enforce_file_format`: it does not go with the change of the byte order.
    dcmwrite(
        out,
        data_set,
        implicit_vr=target == IMPLICIT_LITTLE,
        little_endian=True,
        force_encoding=True,
    )
    return out.getvalue()

"""One frame of an instance as a plain 8-bit picture, for pages; never for diagnosis.

References
----------
DICOM PS3.3 sections C.7.6.3 (photometric interpretation), C.11.1 (modality LUT) and C.11.2
(VOI LUT), PS3.4 section N.2 (the pipeline).
"""

import zlib
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut, apply_rescale, apply_voi_lut
from pydicom.pixels.utils import pixel_array

from dicom_node.contexts import DEFLATED_LITTLE
from dicom_node.errors import PictureRefused, Unreadable
from dicom_node.part10 import split

MAX_SIDE = 4096
MAX_FRAME_BYTES = 512 << 20
MAX_INFLATED_BYTES = 64 << 20
_GREY = ("MONOCHROME1", "MONOCHROME2")


@dataclass(frozen=True, slots=True)
class Picture:
    """An encoded picture; sizes in pixels, `frames` of the whole instance."""

    media_type: str
    data: bytes
    width: int
    height: int
    frames: int


def render(
    part10: bytes,
    *,
    frame: int = 1,
    max_side: int = 1024,
    window: tuple[float, float] | None = None,
    media_type: str = "image/png",
) -> Picture:
    """Render one frame.

    Parameters
    ----------
    frame
        Number of the frame, the first is 1.
    max_side
        The longer side of the picture is reduced to this many pixels; small ones stay.
    window
        (center, width) in the unit after rescale; without it the instance's own first window,
        else the range of its values.
    media_type
        ``image/png`` or ``image/jpeg``.

    Raises
    ------
    PictureRefused
        The instance has no pixels, no such frame, sizes that its bytes do not bear out, or a
        compression that cannot be decoded; the sentence says which.
    """
    if media_type not in ("image/png", "image/jpeg"):
        raise PictureRefused(f"a picture can be PNG or JPEG, not {media_type}")
    try:
        _refuse_bomb(part10)
        data_set = dcmread(BytesIO(part10))
        frames = _checked(data_set, frame)
        pixels = _displayed(data_set, frame - 1, window)
        return _encoded(pixels, frames, min(max_side, MAX_SIDE), media_type)
    except PictureRefused:
        raise
    except Unreadable as refusal:
        raise PictureRefused(refusal.sentence) from refusal
    except Exception as error:  # decoders of many makers raise what they like
        raise PictureRefused(
            f"the pixels cannot be decoded: {type(error).__name__}", cause=str(error)[:200]
        ) from error


def _refuse_bomb(part10: bytes) -> None:
    """Refuse a deflated data set that inflates beyond all that a picture needs."""
    file = split(part10)
    if file.transfer_syntax_uid != DEFLATED_LITTLE:
        return
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflater.decompress(part10[file.data_set_offset :], MAX_INFLATED_BYTES)
    if inflater.unconsumed_tail:
        raise PictureRefused("the deflated instance is too large to be shown as a picture")


def _checked(data_set: Dataset, frame: int) -> int:
    if "PixelData" not in data_set:
        raise PictureRefused("the instance has no pixel data")
    rows, columns = int(data_set.get("Rows") or 0), int(data_set.get("Columns") or 0)
    frames = int(data_set.get("NumberOfFrames") or 1)
    samples = int(data_set.get("SamplesPerPixel") or 1)
    bits = int(data_set.get("BitsAllocated") or 0)
    if not (rows and columns and bits):
        raise PictureRefused("the instance has no rows, columns or bits")
    if not 1 <= frame <= frames:
        raise PictureRefused(f"the instance has {frames} frames, not {frame}")
    frame_bits = rows * columns * samples * bits
    if frame_bits > MAX_FRAME_BYTES * 8:
        raise PictureRefused("a frame of the instance is too large to be shown as a picture")
    if not _is_encapsulated(data_set) and frame_bits * frames > _stored_bits(data_set):
        raise PictureRefused("the instance has fewer pixels than it says")
    return frames


def _is_encapsulated(data_set: Dataset) -> bool:
    return bool(data_set.file_meta.TransferSyntaxUID.is_encapsulated)


def _stored_bits(data_set: Dataset) -> int:
    # 4:2:2 keeps two of three samples (PS3.3 section C.7.6.3.1.2).
    factor = 12 if "422" in str(data_set.get("PhotometricInterpretation", "")) else 8
    return len(data_set.PixelData) * factor


def _displayed(
    data_set: Dataset, index: int, window: tuple[float, float] | None
) -> NDArray[np.uint8]:
    """Return (rows, columns) grey or (rows, columns, 3) RGB, 8 bits."""
    values: NDArray[Any] = pixel_array(data_set, index=index)
    interpretation = str(data_set.get("PhotometricInterpretation", "MONOCHROME2"))
    if interpretation == "PALETTE COLOR":
        return _to_eight_bits(apply_color_lut(values, data_set))
    if interpretation not in _GREY:
        return _to_eight_bits(values)
    grey = _windowed(apply_rescale(values, data_set), data_set, window)
    inverted = interpretation == "MONOCHROME1" or data_set.get("PresentationLUTShape") == "INVERSE"
    return 255 - grey if inverted else grey


def _windowed(
    values: NDArray[Any], data_set: Dataset, window: tuple[float, float] | None
) -> NDArray[np.uint8]:
    if window is not None:
        center, width = window
        return _ramp(values, center - width / 2, center + width / 2)
    if "WindowWidth" in data_set and "WindowCenter" in data_set:
        center, width = _first(data_set.WindowCenter), max(_first(data_set.WindowWidth), 1.0)
        if not width:
            return _whole_range(values)
        return _ramp(values, center - 0.5 - (width - 1) / 2, center - 0.5 + (width - 1) / 2)
    if "VOILUTSequence" in data_set:
        return _whole_range(apply_voi_lut(values, data_set, prefer_lut=True))
    return _whole_range(values)


def _whole_range(values: NDArray[Any]) -> NDArray[np.uint8]:
    return _ramp(values, float(values.min()), float(values.max()))


def _ramp(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    if high <= low:
        return (values > low).astype(np.uint8) * np.uint8(255)
    scaled = (values.astype(np.float32) - low) * np.float32(255.0 / (high - low))
    picture: NDArray[np.uint8] = np.clip(scaled, 0, 255).astype(np.uint8)
    return picture


def _first(value: Any) -> float:
    return float(value[0] if hasattr(value, "__getitem__") else value)


def _to_eight_bits(values: NDArray[Any]) -> NDArray[np.uint8]:
    if values.dtype == np.uint8:
        return values
    shift = values.dtype.itemsize * 8 - 8
    reduced: NDArray[np.uint8] = np.right_shift(values, shift).astype(np.uint8)
    return reduced


def _encoded(pixels: NDArray[np.uint8], frames: int, max_side: int, media_type: str) -> Picture:
    image = Image.fromarray(np.ascontiguousarray(pixels))
    image.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    out = BytesIO()
    if media_type == "image/jpeg":
        image.save(out, "JPEG", quality=90)
    else:
        image.save(out, "PNG", compress_level=3)
    return Picture(media_type, out.getvalue(), image.width, image.height, frames)

"""One frame of an instance as a plain 8-bit picture, for pages; never for diagnosis.

References
----------
DICOM PS3.3 sections C.7.6.3 (photometric interpretation), C.11.1 (modality LUT) and C.11.2
(VOI LUT), PS3.4 section N.2 (the pipeline).
"""

from dataclasses import dataclass
from enum import StrEnum
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut, apply_rescale, apply_voi_lut
from pydicom.pixels.utils import pixel_array

from dicom_node.apart import decompressed
from dicom_node.byte_order import refuse_two_readings
from dicom_node.codecs import require_size, right_colours, stream_of
from dicom_node.deflated import inflated
from dicom_node.errors import DecoderAway, PictureRefused, Unreadable
from kernel.decoders import decoder_of

MAX_SIDE = 4096
MAX_FRAME_BYTES = 512 << 20
_GREY = ("MONOCHROME1", "MONOCHROME2")
_JPEG_QUALITY = 90


class Curve(StrEnum):
    """How values within a window become greys (PS3.3 section C.11.2.1.3)."""

    LINEAR = "linear"
    LINEAR_EXACT = "linear-exact"
    SIGMOID = "sigmoid"


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What of a picture is shown, and how large (pixels).

    `region` is (left, top, width, height) within the image; the picture fills `width` by `height`
    as far as its proportions let it.
    """

    width: int
    height: int
    region: tuple[int, int, int, int] | None = None


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
    curve: Curve = Curve.LINEAR_EXACT,
    view: View | None = None,
    quality: int = _JPEG_QUALITY,
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
    curve
        How the window is applied, where one is given.
    view
        What is shown and how large; `max_side` then only bounds it.
    quality
        Of a JPEG, 1 to 100.
    media_type
        ``image/png`` or ``image/jpeg``.

    Raises
    ------
    PictureRefused
        The instance has no pixels, no such frame, sizes that its bytes do not bear out, or a
        compression that cannot be decoded; the sentence says which.
    DecoderAway
        It could not be decoded now.
    """
    if media_type not in ("image/png", "image/jpeg"):
        raise PictureRefused(f"a picture can be PNG or JPEG, not {media_type}")
    try:
        data_set = dcmread(BytesIO(decompressed(inflated(part10))))
        frames = _checked(data_set, frame)
        right_colours(data_set)
        pixels = _displayed(data_set, frame - 1, window, curve)
        image = _sized(pixels, min(max_side, MAX_SIDE), view)
        return _encoded(image, frames, media_type, quality)
    except (PictureRefused, DecoderAway):
        raise
    except Unreadable as refusal:
        raise PictureRefused(refusal.sentence) from refusal
    except Exception as error:  # decoders of many makers raise what they like
        raise PictureRefused(
            f"the pixels cannot be decoded: {type(error).__name__}", cause=str(error)[:200]
        ) from error


def _checked(data_set: Dataset, frame: int) -> int:
    if "PixelData" not in data_set:
        raise PictureRefused("the instance has no pixel data")
    refuse_two_readings(data_set)
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
    data_set: Dataset, index: int, window: tuple[float, float] | None, curve: Curve
) -> NDArray[np.uint8]:
    """Return (rows, columns) grey or (rows, columns, 3) RGB, 8 bits."""
    if _is_encapsulated(data_set):
        require_size(stream_of(data_set, index), data_set)
    values: NDArray[Any] = pixel_array(
        data_set,
        index=index,
        decoding_plugin=decoder_of(str(data_set.file_meta.TransferSyntaxUID)),
    )
    interpretation = str(data_set.get("PhotometricInterpretation", "MONOCHROME2"))
    if interpretation == "PALETTE COLOR":
        return _to_eight_bits(apply_color_lut(values, data_set))
    if interpretation not in _GREY:
        return _to_eight_bits(values)
    grey = _windowed(apply_rescale(values, data_set), data_set, window, curve)
    inverted = interpretation == "MONOCHROME1" or data_set.get("PresentationLUTShape") == "INVERSE"
    return 255 - grey if inverted else grey


def _windowed(
    values: NDArray[Any],
    data_set: Dataset,
    window: tuple[float, float] | None,
    curve: Curve,
) -> NDArray[np.uint8]:
    if window is not None:
        center, width = window
        if curve is Curve.SIGMOID:
            return _sigmoid(values, center, width)
        if curve is Curve.LINEAR:
            width = max(width, 1.0)
            return _ramp(values, center - 0.5 - (width - 1) / 2, center - 0.5 + (width - 1) / 2)
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


def _sigmoid(values: NDArray[Any], center: float, width: float) -> NDArray[np.uint8]:
    steep = np.clip(-4.0 * (values.astype(np.float32) - center) / max(width, 1e-6), -80, 80)
    picture: NDArray[np.uint8] = np.round(255.0 / (1.0 + np.exp(steep))).astype(np.uint8)
    return picture


def _first(value: Any) -> float:
    return float(value[0] if hasattr(value, "__getitem__") else value)


def _to_eight_bits(values: NDArray[Any]) -> NDArray[np.uint8]:
    if values.dtype == np.uint8:
        return values
    shift = values.dtype.itemsize * 8 - 8
    reduced: NDArray[np.uint8] = np.right_shift(values, shift).astype(np.uint8)
    return reduced


def _sized(pixels: NDArray[np.uint8], max_side: int, view: View | None) -> Image.Image:
    image = Image.fromarray(np.ascontiguousarray(pixels))
    if view is None:
        image.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
        return image
    if view.region is not None:
        left, top, width, height = view.region
        right, bottom = min(left + width, image.width), min(top + height, image.height)
        if left >= right or top >= bottom:
            raise PictureRefused("the region asked for lies outside of the image")
        image = image.crop((left, top, right, bottom))
    scale = min(view.width / image.width, view.height / image.height)
    sides = (max(1, round(side * scale)) for side in image.size)
    width, height = (min(side, MAX_SIDE) for side in sides)
    return image.resize((width, height), Image.Resampling.LANCZOS)


def _encoded(image: Image.Image, frames: int, media_type: str, quality: int) -> Picture:
    out = BytesIO()
    if media_type == "image/jpeg":
        image.save(out, "JPEG", quality=quality)
    else:
        image.save(out, "PNG", compress_level=3)
    return Picture(media_type, out.getvalue(), image.width, image.height, frames)

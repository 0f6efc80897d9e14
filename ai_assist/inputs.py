"""Part 10 bytes of one image -> facts about it, and the tensor a model takes.

The only place of this package that reads DICOM.
"""

import struct
from collections.abc import Callable
from io import BytesIO
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, Sequence, dcmread
from pydicom.encaps import generate_frames
from pydicom.multival import MultiValue
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut
from pydicom.pixels.utils import pixel_array

from ai_assist.card import ModelCard, Preprocess
from ai_assist.eligibility import ImageFacts
from ai_assist.errors import FilmUnreadable
from ai_assist.grey import to_model_input
from kernel.codestream import stated_size
from kernel.decoders import RLE_LOSSLESS, decoder_of

_WORD_BITS = 16
_AGE_UNITS = {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0}
# What pydicom raises when it turns the bytes of one attribute into a value.
_DAMAGED = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    NotImplementedError,
    TypeError,
    ValueError,
    struct.error,
)
Greys = NDArray[np.float32]
Image: TypeAlias = Dataset


def read(part10: bytes) -> Dataset:
    """Parse the bytes of one instance; pixel data stays encoded.

    Raises
    ------
    FilmUnreadable
        They are not a DICOM data set.
    """
    try:
        return dcmread(BytesIO(part10), force=True)
    except Exception as error:  # pydicom raises whatever the broken bytes lead it into
        raise FilmUnreadable("the bytes are not a DICOM data set") from error


def facts_of(image: Dataset) -> ImageFacts:
    """Return what the header says; damaged attributes count as not stated."""
    return ImageFacts(
        instance_uid=_text(image, "SOPInstanceUID"),
        sop_class_uid=_text(image, "SOPClassUID"),
        modality=_text(image, "Modality"),
        body_part=_text(image, "BodyPartExamined"),
        anatomic_regions=_regions(image),
        view=_text(image, "ViewPosition"),
        presentation_intent=_text(image, "PresentationIntentType"),
        image_type=_texts(image, "ImageType"),
        photometric=_text(image, "PhotometricInterpretation"),
        rows=int(_number(image, "Rows") or 0),
        columns=int(_number(image, "Columns") or 0),
        frames=int(_number(image, "NumberOfFrames") or 1),
        age_years=_age(_text(image, "PatientAge")),
        lossy_ratio=_number(image, "LossyImageCompressionRatio"),
    )


def tensor_of(image: Dataset, card: ModelCard) -> Greys:
    """Return (1, 1, side, side) float32 in [0, 1], prepared as the card says.

    Raises
    ------
    FilmUnreadable
        The pixels cannot be decoded.
    """
    prepare: dict[Preprocess, Callable[[Greys, int], Greys]] = {
        Preprocess.FILM_GREY_1: lambda greys, side: to_model_input(greys, side=side),
    }
    return prepare[card.preprocess](greys_of(image), card.side)[np.newaxis]


def greys_of(image: Dataset) -> Greys:
    """Return (rows, columns) float32 as shown on a screen: higher is brighter.

    Modality LUT or rescale, then the first VOI LUT or window (LINEAR, LINEAR_EXACT, SIGMOID),
    then MONOCHROME1 inverted.  Padding takes the darkest grey.  A window that leaves one grey
    only shows nothing, so it is passed over.

    References
    ----------
    DICOM PS3.3 C.7.6.3.1.2 (photometric interpretation), C.7.5.1.1.2 (pixel padding),
    C.11.1 (modality LUT), C.11.2 (VOI LUT).

    Raises
    ------
    FilmUnreadable
        The pixels cannot be decoded.
    """
    try:
        _require_one_reading(image)
        _require_stated_size(image)
        stored = pixel_array(image, decoding_plugin=_decoder(image))
        values = np.asarray(apply_modality_lut(stored, image), dtype=np.float32)
        shown = _windowed(stored, values, image)
    except FilmUnreadable:
        raise
    except Exception as error:  # the decoders raise whatever the broken bytes lead them into
        raise FilmUnreadable("the pixels of the image cannot be decoded") from error
    if shown.ndim != 2 or shown.size == 0:
        raise FilmUnreadable("the image is not one plane of grey values")
    padding = _padding(stored, image)
    if _text(image, "PhotometricInterpretation") == "MONOCHROME1":
        shown = shown.max() + shown.min() - shown
    if padding is not None and not padding.all():
        shown = np.where(padding, shown[~padding].min(), shown)
    return shown.astype(np.float32)


def _require_one_reading(image: Dataset) -> None:
    """Check that nobody has to guess how native samples were written.

    Longer samples than the words of OW are written in two ways in big endian: by PS3.5 section 6.2
    the bytes of each word are swapped, others swap those of each sample, and nothing tells which.
    """
    syntax = image.file_meta.TransferSyntaxUID
    is_longer = int(image.BitsAllocated) > _WORD_BITS and image["PixelData"].VR == "OW"
    if is_longer and not syntax.is_little_endian:
        raise FilmUnreadable("the samples are written in one of two ways that cannot be told apart")


def _decoder(image: Dataset) -> str:
    """Return the name of the decoder to ask, one that does not end the process over bad bytes."""
    syntax = image.file_meta.TransferSyntaxUID
    named = decoder_of(syntax)
    if syntax.is_encapsulated and not named:
        raise FilmUnreadable("no decoder of this compression can be trusted in this process")
    return named


def _require_stated_size(image: Dataset) -> None:
    """Check that no compressed frame asks for more than the image says (PS3.5 A.4)."""
    syntax = image.file_meta.TransferSyntaxUID
    if not syntax.is_encapsulated or syntax == RLE_LOSSLESS:
        return
    said = image.Rows, image.Columns, image.SamplesPerPixel
    frames = int(_number(image, "NumberOfFrames") or 1)
    for stream in generate_frames(
        image.PixelData, number_of_frames=frames, extended_offsets=_offsets(image)
    ):
        stated = stated_size(stream)
        if stated is None:
            raise FilmUnreadable("a compressed frame does not say its size")
        if (stated.rows, stated.columns, stated.samples) != said:
            raise FilmUnreadable("a compressed frame is of another size than the image says")


def _offsets(image: Dataset) -> tuple[bytes, bytes] | None:
    """Return where frames begin and how long they are, as the decoder looks it up (PS3.3 C.7.6.3).

    Else the frame that is checked could be another than the one that is decoded.
    """
    offsets = image.get("ExtendedOffsetTable")
    lengths = image.get("ExtendedOffsetTableLengths")
    if not offsets or not lengths:
        return None
    if len(offsets) != len(lengths):  # the decoder would look for the frames without it
        raise FilmUnreadable("the table of where frames begin contradicts that of their lengths")
    return offsets, lengths


def _windowed(stored: NDArray[Any], values: Greys, image: Dataset) -> Greys:
    if "VOILUTSequence" in image:
        modality_values = apply_modality_lut(stored, image)
        shown = np.asarray(apply_voi_lut(modality_values, image, index=0), dtype=np.float32)
    elif (_number(image, "WindowWidth") or 0) >= 1 and "WindowCenter" in image:
        shown = np.asarray(apply_voi_lut(values, image, index=0), dtype=np.float32)
    else:
        return values
    return values if np.ptp(shown) == 0 else shown


def _padding(stored: NDArray[Any], image: Dataset) -> NDArray[np.bool_] | None:
    first = _number(image, "PixelPaddingValue")
    if first is None:
        return None
    last = _number(image, "PixelPaddingRangeLimit")
    low, high = sorted((first, first if last is None else last))
    mask: NDArray[np.bool_] = (stored >= low) & (stored <= high)
    return mask


def _value(image: Dataset, keyword: str) -> object:
    try:
        return image.get(keyword)
    except _DAMAGED:  # one damaged attribute must not hide the others: it is not stated
        return None


def _texts(image: Dataset, keyword: str) -> tuple[str, ...]:
    value = _value(image, keyword)
    if value is None:
        return ()
    parts = value if isinstance(value, MultiValue) else [value]
    return tuple(str(part).strip().upper() for part in parts)


def _text(image: Dataset, keyword: str) -> str:
    return next(iter(_texts(image, keyword)), "")


def _number(image: Dataset, keyword: str) -> float | None:
    try:
        return float(_text(image, keyword))
    except ValueError:
        return None


def _regions(image: Dataset) -> tuple[tuple[str, str], ...]:
    items = _value(image, "AnatomicRegionSequence")
    if not isinstance(items, Sequence):
        return ()
    return tuple(
        (_text(item, "CodeValue"), _text(item, "CodingSchemeDesignator")) for item in items
    )


def _age(text: str) -> float | None:
    """Return years from an Age String such as 034Y (DICOM PS3.5 section 6.2, AS)."""
    number, unit = text[:-1], text[-1:]
    if unit not in _AGE_UNITS or not number.isdigit():
        return None
    return int(number) * _AGE_UNITS[unit]

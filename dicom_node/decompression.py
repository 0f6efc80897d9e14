"""Compressed pixels of a data set made native, icons among them, with what it says of them.

References
----------
DICOM PS3.5 sections 8.2 and A.4; PS3.3 sections C.7.6.3 and C.7.6.1.1.6 (icons).
"""

import math
from collections.abc import Iterator

import numpy as np
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.uid import UID

from dicom_node.codecs import OFFSETS, offsets_of, require_size, right_colours
from dicom_node.decodable import require_decodable
from dicom_node.errors import PictureRefused

SIZES = ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "NumberOfFrames")
"""What the number of bits of native pixels is the product of."""


def decompress(data_set: Dataset, plugin: str) -> None:
    """Decompress the pixels of a data set and of what is nested in it.

    Raises
    ------
    PictureRefused
        They are too large, or not what rows, columns and frames say.
    """
    for each in (data_set, *_nested(data_set, data_set.file_meta.TransferSyntaxUID)):
        refuse_bomb(each)
        right_colours(each)
        for stream in _streams(each):
            require_size(stream, each)
        frames = int(each.get("NumberOfFrames") or 1)
        each.decompress(
            as_rgb=False,  # converting colours rounds
            generate_instance_uid=False,
            decoding_plugin=plugin,
        )
        if int(each.get("NumberOfFrames") or 1) != frames:  # the library says how many it came upon
            raise PictureRefused("there are more or fewer frames than the instance says")
        if each.PhotometricInterpretation == "YBR_FULL_422":
            each.PhotometricInterpretation = "YBR_FULL"  # a decoder gives every sample
        if int(each.BitsAllocated) == 1:
            _pack(each)
        for keyword in OFFSETS:
            if keyword in each:
                delattr(each, keyword)


def refuse_bomb(data_set: Dataset) -> None:
    """Refuse pixels that are more than anybody decodes at once.

    Raises
    ------
    PictureRefused
        They are.
    """
    require_decodable(_bits(data_set) // 8)


def _nested(data_set: Dataset, syntax: UID) -> Iterator[Dataset]:
    """Yield the icons and the like that are compressed as the data set is (PS3.5 section A.4)."""
    for element in data_set:
        for item in element.value if element.VR == "SQ" else ():
            if "PixelData" in item and item["PixelData"].is_undefined_length:
                item.file_meta = data_set.file_meta.__class__()
                item.file_meta.TransferSyntaxUID = syntax
                yield item
            yield from _nested(item, syntax)


def _streams(data_set: Dataset) -> Iterator[bytes]:
    frames = int(data_set.get("NumberOfFrames") or 1)
    return generate_frames(
        data_set.PixelData, number_of_frames=frames, extended_offsets=offsets_of(data_set)
    )


def _bits(data_set: Dataset) -> int:
    return math.prod(int(data_set.get(name) or 1) for name in SIZES)


def _pack(data_set: Dataset) -> None:
    """Pack decoded single bits, of which each is a byte, eight into a byte (PS3.5 8.1.1)."""
    bits = np.frombuffer(data_set.PixelData, np.uint8, count=_bits(data_set))
    packed = np.packbits(bits, bitorder="little").tobytes()
    data_set.PixelData = packed + b"\0" * (len(packed) % 2)

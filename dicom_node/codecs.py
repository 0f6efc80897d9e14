"""Compressed pictures of a data set: where each lies, and what is checked before it is decoded.

Which decoder opens which is in `kernel.decoders`; what GDCM alone opens is decoded apart
(`dicom_node.apart`).

References
----------
DICOM PS3.5 sections 8.2 and A.4.
"""

from pydicom.dataset import Dataset
from pydicom.encaps import get_frame

from dicom_node.errors import PictureRefused
from kernel.codestream import stated_size
from kernel.decoders import RLE_LOSSLESS

OFFSETS = ("ExtendedOffsetTable", "ExtendedOffsetTableLengths")
"""Of the frames as they are compressed; native ones have none."""


def stream_of(data_set: Dataset, index: int) -> bytes:
    """Return the compressed picture of a frame, of which the first has the index 0."""
    return get_frame(
        data_set.PixelData,
        index,
        number_of_frames=int(data_set.get("NumberOfFrames") or 1),
        extended_offsets=offsets_of(data_set),
    )


def offsets_of(data_set: Dataset) -> tuple[bytes, bytes] | None:
    """Return the extended table of where frames begin and how long they are, if there is one.

    References
    ----------
    DICOM PS3.3 section C.7.6.3.1.8.
    """
    offsets, lengths = (data_set.get(keyword) for keyword in OFFSETS)
    return (offsets, lengths) if offsets and lengths else None


def require_size(stream: bytes, data_set: Dataset) -> None:
    """Check that a stream says the size that the data set says, before anything is allocated.

    Raises
    ------
    PictureRefused
        It says another, or none.

    References
    ----------
    DICOM PS3.5 section A.4: what the data set says is what the stream says.
    """
    if data_set.file_meta.TransferSyntaxUID == RLE_LOSSLESS:  # its segments say no size
        return
    said = int(data_set.Rows), int(data_set.Columns), int(data_set.SamplesPerPixel)
    stated = stated_size(stream)
    if stated is None or (stated.rows, stated.columns, stated.samples) != said:
        raise PictureRefused(
            "the compressed picture is of another size than the instance says (PS3.5 section A.4)"
        )


def right_colours(data_set: Dataset) -> None:
    """Write into a compressed data set how its colours lie: the samples of a pixel side by side.

    Who compresses a picture often leaves the Planar Configuration of the native one in it, and the
    library that decodes believes it.

    References
    ----------
    DICOM PS3.5 section 8.2: the characteristics in the stream are used to decode it.
    """
    is_in_colour = int(data_set.get("SamplesPerPixel") or 1) > 1
    if is_in_colour and data_set.file_meta.TransferSyntaxUID.is_encapsulated:
        data_set.PlanarConfiguration = 0

"""The file that an object holds verbatim: a PDF, or a video.

References
----------
DICOM PS3.3 section C.24.2 (encapsulated document); PS3.5 section A.4 (encapsulated streams).
"""

from dataclasses import dataclass
from io import BytesIO

from dicom_node import paper, video
from dicom_node.errors import PictureRefused

VIDEO_SYNTAXES = frozenset({video.HIGH_4_1, video.HIGH_4_2})


@dataclass(frozen=True, slots=True)
class HeldFile:
    """A file as it was before it became an object."""

    media_type: str
    suffix: str
    data: bytes


def holds_file(sop_class_uid: str, transfer_syntax_uid: str) -> bool:
    """Say whether objects of this kind hold a file rather than pictures."""
    return sop_class_uid == paper.SOP_CLASS or transfer_syntax_uid in VIDEO_SYNTAXES


def held_file(part10: bytes) -> HeldFile:
    """Return the file that an object holds.

    Raises
    ------
    PictureRefused
        It holds none that can be taken out.
    """
    from pydicom import dcmread
    from pydicom.encaps import generate_frames

    ds = dcmread(BytesIO(part10))
    if "EncapsulatedDocument" in ds:
        content = bytes(ds.EncapsulatedDocument)
        if not paper.is_pdf(content):
            raise PictureRefused("the encapsulated document is no PDF")
        length = int(ds.get("EncapsulatedDocumentLength") or len(content))
        return HeldFile("application/pdf", "pdf", content[: min(length, len(content))])
    if "PixelData" not in ds:
        raise PictureRefused("the instance holds no file")
    stream = next(iter(generate_frames(ds.PixelData, number_of_frames=1)))
    if not video.is_mp4(stream):
        raise PictureRefused("the video is not in an MP4")
    return HeldFile("video/mp4", "mp4", stream)

"""Files of a site that are no DICOM, made into objects of the study of a request.

What a file is, its content says; a name that says otherwise is refused.  The same file for the same
request is the same object, byte for byte, so sending it again changes nothing.

References
----------
DICOM PS3.3 sections A.8.1 (Secondary Capture), A.45.1 (Encapsulated PDF), A.32.5 and A.32.7 (Video
Endoscopic and Video Photographic).
"""

from dataclasses import dataclass
from enum import StrEnum
from io import BytesIO
from pathlib import PurePath
from typing import Any

from dicom_node import paper, stills, video
from dicom_node.composite import Belonging, Kind, coded, data_set, part10
from dicom_node.errors import FileRefused
from dicom_node.uids import EXPLICIT_LITTLE
from kernel.digest import sha256_of
from kernel.ids import derived_uid

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
VIDEO_ENDOSCOPIC = "1.2.840.10008.5.1.4.1.1.77.1.1.1"
VIDEO_PHOTOGRAPHIC = "1.2.840.10008.5.1.4.1.1.77.1.4.1"
MAX_BYTES = max(stills.MAX_BYTES, paper.MAX_BYTES, video.MAX_BYTES)
_FRAME_TIME = 0x00181063


class FileKind(StrEnum):
    """What a file is, by its content."""

    JPEG = "jpeg"
    PNG = "png"
    PDF = "pdf"
    VIDEO = "mp4"


_SUFFIXES = {
    ".jpg": FileKind.JPEG,
    ".jpeg": FileKind.JPEG,
    ".jpe": FileKind.JPEG,
    ".png": FileKind.PNG,
    ".pdf": FileKind.PDF,
    ".mp4": FileKind.VIDEO,
    ".m4v": FileKind.VIDEO,
    ".mov": FileKind.VIDEO,
}
_SERIES = {FileKind.JPEG: 901, FileKind.PNG: 901, FileKind.PDF: 902, FileKind.VIDEO: 903}
_TITLES = {901: "Imported pictures", 902: "Imported documents", 903: "Imported videos"}


@dataclass(frozen=True, slots=True)
class Made:
    """An object made from a file; `remarks` are for whoever sent it."""

    kind: FileKind
    instance_uid: str
    series_uid: str
    part10: bytes
    remarks: tuple[str, ...] = ()


def kind_of(data: bytes, name: str = "") -> FileKind:
    """Return what a file is.

    Raises
    ------
    FileRefused
        It is nothing that is taken, or its name says something else than its content.
    """
    kind = _sniffed(data)
    suffix = PurePath(name.replace("\\", "/")).suffix.lower()
    if suffix and _SUFFIXES.get(suffix) is not kind:
        raise FileRefused(f"the file is named '{suffix[:12]}', and its content is {kind.value}")
    return kind


def made_from(data: bytes, of: Belonging, *, name: str = "", modality: str = "") -> Made:
    """Return the object of a file; `modality` is that of the request.

    Raises
    ------
    FileRefused
        The file cannot become an object, and why.
    """
    kind = kind_of(data, name)
    number = _SERIES[kind]
    series_uid = derived_uid("imported-series", of.study_uid, number)
    instance_uid = derived_uid("imported", of.study_uid, sha256_of(data))
    remarks: tuple[str, ...] = ()
    if kind is FileKind.PDF:
        file = paper.encapsulated(
            data,
            of,
            instance_uid=instance_uid,
            series_uid=series_uid,
            title=_TITLES[number],
            number=number,
        )
        active = paper.active_content(data)
        remarks = (f"the PDF has active content: {', '.join(active)}",) if active else ()
        return Made(kind, instance_uid, series_uid, file, remarks)
    if kind is FileKind.VIDEO:
        read = video.read(data)
        file = _video(data, read, of, instance_uid, series_uid, modality)
        remarks = ("players turn this video; others may show it on its side",) * read.turned
        return Made(kind, instance_uid, series_uid, file, remarks)
    return Made(kind, instance_uid, series_uid, _still(data, of, instance_uid, series_uid))


def holds_same(one: bytes, other: bytes) -> bool:
    """Say whether two objects hold the same pixels or document, whatever they say of whose it is.

    Between two times that a file is sent, its patient or request may have been corrected.
    """
    from pydicom import dcmread

    first, second = (dcmread(BytesIO(each)) for each in (one, other))
    return any(
        name in first and name in second and first[name].value == second[name].value
        for name in ("PixelData", "EncapsulatedDocument")
    )


def _sniffed(data: bytes) -> FileKind:
    for kind, fits in (
        (FileKind.JPEG, stills.is_jpeg),
        (FileKind.PNG, stills.is_png),
        (FileKind.PDF, paper.is_pdf),
        (FileKind.VIDEO, video.is_mp4),
    ):
        if fits(data):
            return kind
    if data[128:132] == b"DICM":
        raise FileRefused("the file is DICOM already: send it to the node, or by STOW-RS")
    raise FileRefused("the content is none of JPEG, PNG, PDF and MP4")


def _still(data: bytes, of: Belonging, instance_uid: str, series_uid: str) -> bytes:
    read = stills.read(data)
    ds: Any = data_set(
        of,
        Kind(
            sop_class_uid=SECONDARY_CAPTURE,
            transfer_syntax_uid=read.transfer_syntax_uid,
            modality="OT",
            instance_uid=instance_uid,
            series_uid=series_uid,
            series_number=901,
            series_description=_TITLES[901],
            made_by="picture import",
        ),
    )
    ds.ImageType = ["ORIGINAL", "SECONDARY"]
    ds.ConversionType = "DI"
    ds.PatientOrientation = ""
    ds.Laterality = ""  # nobody says which side it shows
    ds.BurnedInAnnotation = "YES"
    put_pixels(ds, read)
    return part10(ds)


def put_pixels(ds: Any, read: stills.Still) -> None:
    """Add the pixels of a picture and what describes them (PS3.3 sections C.7.6.1 and C.7.6.3)."""
    ds.SamplesPerPixel = read.samples
    ds.PhotometricInterpretation = read.photometric
    if read.samples > 1:
        ds.PlanarConfiguration = 0
    ds.Rows, ds.Columns = read.rows, read.columns
    ds.BitsAllocated = ds.BitsStored = read.bits
    ds.HighBit, ds.PixelRepresentation = read.bits - 1, 0
    ds.LossyImageCompression = "00"
    if read.lossy_ratio is not None:
        _put_lossy(ds, read.lossy_ratio, "ISO_10918_1")
    if read.transfer_syntax_uid == EXPLICIT_LITTLE:
        ds.PixelData = read.pixels + bytes(len(read.pixels) % 2)
        ds["PixelData"].VR = "OW" if read.bits > 8 else "OB"
    else:
        _put_stream(ds, read.pixels)


def _video(
    data: bytes,
    read: video.Video,
    of: Belonging,
    instance_uid: str,
    series_uid: str,
    modality: str,
) -> bytes:
    endoscopic = modality == "ES"
    ds: Any = data_set(
        of,
        Kind(
            sop_class_uid=VIDEO_ENDOSCOPIC if endoscopic else VIDEO_PHOTOGRAPHIC,
            transfer_syntax_uid=read.transfer_syntax_uid,
            modality="ES" if endoscopic else "XC",
            instance_uid=instance_uid,
            series_uid=series_uid,
            series_number=903,
            series_description=_TITLES[903],
            made_by="video import",
        ),
    )
    ds.ImageType = ["ORIGINAL", "PRIMARY"]
    ds.PatientOrientation = ""
    ds.Laterality = ""  # nobody says which side it shows
    ds.BurnedInAnnotation = "YES"
    ds.AcquisitionContextSequence = []
    # Nobody says which part of the body it shows; a region is asked for all the same.
    ds.AnatomicRegionSequence = [coded("91723000", "SCT", "Anatomical structure")]
    ds.NumberOfFrames = read.frames
    ds.FrameIncrementPointer = _FRAME_TIME
    ds.FrameTime = f"{read.frame_time_ms:.6f}"[:16]
    ds.CineRate = max(1, round(1000 / read.frame_time_ms))
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 3, "YBR_PARTIAL_420"
    ds.PlanarConfiguration = 0
    ds.Rows, ds.Columns = read.rows, read.columns
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit, ds.PixelRepresentation = 7, 0
    plain = read.rows * read.columns * 3 * read.frames
    _put_lossy(ds, max(1.0, plain / len(data)), "ISO_14496_10")
    _put_stream(ds, data)
    return part10(ds)


def _put_lossy(ds: Any, ratio: float, method: str) -> None:
    ds.LossyImageCompression = "01"
    ds.LossyImageCompressionRatio = f"{ratio:.2f}"[:16]
    ds.LossyImageCompressionMethod = method


def _put_stream(ds: Any, stream: bytes) -> None:
    """Put a whole stream into one fragment behind an empty offset table (PS3.5 section A.4)."""
    from pydicom.encaps import encapsulate

    ds.PixelData = encapsulate([stream], has_bot=False)
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True

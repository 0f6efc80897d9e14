"""Films that are not DICOM yet: a JPEG or PNG of a projection X-ray becomes a DX object.

References
----------
DICOM PS3.3 section A.26 (Digital X-Ray Image IOD), C.8.11.
"""

import io
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from kernel.errors import Refused
from kernel.ids import derived_uid

MAX_PIXELS = 64_000_000


class FilmUnreadable(Refused):
    """The bytes are no picture, or one too large."""

    code = "dicom_node.film_unreadable"


@dataclass(frozen=True, slots=True, kw_only=True)
class FilmOrder:
    """What the film is said to be: patient, request and view."""

    study_uid: str
    patient_id: str
    issuer: str
    patient_name: str
    sex: str
    birth_date: date | None
    accession: str
    body_part: str
    view_position: str
    study_description: str
    institution: str
    made_at: datetime


def to_dx(picture: bytes, order: FilmOrder, *, number: int = 1) -> bytes:
    """Return the Part 10 file of one film, 8 bits, MONOCHROME2, lossless as decoded.

    The UIDs follow from the study and `number`, so the same film is the same instance.

    Raises
    ------
    FilmUnreadable
        The bytes are no picture, or one too large.
    """
    dataset = _dataset(order, number)
    _pixels(dataset, picture)
    out = io.BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return out.getvalue()


def _dataset(order: FilmOrder, number: int) -> Any:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.ImageType = ["ORIGINAL", "PRIMARY", ""]
    ds.SOPClassUID = DigitalXRayImageStorageForPresentation
    ds.SOPInstanceUID = derived_uid("film", order.study_uid, number)
    ds.StudyInstanceUID = order.study_uid
    ds.SeriesInstanceUID = derived_uid("film-series", order.study_uid)
    for name in ("Study", "Series", "Acquisition", "Content"):
        setattr(ds, f"{name}Date", order.made_at.strftime("%Y%m%d"))
        setattr(ds, f"{name}Time", order.made_at.strftime("%H%M%S"))
    ds.Modality = "DX"
    ds.Manufacturer = "telerad"
    ds.ManufacturerModelName = "film import"
    ds.InstitutionName = order.institution
    ds.StudyDescription = ds.SeriesDescription = order.study_description
    ds.AccessionNumber = order.accession
    ds.PatientName = order.patient_name
    ds.PatientID = order.patient_id
    ds.IssuerOfPatientID = order.issuer
    ds.PatientSex = order.sex
    ds.PatientBirthDate = order.birth_date.strftime("%Y%m%d") if order.birth_date else ""
    ds.ReferringPhysicianName = ""
    ds.StudyID = "1"
    ds.SeriesNumber = 1
    ds.InstanceNumber = number
    ds.BodyPartExamined = order.body_part
    ds.ViewPosition = order.view_position
    ds.PatientOrientation = ["L", "F"]
    ds.ImageLaterality = "U"
    ds.PresentationIntentType = "FOR PRESENTATION"
    ds.PresentationLUTShape = "IDENTITY"
    ds.PixelIntensityRelationship = "LOG"
    ds.PixelIntensityRelationshipSign = -1
    ds.BurnedInAnnotation = "NO"
    ds.LossyImageCompression = "01"
    ds.LossyImageCompressionRatio = "10"
    ds.LossyImageCompressionMethod = "ISO_10918_1"
    ds.DerivationDescription = "Made from a lossy picture"
    ds.AcquisitionContextSequence = []
    ds.AnatomicRegionSequence = [_coded("51185008", "SCT", "Chest")]
    ds.ImagerPixelSpacing = [0.4, 0.4]
    ds.DetectorType = "DIRECT"
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = "0", "1", "US"
    ds.WindowCenter, ds.WindowWidth = 127.5, 256
    return ds


def _pixels(dataset: Any, picture: bytes) -> None:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(picture)) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                raise FilmUnreadable(f"a film has at most {MAX_PIXELS} pixels")
            grey = opened.convert("L")
    except (UnidentifiedImageError, OSError) as error:
        raise FilmUnreadable("the bytes are no picture that can be read") from error
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = grey.height, grey.width
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    data = grey.tobytes()
    dataset.PixelData = data + bytes(len(data) % 2)


def _coded(value: str, scheme: str, meaning: str) -> Any:
    from pydicom.dataset import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item

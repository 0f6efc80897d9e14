"""Films that are not DICOM yet: a JPEG or PNG of a projection X-ray becomes a DX object.

Other pictures of a site, of which nobody says that they are films, become Secondary Captures
(`imported`); both are read and put together by the same parts.

References
----------
DICOM PS3.3 section A.26 (Digital X-Ray Image IOD), C.8.11.
"""

from dataclasses import dataclass

from dicom_node import stills
from dicom_node.composite import Belonging, Kind, coded, data_set, part10
from dicom_node.imported import put_pixels
from dicom_node.uids import EXPLICIT_LITTLE
from kernel.ids import derived_uid

_FOR_PRESENTATION = "1.2.840.10008.5.1.4.1.1.1.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class FilmOrder(Belonging):
    """What the film is said to be: patient, request and view."""

    body_part: str
    view_position: str


def to_dx(picture: bytes, order: FilmOrder, *, number: int = 1) -> bytes:
    """Return the Part 10 file of one film, 8 bits, MONOCHROME2, lossless as decoded.

    The UIDs follow from the study and `number`, so the same film is the same instance.

    Raises
    ------
    FileRefused
        The bytes are no picture, or one too large.
    """
    kind = Kind(
        sop_class_uid=_FOR_PRESENTATION,
        transfer_syntax_uid=EXPLICIT_LITTLE,
        modality="DX",
        instance_uid=derived_uid("film", order.study_uid, number),
        series_uid=derived_uid("film-series", order.study_uid),
        number=number,
        made_by="film import",
    )
    ds = data_set(order, kind)
    ds.ImageType = ["ORIGINAL", "PRIMARY", ""]
    ds.AcquisitionDate, ds.AcquisitionTime = ds.ContentDate, ds.ContentTime
    ds.BodyPartExamined = order.body_part
    ds.ViewPosition = order.view_position
    ds.PatientOrientation = ["L", "F"]
    ds.ImageLaterality = "U"
    ds.PresentationIntentType = "FOR PRESENTATION"
    ds.PresentationLUTShape = "IDENTITY"
    ds.PixelIntensityRelationship = "LOG"
    ds.PixelIntensityRelationshipSign = -1
    ds.BurnedInAnnotation = "NO"
    ds.DerivationDescription = "Made from a picture"
    ds.AcquisitionContextSequence = []
    ds.AnatomicRegionSequence = [coded("51185008", "SCT", "Chest")]
    ds.ImagerPixelSpacing = [0.4, 0.4]
    ds.DetectorType = "DIRECT"
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = "0", "1", "US"
    ds.WindowCenter, ds.WindowWidth = 127.5, 256
    put_pixels(ds, stills.grey(picture))
    return part10(ds)

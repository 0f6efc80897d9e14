"""What every object that we make has in common: whose it is, which study, who made it.

References
----------
DICOM PS3.3 sections C.7.1.1 (patient), C.7.2.1 (general study), C.7.3.1 (general series),
C.7.5.1 (general equipment), C.8.6.1 (SC equipment) and C.12.1 (SOP common).
"""

import io
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

MAKER = "telerad"
_LONG, _SHORT = 64, 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Belonging:
    """What a made object is said to belong to: patient, request and study.

    `issuer` is empty where nobody states one.
    """

    study_uid: str
    patient_id: str
    issuer: str
    patient_name: str
    sex: str
    birth_date: date | None
    accession: str
    study_description: str
    institution: str
    made_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What is made: its class and encoding, its place in the study, and by which of our parts."""

    sop_class_uid: str
    transfer_syntax_uid: str
    modality: str
    instance_uid: str
    series_uid: str
    series_number: int = 1
    number: int = 1
    series_description: str = ""
    made_by: str = "import"


def data_set(of: Belonging, kind: Kind) -> Any:
    """Return a data set with the modules that all objects share; pixels or documents follow."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import UID

    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = UID(kind.transfer_syntax_uid)
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID = kind.sop_class_uid
    ds.SOPInstanceUID = kind.instance_uid
    ds.StudyInstanceUID = of.study_uid
    ds.SeriesInstanceUID = kind.series_uid
    for name in ("Study", "Series", "Content"):
        setattr(ds, f"{name}Date", of.made_at.strftime("%Y%m%d"))
        setattr(ds, f"{name}Time", of.made_at.strftime("%H%M%S"))
    ds.TimezoneOffsetFromUTC = of.made_at.strftime("%z") or "+0000"
    ds.Modality = kind.modality
    ds.Manufacturer = MAKER
    ds.ManufacturerModelName = kind.made_by
    ds.InstitutionName = of.institution[:_LONG]
    ds.StudyDescription = of.study_description[:_LONG]
    ds.SeriesDescription = (kind.series_description or of.study_description)[:_LONG]
    # Longer ones cannot be said in this attribute, and half of one is another one.
    ds.AccessionNumber = of.accession if len(of.accession) <= _SHORT else ""
    ds.PatientName = of.patient_name
    ds.PatientID = of.patient_id[:_LONG]
    if of.issuer:
        ds.IssuerOfPatientID = of.issuer[:_LONG]
    ds.PatientSex = of.sex if of.sex in ("M", "F", "O") else ""
    ds.PatientBirthDate = of.birth_date.strftime("%Y%m%d") if of.birth_date else ""
    ds.ReferringPhysicianName = ""
    ds.StudyID = "1"
    ds.SeriesNumber = kind.series_number
    ds.InstanceNumber = kind.number
    return ds


def part10(data_set: Any) -> bytes:
    """Return the Part 10 file of a data set; the same data set always gives the same bytes."""
    out = io.BytesIO()
    data_set.save_as(out, enforce_file_format=True)
    return out.getvalue()


def coded(value: str, scheme: str, meaning: str) -> Any:
    """Return an item of a code sequence (PS3.3 section 8.8)."""
    from pydicom.dataset import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item

"""Data sets for the tests, made with pydicom as an independent writer."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom.data
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from dicom_node.admission import Announced, Route, Source
from dicom_node.headers import Defaults
from dicom_node.part10 import split

ROOT = "1.2.826.0.1.3680043.8.498.77"
CT = "1.2.840.10008.5.1.4.1.1.2"
DEFAULTS = Defaults(issuer="hospital-1")
SHARED = Path(__file__).parents[2] / "../shared"


def a_source(name: str = "VAN1", *, route: Route = Route.DIMSE) -> Source:
    return Source(route, name, "org-1", DEFAULTS)


def a_slice(number: int = 1, *, study: int = 1, seed: int = 0, side: int = 16) -> Dataset:
    """One small CT slice; the same arguments give the same bytes."""
    data_set = Dataset()
    data_set.SpecificCharacterSet = "ISO_IR 192"
    data_set.SOPClassUID = CT
    data_set.SOPInstanceUID = f"{ROOT}.{study}.1.{number}"
    data_set.StudyDate, data_set.StudyTime = "20260102", "101500"
    data_set.AccessionNumber = f"ACC{study}"
    data_set.Modality = "CT"
    data_set.StudyDescription = "CT CHEST"
    data_set.SeriesDescription = "axial"
    data_set.PatientName = "Ахметова^Айгүл"
    data_set.PatientID = f"P{study}"
    data_set.PatientBirthDate, data_set.PatientSex = "19700403", "F"
    data_set.BodyPartExamined = "CHEST"
    data_set.StudyInstanceUID = f"{ROOT}.{study}"
    data_set.SeriesInstanceUID = f"{ROOT}.{study}.1"
    data_set.SeriesNumber, data_set.InstanceNumber = 1, number
    data_set.SamplesPerPixel, data_set.PhotometricInterpretation = 1, "MONOCHROME2"
    data_set.Rows = data_set.Columns = side
    data_set.BitsAllocated, data_set.BitsStored, data_set.HighBit = 16, 12, 11
    data_set.PixelRepresentation = 0
    data_set.WindowCenter, data_set.WindowWidth = 2048, 4096
    pixels = np.random.default_rng(seed + number).integers(0, 4096, (side, side), dtype=np.uint16)
    data_set.PixelData = pixels.tobytes()
    return data_set


def as_file(data_set: Dataset, transfer_syntax: str = ExplicitVRLittleEndian) -> bytes:
    """Encode a Part 10 file."""
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = UID(transfer_syntax)
    data_set.file_meta.MediaStorageSOPClassUID = data_set.get("SOPClassUID", "1.2.3")
    data_set.file_meta.MediaStorageSOPInstanceUID = data_set.get("SOPInstanceUID", "1.2.3") or "1.2"
    out = BytesIO()
    dcmwrite(out, data_set, enforce_file_format=True)
    return out.getvalue()


def as_sent(file: bytes) -> tuple[Announced, bytes]:
    """Return what a C-STORE of a file announces, and its data set."""
    found = split(file)
    announced = Announced(found.sop_class_uid, found.sop_instance_uid, found.transfer_syntax_uid)
    return announced, file[found.data_set_offset :]


def real_files() -> list[Path]:
    """Every DICOM file at hand: those that pydicom ships, and the shared ones if present."""
    # Not pydicom's own lookup: that one downloads.
    shipped = Path(str(pydicom.data.__file__)).parent.rglob("*.dcm")
    shared = [path for path in (SHARED / "data/dicom").rglob("*.dcm") if path.is_file()]
    return sorted(path for path in [*shipped, *shared] if path.stat().st_size < 5_000_000)

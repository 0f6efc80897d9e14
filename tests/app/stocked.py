"""A clinic that holds some studies and is only read: made once for many tests."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import httpx
import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from tests.app.clinic import Clinic, multipart
from tests.dicom_node.samples import CT, ROOT, a_slice, as_file

FRAMES = 4
PDF = "1.2.840.10008.5.1.4.1.1.104.1"
MULTIFRAME = "1.2.840.10008.5.1.4.1.1.7.2"
DOCUMENT = b"%PDF-1.4 a document of odd length\n"
NAMES = {1: "Ахметова^Айгүл", 2: "Müller^Jürgen^^Dr.", 3: "Doe^Jane"}


@dataclass
class Stocked:
    """The clinic, a program that reads, and the files that it holds by instance UID."""

    clinic: Clinic
    program: httpx.Client
    files: dict[str, bytes]

    def get(self, path: str, accept: str = "*/*", **more: object) -> httpx.Response:
        """Ask for something of DICOMweb."""
        headers = {"Accept": accept, **more.pop("headers", {})}  # type: ignore[dict-item]
        return self.program.get(f"/dicomweb/{path}", headers=headers, **more)


def instance_path(study: int, series: int, number: int) -> str:
    """Return the address of an instance below the service."""
    uid = f"{ROOT}.{study}"
    return f"studies/{uid}/series/{uid}.{series}/instances/{uid}.{series}.{number}"


def slices(study: int, count: int = 3, *, side: int = 32) -> list[Dataset]:
    """Return the slices of a CT study."""
    made = []
    for number in range(1, count + 1):
        data_set = a_slice(number, study=study, side=side)
        data_set.PatientName = NAMES[study]
        data_set.StudyDate = f"2026010{study}"
        data_set.StudyTime = f"1{study}1500.25"
        made.append(data_set)
    return made


def frames_of(study: int = 3) -> Dataset:
    """Return a series of one instance with several frames, odd in number of bytes."""
    data_set = slices(study, 1)[0]
    data_set.SOPClassUID, data_set.Modality = MULTIFRAME, "US"
    data_set.SeriesInstanceUID = f"{ROOT}.{study}.2"
    data_set.SOPInstanceUID = f"{ROOT}.{study}.2.1"
    data_set.SeriesNumber, data_set.NumberOfFrames = 2, FRAMES
    data_set.Rows, data_set.Columns, data_set.BitsAllocated = 5, 7, 8
    data_set.BitsStored, data_set.HighBit = 8, 7
    data_set.PixelData = np.arange(FRAMES * 35, dtype=np.uint8).tobytes()
    data_set["PixelData"].VR = "OB"
    return data_set


def document_of(study: int = 3) -> Dataset:
    """Return an encapsulated document."""
    data_set = Dataset()
    source = slices(study, 1)[0]
    for name in ("SpecificCharacterSet", "StudyDate", "PatientName", "PatientID"):
        setattr(data_set, name, getattr(source, name))
    data_set.StudyInstanceUID = source.StudyInstanceUID
    data_set.SOPClassUID, data_set.Modality = PDF, "DOC"
    data_set.SeriesInstanceUID = f"{ROOT}.{study}.3"
    data_set.SOPInstanceUID = f"{ROOT}.{study}.3.1"
    data_set.SeriesNumber, data_set.InstanceNumber = 3, 1
    data_set.MIMETypeOfEncapsulatedDocument = "application/pdf"
    data_set.EncapsulatedDocument = (DOCUMENT * 60) + b"\0" * (len(DOCUMENT) * 60 % 2)
    data_set.EncapsulatedDocumentLength = len(DOCUMENT) * 60
    return data_set


def compressed(data_set: Dataset, syntax: str) -> bytes:
    """Return the file of a data set whose pixels were compressed by pydicom."""
    from pydicom import dcmread

    read = dcmread(BytesIO(as_file(data_set, ExplicitVRLittleEndian)))
    read.compress(syntax, generate_instance_uid=False)
    out = BytesIO()
    read.save_as(out, enforce_file_format=True)
    return out.getvalue()


@contextmanager
def stocked_clinic(directory: Path) -> Iterator[Stocked]:
    """Hold two studies of slices and one of many kinds, for the time of a block."""
    data_sets = [*slices(1), *slices(2, 2), *slices(3, 1), frames_of(), document_of()]
    files = {str(each.SOPInstanceUID): as_file(each) for each in data_sets}
    squeezed = slices(3, 2)[1]
    squeezed.SOPInstanceUID = f"{ROOT}.3.1.2"
    files[f"{ROOT}.3.1.2"] = compressed(squeezed, "1.2.840.10008.1.2.4.80")
    clinic = Clinic(directory)
    try:
        program = clinic.program("dicomweb:read dicomweb:write")
        answer = program.post("/dicomweb/studies", **multipart(*files.values()))
        assert answer.status_code == 200, answer.text
        clinic.settle()
        yield Stocked(clinic, program, files)
    finally:
        clinic.close()


__all__ = ["CT", "ROOT", "Stocked", "stocked_clinic"]

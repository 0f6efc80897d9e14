"""DICOM films made for these tests, from real pictures where they are at hand."""

import csv
import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset, FileMetaDataset
from pydicom.uid import UID, DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

from kernel.ids import derived_uid

CHESTS = Path(__file__).parents[2] / "../shared/data/chest"
STUDY = derived_uid("test-study", 1)

Greys = NDArray[np.floating]


def real_chests(source: str, count: int, *, split: str = "dev") -> list[Greys]:
    """Return real chest films as (rows, columns) float in 0..255; none if they are not there."""
    index = CHESTS / "labels.csv"
    if not index.is_file():
        return []
    with index.open(newline="") as lines:
        rows = [r for r in csv.DictReader(lines) if (r["source"], r["split"]) == (source, split)]
    return [picture(CHESTS / row["file"]) for row in rows[:: max(1, len(rows) // count)][:count]]


def picture(path: Path) -> Greys:
    """Return the greys of a picture file."""
    with Image.open(path) as opened:
        return np.asarray(opened.convert("L"), dtype=np.float64)


def noise(side: int = 256, seed: int = 7) -> Greys:
    """Return what is surely not a chest, in 0..255."""
    return np.random.default_rng(seed).random((side, side)) * 255


def film(
    greys: Greys,
    *,
    number: int = 1,
    bits: int = 12,
    monochrome1: bool = False,
    transfer_syntax: UID = ExplicitVRLittleEndian,
    **attributes: object,
) -> Dataset:
    """Return a DX image of 0..255 greys stored with `bits` bits."""
    top = 2**bits - 1
    shown = np.round(greys / 255 * top)
    stored = (top - shown if monochrome1 else shown).astype(np.uint8 if bits <= 8 else np.uint16)
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.SpecificCharacterSet = "ISO_IR 192"
    image.ImageType = ["ORIGINAL", "PRIMARY"]
    image.SOPClassUID = DigitalXRayImageStorageForPresentation
    image.SOPInstanceUID = derived_uid("test-film", number)
    image.StudyInstanceUID = STUDY
    image.SeriesInstanceUID = derived_uid("test-series", 1)
    image.PatientID, image.PatientName = "P-1", "Иванова^Айгүл"
    image.PatientBirthDate, image.PatientSex, image.PatientAge = "19800101", "F", "046Y"
    image.StudyDate, image.StudyTime, image.StudyID = "20261122", "0900", "1"
    image.AccessionNumber, image.ReferringPhysicianName = "A1", ""
    image.Modality, image.BodyPartExamined, image.ViewPosition = "DX", "CHEST", "PA"
    image.PresentationIntentType = "FOR PRESENTATION"
    image.PhotometricInterpretation = "MONOCHROME1" if monochrome1 else "MONOCHROME2"
    image.SamplesPerPixel, image.PixelRepresentation = 1, 0
    image.Rows, image.Columns = stored.shape
    image.BitsAllocated = 8 if bits <= 8 else 16
    image.BitsStored, image.HighBit = bits, bits - 1
    data = stored.tobytes()
    image.PixelData = data + b"\0" * (len(data) % 2)
    image["PixelData"].VR = "OB" if bits <= 8 else "OW"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some are crooked on purpose
        for keyword, value in attributes.items():
            setattr(image, keyword, value)
    if transfer_syntax.is_compressed:
        image.compress(transfer_syntax, generate_instance_uid=False)
    else:
        image.file_meta.TransferSyntaxUID = transfer_syntax
    return image


def part10(image: Dataset) -> bytes:
    """Return the Part 10 bytes of an image."""
    target = BytesIO()
    image.save_as(target, enforce_file_format=True)
    return target.getvalue()

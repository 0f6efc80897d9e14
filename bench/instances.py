"""Synthetic instances to send: body-like images with noise, so that nothing compresses them away.

Every UID, patient id and accession number holds a token of fixed length; `renewed` copies a set
with a fresh token, so that each round sends what no server has seen, at the cost of a file copy.
"""

import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

_TOKEN = "71000000000"  # noqa: S105 - stands for digits, not for a secret
_HEAD_BYTES = 8192  # the token occurs in these alone
_ROOT = "1.2.826.0.1.3680043.8.498."  # pydicom's root for examples


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of set: `studies` of `images` each, of (rows, columns) and bytes a pixel."""

    name: str
    number: int
    sop_class: str
    modality: str
    studies: int
    images: int
    shape: tuple[int, int]
    depth: int
    frames: int = 1


CT = Kind(
    name="ct",
    number=1,
    sop_class="1.2.840.10008.5.1.4.1.1.2",
    modality="CT",
    studies=1,
    images=400,
    shape=(512, 512),
    depth=2,
)
SMALL = Kind(
    name="small",
    number=3,
    sop_class="1.2.840.10008.5.1.4.1.1.1",
    modality="CR",
    studies=500,
    images=2,
    shape=(512, 512),
    depth=1,
)
DX = Kind(
    name="dx",
    number=2,
    sop_class="1.2.840.10008.5.1.4.1.1.1.1",
    modality="DX",
    studies=40,
    images=1,
    shape=(2500, 2048),
    depth=2,
)
MULTIFRAME = Kind(
    name="multiframe",
    number=5,
    sop_class="1.2.840.10008.5.1.4.1.1.3.1",
    modality="US",
    studies=1,
    images=1,
    shape=(1024, 1024),
    depth=1,
    frames=1000,
)
FEW = Kind(
    name="few",
    number=4,
    sop_class="1.2.840.10008.5.1.4.1.1.1",
    modality="CR",
    studies=100,
    images=1,
    shape=(512, 512),
    depth=1,
)

SERIES = Kind(
    name="series",
    number=5,
    sop_class="1.2.840.10008.5.1.4.1.1.2",
    modality="CT",
    studies=1,
    images=4000,
    shape=(64, 64),
    depth=2,
)


def made(kind: Kind, folder: Path) -> Path:
    """Return the folder with the set of a kind, made now if it is not there."""
    done = folder / kind.name
    if done.exists():
        return done
    partial = folder / f"{kind.name}.part"
    partial.mkdir(parents=True, exist_ok=True)
    for n, data_set in enumerate(_data_sets(kind)):
        dcmwrite(partial / f"{n:05d}.dcm", data_set, enforce_file_format=True)
    return partial.rename(done)


def renewed(source: Path, target: Path, *, parts: int) -> int:
    """Copy a set with a fresh token into `parts` folders of whole studies; return its bytes."""
    token = "7" + "".join(secrets.choice("123456789") for _ in range(len(_TOKEN) - 1))
    files = sorted(source.glob("*.dcm"))
    total = 0
    for part in range(parts):
        folder = target / str(part)
        folder.mkdir(parents=True)
        for path in files[part * len(files) // parts : (part + 1) * len(files) // parts]:
            total += _copied(path, folder / path.name, token.encode())
    return total


def multiframe(path: Path, size: int) -> str:
    """Write one instance of about `size` bytes; return its study UID."""
    kind = Kind(
        name="large",
        number=6,
        sop_class="1.2.840.10008.5.1.4.1.1.7.3",
        modality="OT",
        studies=1,
        images=1,
        shape=(512, 512),
        depth=2,
    )
    data_set = _header(kind, 0, 0)
    _fill(data_set, _body(*kind.shape), kind.depth)
    frame = data_set.PixelData
    data_set.NumberOfFrames = size // len(frame)
    data_set.PixelData = frame * (size // len(frame))
    path.parent.mkdir(parents=True, exist_ok=True)
    dcmwrite(path, data_set, enforce_file_format=True)
    return str(data_set.StudyInstanceUID)


def _copied(source: Path, target: Path, token: bytes) -> int:
    with source.open("rb") as old, target.open("wb") as new:
        new.write(old.read(_HEAD_BYTES).replace(_TOKEN.encode(), token))
        shutil.copyfileobj(old, new, 1 << 20)
        return new.tell()


def _data_sets(kind: Kind) -> Iterator[Dataset]:
    noise = np.random.default_rng(kind.number)
    body = _body(*kind.shape)
    for study in range(kind.studies):
        for image in range(kind.images):
            data_set = _header(kind, study, image)
            _fill(data_set, body + noise.normal(0, 20, kind.shape), kind.depth)
            if kind.frames > 1:
                data_set.NumberOfFrames = kind.frames
                data_set.PixelData *= kind.frames
            yield data_set


def _header(kind: Kind, study: int, image: int) -> Dataset:
    uid = f"{_ROOT}{_TOKEN}.{kind.number}.{study + 1}"
    made_of = Dataset()
    made_of.SpecificCharacterSet = "ISO_IR 192"
    made_of.ImageType = ["ORIGINAL", "PRIMARY"]
    made_of.SOPClassUID, made_of.SOPInstanceUID = kind.sop_class, f"{uid}.1.{image + 1}"
    made_of.StudyDate, made_of.StudyTime = "20260102", "101500"
    made_of.AccessionNumber = f"A{_TOKEN}{study:04d}"
    made_of.Modality, made_of.Manufacturer = kind.modality, "SYNTHETIC"
    made_of.StudyDescription, made_of.SeriesDescription = f"{kind.modality} CHEST", "AXIAL"
    made_of.PatientName, made_of.PatientID = f"SYNTH^P{study}", f"P{_TOKEN}-{study:05d}"
    made_of.PatientBirthDate, made_of.PatientSex = "19700101", "F"
    made_of.BodyPartExamined = "CHEST"
    made_of.StudyInstanceUID, made_of.SeriesInstanceUID = uid, f"{uid}.1"
    made_of.SeriesNumber, made_of.InstanceNumber = 1, image + 1
    made_of.file_meta = FileMetaDataset()
    made_of.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made_of.file_meta.MediaStorageSOPClassUID = UID(kind.sop_class)
    made_of.file_meta.MediaStorageSOPInstanceUID = made_of.SOPInstanceUID
    return made_of


def _fill(data_set: Dataset, image: NDArray[np.float64], depth: int) -> None:
    highest = 4095 if depth == 2 else 255
    scaled = np.clip(image if depth > 1 else image / 16, 0, highest)
    data_set.SamplesPerPixel, data_set.PhotometricInterpretation = 1, "MONOCHROME2"
    data_set.Rows, data_set.Columns = image.shape
    data_set.BitsAllocated = 8 * depth
    data_set.BitsStored = highest.bit_length()
    data_set.HighBit, data_set.PixelRepresentation = highest.bit_length() - 1, 0
    data_set.PixelData = scaled.astype("<u2" if depth > 1 else "u1").tobytes()


def _body(rows: int, columns: int) -> NDArray[np.float64]:
    """Return a chest-like image of (rows, columns) in 0..4095: body, two lungs, spine."""
    y, x = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j]
    image = np.full((rows, columns), 100.0)
    image[(x / 0.8) ** 2 + (y / 0.6) ** 2 < 1] = 1800
    for side in (-1, 1):
        image[((x - side * 0.36) / 0.26) ** 2 + (y / 0.4) ** 2 < 1] = 600
    image[(x / 0.09) ** 2 + ((y - 0.4) / 0.1) ** 2 < 1] = 2800
    return image

"""The studies of the demo: a real chest film and pydicom's CT and MR samples; or any folder."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

from app.demo.network import ISSUER, PATIENT_BIRTH_DATE, PATIENT_ID, PATIENT_NAME
from dicom_node.errors import Unreadable
from dicom_node.films import FilmOrder, to_dx
from dicom_node.headers import Defaults, InstanceHeader, read_file
from kernel.ids import derived_uid

FILM = "film/chest_pa.jpg"
PYDICOM_SAMPLES = ("CT_small.dcm", "MR_small.dcm")
MAX_FILE_BYTES = 2 << 30
_DEFAULTS = Defaults(ISSUER, "")


@dataclass(frozen=True, slots=True)
class Sample:
    """One readable file: its header and its bytes as they are."""

    name: str
    header: InstanceHeader
    data: bytes


@dataclass(frozen=True, slots=True)
class Unexplained:
    """A file, study or instance that did not become a case, and why."""

    name: str
    reason: str


def film() -> Sample:
    """Return the chest film of the demo as a DX object."""
    picture = files("app.demo").joinpath(FILM).read_bytes()
    order = FilmOrder(
        study_uid=derived_uid("demo-study", FILM),
        patient_id=PATIENT_ID,
        issuer=ISSUER,
        patient_name=PATIENT_NAME,
        sex="F",
        birth_date=PATIENT_BIRTH_DATE,
        accession="DEMO-CHEST-1",
        body_part="CHEST",
        view_position="PA",
        study_description="Chest PA",
        institution="Mobile Diagnostic Complex 1",
        made_at=datetime(2026, 11, 20, 8, 30, tzinfo=UTC),
    )
    return _sample(FILM, to_dx(picture, order))


def shipped() -> list[Sample]:
    """Return the studies of the demo: the film, and the CT and MR samples of pydicom."""
    folder = files("pydicom.data").joinpath("test_files")
    others = [_sample(name, folder.joinpath(name).read_bytes()) for name in PYDICOM_SAMPLES]
    return [film(), *others]


def read(path: Path) -> tuple[list[Sample], list[Unexplained]]:
    """Return the readable files of a path, and the others with the reason for each."""
    samples: list[Sample] = []
    unreadable: list[Unexplained] = []
    for file in _files(path):
        name = str(file.relative_to(path)) if path.is_dir() else file.name
        if file.stat().st_size > MAX_FILE_BYTES:
            unreadable.append(Unexplained(name, "the file is larger than 2 GiB"))
            continue
        try:
            samples.append(_sample(name, file.read_bytes()))
        except Unreadable as refusal:
            unreadable.append(Unexplained(name, refusal.sentence))
        except OSError as error:
            unreadable.append(Unexplained(name, f"it cannot be opened: {error.strerror}"))
    return samples, unreadable


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    yield from sorted(file for file in path.rglob("*") if file.is_file())


def _sample(name: str, data: bytes) -> Sample:
    header, _ = read_file(data, _DEFAULTS)
    return Sample(name, header, data)

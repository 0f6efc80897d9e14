"""The studies of the demo: a real chest film and pydicom's CT and MR samples; or any folder."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Protocol, TypeVar

from app.demo.network import ISSUER, PATIENT_BIRTH_DATE, PATIENT_ID, PATIENT_NAME
from app.demo.outcome import Account
from dicom_node.errors import Unreadable, UnreadableReason
from dicom_node.films import FilmOrder, to_dx
from dicom_node.headers import Defaults, InstanceHeader, read_file
from kernel.ids import derived_uid

FILM = "film/chest_pa.jpg"
PYDICOM_SAMPLES = ("CT_small.dcm", "MR_small.dcm")
MAX_FILE_BYTES = 2 << 30
_DEFAULTS = Defaults(ISSUER, "")


T = TypeVar("T")


class Follow(Protocol):
    """Shows how far a walk over items is."""

    def __call__(self, items: Sequence[T], label: str, /) -> Iterable[T]:
        """Hand the items on."""


def unseen(items: Sequence[T], label: str, /) -> Iterable[T]:
    """Hand the items on and show nothing."""
    return items


@dataclass(frozen=True, slots=True)
class Sample:
    """One readable file: its header, and how to load its bytes as they are."""

    name: str
    header: InstanceHeader
    load: Callable[[], bytes]


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


def read(path: Path, follow: Follow = unseen) -> tuple[list[Sample], list[Account]]:
    """Return the readable files of a path, and the others with the reason for each."""
    samples: list[Sample] = []
    unreadable: list[Account] = []
    for file in follow(list(_files(path)), "reading files"):
        name = str(file.relative_to(path)) if path.is_dir() else file.name
        try:
            samples.append(_file(name, file))
        except Unreadable as refusal:
            unreadable.append(Account(name, refusal.sentence, (name,)))
        except OSError as error:
            reason = f"it cannot be opened: {error.strerror}"
            unreadable.append(Account(name, reason, (name,)))
    return samples, unreadable


def _file(name: str, file: Path) -> Sample:
    if file.stat().st_size > MAX_FILE_BYTES:
        raise Unreadable(UnreadableReason.HEADER_TOO_LONG, "the file is larger than 2 GiB")
    header, _ = read_file(file.read_bytes(), _DEFAULTS)
    return Sample(name, header, file.read_bytes)


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    yield from sorted(file for file in path.rglob("*") if not file.is_dir())


def _sample(name: str, data: bytes) -> Sample:
    header, _ = read_file(data, _DEFAULTS)
    return Sample(name, header, lambda: data)

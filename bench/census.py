"""An archive of so many studies, for searching: a hundred a day, two of each patient.

The n-th study is the same in every archive, so that a search means as much in a large archive as
in a small one.  Ours is filled by rows, without files; a peer is given files of a few bytes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from io import BytesIO
from pathlib import Path

from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian
from sqlalchemy import text

from app.bootstrap import Parts
from app.settings import load
from bench.servers import CALLER
from kernel.ids import derived
from storage.engine import Database
from storage.patient_names import rows_of

A_DAY, OF_A_PATIENT = 100, 2
ISSUER = "BENCH"
INSTANCES = 2  # of each study, in one series
MODALITIES = ("CT", "MR", "CR", "DX", "US")
_FIRST_DAY = date(2023, 1, 1)
_ROOT = "1.2.826.0.1.3680043.8.498.5."  # pydicom's root for examples
_CLASS = "1.2.840.10008.5.1.4.1.1.7"
_SYLLABLES = ("ba", "ve", "do", "zu", "ki", "le", "mo", "nu", "pa", "re", "so", "tu", "fi", "ha")
_GIVEN = ("Anna", "Boris", "Clara", "Denis")
_A_TRANSACTION = 5000
_AT = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Study:
    """The n-th study."""

    number: int

    @property
    def uid(self) -> str:
        """Its Study Instance UID."""
        return f"{_ROOT}{self.number + 1}"

    @property
    def patient_id(self) -> str:
        """The id of its patient."""
        return f"C-{self.number // OF_A_PATIENT:07d}"

    @property
    def family(self) -> str:
        """The family name, which no other patient has."""
        left, name = self.number // OF_A_PATIENT, "Q"
        for _ in range(6):
            left, digit = divmod(left, len(_SYLLABLES))
            name += _SYLLABLES[digit]
        return name

    @property
    def name(self) -> str:
        """The patient's name."""
        return f"{self.family}^{_GIVEN[self.number // OF_A_PATIENT % len(_GIVEN)]}"

    @property
    def accession(self) -> str:
        """Its accession number."""
        return f"N{self.number:08d}"

    @property
    def day(self) -> str:
        """Its date (DA)."""
        return f"{_FIRST_DAY + timedelta(days=self.number // A_DAY):%Y%m%d}"

    @property
    def modality(self) -> str:
        """The modality of its series."""
        return MODALITIES[self.number % len(MODALITIES)]

    def files(self) -> Iterator[bytes]:
        """Yield its instances as Part 10 files."""
        for number in range(1, INSTANCES + 1):
            out = BytesIO()
            dcmwrite(out, self._data_set(number), enforce_file_format=True)
            yield out.getvalue()

    def _data_set(self, number: int) -> Dataset:
        made = Dataset()
        made.SOPClassUID, made.SOPInstanceUID = _CLASS, f"{self.uid}.1.{number}"
        made.StudyDate, made.StudyTime = self.day, "101500"
        made.AccessionNumber, made.Modality = self.accession, self.modality
        made.StudyDescription = "BENCH"
        made.PatientName, made.PatientID = self.name, self.patient_id
        made.PatientBirthDate, made.PatientSex = "19700101", "F"
        made.StudyInstanceUID, made.SeriesInstanceUID = self.uid, f"{self.uid}.1"
        made.SeriesNumber, made.InstanceNumber = 1, number
        made.file_meta = FileMetaDataset()
        made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        made.file_meta.MediaStorageSOPClassUID = UID(_CLASS)
        made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
        return made


def fill(data: Path, studies: int) -> None:
    """Fill the index of a data directory: the rows that as many arrivals would have made."""
    parts = Parts(load(data))
    parts.prepare(migrate=True)
    parts.database.dispose()
    enter(parts.database, studies)
    parts.database.dispose()


def enter(database: Database, studies: int) -> None:
    """Enter the rows of so many studies."""
    for first in range(0, studies, _A_TRANSACTION):
        batch = [Study(n) for n in range(first, min(first + _A_TRANSACTION, studies))]
        with database.transaction() as tx:
            for statement, rows in _rows(batch):
                tx.execute(text(statement), rows)


def _rows(batch: list[Study]) -> Iterator[tuple[str, list[dict[str, object]]]]:
    patients = [each for each in batch if each.number % OF_A_PATIENT == 0]
    refs = {each.patient_id: derived("patient", ISSUER, each.patient_id) for each in patients}
    yield (
        "INSERT INTO patients (ref, issuer, patient_id, name, sex, birth_date, registered_at)"
        " VALUES (:ref, :issuer, :id, :name, 'F', '1970-01-01', :at)",
        [
            {"ref": refs[p.patient_id], "issuer": ISSUER, "id": p.patient_id, "name": p.name}
            | {"at": _AT}
            for p in patients
        ],
    )
    yield (
        "INSERT INTO patient_name_keys (kind, name_key, patient_ref)"
        " VALUES (:kind, :name_key, :patient_ref)",
        [row for p in patients for row in rows_of(refs[p.patient_id], p.name)],
    )
    yield (
        "INSERT INTO studies (study_uid, patient_ref, accession, description, study_date,"
        " study_time, station_ae_title, first_arrival_at, last_arrival_at, unsettled,"
        " manifest_version) VALUES (:uid, :ref, :accession, 'BENCH', :day, '101500', :station,"
        " :at, :at, :unsettled, 1)",
        [
            {"uid": s.uid, "ref": refs[s.patient_id], "accession": s.accession, "day": s.day}
            | {"station": CALLER, "at": _AT, "unsettled": False}
            for s in batch
        ],
    )
    yield (
        "INSERT INTO series (series_uid, study_uid, modality, number, description, body_part)"
        " VALUES (:series, :uid, :modality, '1', 'AX', 'HEAD')",
        [{"series": f"{s.uid}.1", "uid": s.uid, "modality": s.modality} for s in batch],
    )
    yield (
        "INSERT INTO instances (instance_uid, series_uid, study_uid, sop_class_uid,"
        " transfer_syntax_uid, number, rows, columns, frames, digest, length, segment, pack_key,"
        ' "offset", received_at) VALUES (:instance, :series, :uid, :class, :syntax, :number, 512,'
        " 512, NULL, :digest, 1000, NULL, :pack, 0, :at)",
        [
            {"instance": f"{s.uid}.1.{n}", "series": f"{s.uid}.1", "uid": s.uid, "class": _CLASS}
            | {"syntax": str(ExplicitVRLittleEndian), "number": str(n), "digest": "0" * 64}
            | {"pack": f"packs/{s.uid}", "at": _AT}
            for s in batch
            for n in range(1, INSTANCES + 1)
        ],
    )

"""What people are told of a study in the archive: what it holds, and what is odd in it."""

from dataclasses import dataclass
from typing import Any

from dicom_node.remarks import Remark
from storage import archive, remarks
from storage.archive import StudyUnknown
from storage.archive_queries import SeriesRow, series_of
from storage.engine import Transaction
from storage.shown import of_others


@dataclass(frozen=True, slots=True)
class Said:
    """A remark as people read it, and how many instances it is about."""

    code: str
    sentence: str
    instances: int


def remarks_of(tx: Transaction, study_uid: str) -> tuple[Said, ...]:
    """Return what is odd in a study: whose it is before all, then the most frequent."""
    noted = [(each.code, each.instances) for each in remarks.of_study(tx, study_uid)]
    others = of_others(tx, study_uid)
    first = [(Remark.OTHER_PATIENT.value, others)] if others else []
    return tuple(Said(code, Remark(code).sentence, count) for code, count in (*first, *noted))


def shown(tx: Transaction, study_uid: str) -> dict[str, Any]:
    """Return a study as JSON for scripts; nothing in it names the patient.

    Raises
    ------
    StudyUnknown
        The archive has no such study.
    """
    series = series_of(tx, study_uid)
    if not series:
        raise StudyUnknown("the archive has no such study", study_uid=study_uid)
    try:
        version = archive.manifest(tx, study_uid).version
    except StudyUnknown:
        version = 0
    said = remarks_of(tx, study_uid)
    return {
        "study_uid": study_uid,
        "manifest_version": version,
        "series": [_series(each) for each in series],
        "remarks": [
            {"code": each.code, "sentence": each.sentence, "instances": each.instances}
            for each in said
        ],
    }


def _series(row: SeriesRow) -> dict[str, Any]:
    return {
        "series_uid": row.series_uid,
        "modality": row.modality,
        "description": row.description,
        "instances": len(row.instances),
    }

"""What people are told of a study in the archive: what it holds, and what is odd in it."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from dicom_node.completeness import CompletenessPolicy
from dicom_node.remarks import Remark
from dicom_node.verdicts import VERDICTS, Wait, waits
from storage import archive, audit, remarks
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


class Stage(StrEnum):
    """How far the judgement is whether a study is whole."""

    WAITING = "waiting"
    COMPLETE = "complete"
    OVERDUE = "overdue"
    """Settled without being known to be whole."""


@dataclass(frozen=True, slots=True)
class Completeness:
    """Whether a study is whole, and why that is thought; `until` is when a wait ends at most."""

    stage: Stage
    code: str
    sentence: str
    until: datetime | None = None


def completeness_of(
    tx: Transaction, study_uid: str, policy: CompletenessPolicy
) -> Completeness | None:
    """Return what a study waits for, else why it counts as whole; None where nothing is known."""
    waiting = waits(tx, policy, study_uid=study_uid, limit=1)
    return _waiting(waiting[0]) if waiting else verdict_on(tx, study_uid)


def verdict_on(tx: Transaction, study_uid: str) -> Completeness | None:
    """Return why the last manifest of a study was frozen, as the audit chain has it."""
    entry = audit.last_of(tx, f"study:{study_uid}", ("study.completed", "study.amended"))
    if entry is None:
        return None
    code = str(entry.detail.get("verdict", ""))
    stage = Stage.OVERDUE if entry.outcome == "overdue" else Stage.COMPLETE
    return Completeness(stage, code, VERDICTS.get(code, code))


def _waiting(wait: Wait) -> Completeness:
    return Completeness(Stage.WAITING, wait.why, wait.sentence, wait.until)


def remarks_of(tx: Transaction, study_uid: str) -> tuple[Said, ...]:
    """Return what is odd in a study: whose it is before all, then the most frequent."""
    noted = [(each.code, each.instances) for each in remarks.of_study(tx, study_uid)]
    others = of_others(tx, study_uid)
    first = [(Remark.OTHER_PATIENT.value, others)] if others else []
    return tuple(Said(code, Remark(code).sentence, count) for code, count in (*first, *noted))


def shown(tx: Transaction, study_uid: str, policy: CompletenessPolicy) -> dict[str, Any]:
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
    whole = completeness_of(tx, study_uid, policy)
    return {
        "study_uid": study_uid,
        "manifest_version": version,
        "completeness": None if whole is None else _plain(whole),
        "series": [_series(each) for each in series],
        "remarks": [
            {"code": each.code, "sentence": each.sentence, "instances": each.instances}
            for each in said
        ],
    }


def _plain(whole: Completeness) -> dict[str, Any]:
    return {
        "state": whole.stage.value,
        "code": whole.code,
        "sentence": whole.sentence,
        "until": None if whole.until is None else whole.until.isoformat(timespec="seconds"),
    }


def _series(row: SeriesRow) -> dict[str, Any]:
    return {
        "series_uid": row.series_uid,
        "modality": row.modality,
        "description": row.description,
        "instances": len(row.instances),
    }

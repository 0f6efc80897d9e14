"""What pages and DICOMweb ask of the archive index; nothing here changes anything."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.engine import RowMapping

from storage.archive import InstanceUnknown
from storage.engine import Transaction
from storage.hidden import INSTANCE_SHOWN, SERIES_SHOWN, STUDY_SHOWN
from storage.like import ESCAPE, like
from storage.series_queries import number_of
from storage.tables.archive import INSTANCES, SERIES, STUDIES
from storage.tables.patients import PATIENTS


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceRow:
    """One instance as the index knows it; None where the header does not say."""

    instance_uid: str
    series_uid: str
    study_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    number: str
    rows: int | None
    columns: int | None
    frames: int | None
    length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesRow:
    """One series with its instances in the order of their numbers."""

    series_uid: str
    modality: str
    number: str
    description: str
    body_part: str
    instances: tuple[InstanceRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyRow:
    """One study with its patient and what it holds."""

    study_uid: str
    patient_ref: str
    patient_id: str
    issuer: str
    patient_name: str
    sex: str
    birth_date: date | None
    accession: str
    description: str
    study_date: str
    study_time: str
    modalities: tuple[str, ...]
    series: int
    instances: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyQuery:
    """What to look for; an empty field matches all.

    `patient_id` and `accession` may hold the wildcards ``*`` and ``?``; dates are DICOM DA, as a
    closed range of which each end may be open.

    References
    ----------
    DICOM PS3.4 section C.2.2.2: list of UID, wild card and range matching.
    """

    study_uids: tuple[str, ...] = ()
    patient_id: str = ""
    accession: str = ""
    date_from: str = ""
    date_until: str = ""
    limit: int = 100
    offset: int = 0


def series_of(tx: Transaction, study_uid: str) -> list[SeriesRow]:
    """Return the series of a study in the order of their numbers, with their instances."""
    held: dict[str, list[InstanceRow]] = {}
    shown = select(INSTANCES).where(INSTANCES.c.study_uid == study_uid, INSTANCE_SHOWN)
    for row in tx.execute(shown).mappings():
        held.setdefault(row["series_uid"], []).append(_instance(row))
    found = tx.execute(
        select(SERIES).where(SERIES.c.study_uid == study_uid, SERIES_SHOWN)
    ).mappings()
    series = [
        SeriesRow(
            series_uid=row["series_uid"],
            modality=row["modality"],
            number=row["number"],
            description=row["description"],
            body_part=row["body_part"],
            instances=tuple(
                sorted(
                    held.get(row["series_uid"], []),
                    key=lambda i: (number_of(i.number), i.instance_uid),
                )
            ),
        )
        for row in found
    ]
    return sorted(series, key=lambda s: (number_of(s.number), s.series_uid))


def instance(tx: Transaction, instance_uid: str) -> InstanceRow:
    """Return one instance.

    Raises
    ------
    InstanceUnknown
        No instance has this UID.
    """
    query = select(INSTANCES).where(INSTANCES.c.instance_uid == instance_uid, INSTANCE_SHOWN)
    row = tx.execute(query).mappings().first()
    if row is None:
        raise InstanceUnknown("no instance has this UID", instance_uid=instance_uid)
    return _instance(row)


def find_studies(tx: Transaction, query: StudyQuery) -> list[StudyRow]:
    """Return the studies that match, the newest date first."""
    statement = (
        select(STUDIES, PATIENTS)
        .join(PATIENTS, PATIENTS.c.ref == STUDIES.c.patient_ref)
        .where(*_conditions(query, tx.dialect), STUDY_SHOWN)
        .order_by(STUDIES.c.study_date.desc(), STUDIES.c.study_uid)
        .limit(query.limit)
        .offset(query.offset)
    )
    rows = tx.execute(statement).mappings().all()
    uids = [row["study_uid"] for row in rows]
    modalities, series = _series_counts(tx, uids)
    instances = _instance_counts(tx, uids)
    return [
        StudyRow(
            study_uid=row["study_uid"],
            patient_ref=row["patient_ref"],
            patient_id=row["patient_id"],
            issuer=row["issuer"],
            patient_name=row["name"],
            sex=row["sex"],
            birth_date=row["birth_date"],
            accession=row["accession"],
            description=row["description"],
            study_date=row["study_date"],
            study_time=row["study_time"],
            modalities=tuple(sorted(modalities.get(row["study_uid"], ()))),
            series=series.get(row["study_uid"], 0),
            instances=instances.get(row["study_uid"], 0),
        )
        for row in rows
    ]


def _conditions(query: StudyQuery, dialect: str) -> list[ColumnElement[bool]]:
    wanted: list[ColumnElement[bool]] = []
    if query.study_uids:
        wanted.append(STUDIES.c.study_uid.in_(query.study_uids))
    if query.patient_id:
        wanted.append(_matches(PATIENTS.c.patient_id, query.patient_id, dialect))
    if query.accession:
        wanted.append(_matches(STUDIES.c.accession, query.accession, dialect))
    if query.date_from:
        wanted.append(STUDIES.c.study_date >= query.date_from)
    if query.date_until:
        wanted.append(STUDIES.c.study_date <= query.date_until)
        wanted.append(STUDIES.c.study_date != "")
    return wanted


def _matches(column: ColumnElement[str], text: str, dialect: str) -> ColumnElement[bool]:
    """Match one value, or a wild card pattern (PS3.4 sections C.2.2.2.1 and C.2.2.2.4).

    Case counts; SQLite's LIKE folds it, its GLOB does not and has the wildcards of DICOM.
    """
    if "*" not in text and "?" not in text:
        return column == text
    if dialect == "sqlite":
        return column.op("GLOB", is_comparison=True)(text.replace("[", "[[]"))
    return column.like(like(text), escape=ESCAPE)


def _series_counts(
    tx: Transaction, uids: Sequence[str]
) -> tuple[dict[str, set[str]], dict[str, int]]:
    modalities: dict[str, set[str]] = {}
    counts: dict[str, int] = {}
    found = tx.execute(
        select(SERIES.c.study_uid, SERIES.c.modality, func.count().label("number"))
        .where(SERIES.c.study_uid.in_(uids), SERIES_SHOWN)
        .group_by(SERIES.c.study_uid, SERIES.c.modality)
    )
    for row in found:
        modalities.setdefault(row.study_uid, set()).add(row.modality)
        counts[row.study_uid] = counts.get(row.study_uid, 0) + row.number
    return modalities, counts


def _instance_counts(tx: Transaction, uids: Sequence[str]) -> dict[str, int]:
    found = tx.execute(
        select(INSTANCES.c.study_uid, func.count().label("number"))
        .where(INSTANCES.c.study_uid.in_(uids), INSTANCE_SHOWN)
        .group_by(INSTANCES.c.study_uid)
    )
    return {row.study_uid: int(row.number) for row in found}


def _instance(row: RowMapping) -> InstanceRow:
    return InstanceRow(**{name: row[name] for name in InstanceRow.__dataclass_fields__})

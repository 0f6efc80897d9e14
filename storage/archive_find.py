"""Rows of the archive index for queries at every level, a page at a time, within what one may see.

The conditions here are a superset of what a query matches: they are those that an index or a
plain comparison serves.  The asker applies its matching rules to each row that comes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, lru_cache
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    FromClause,
    Integer,
    Select,
    String,
    and_,
    bindparam,
    exists,
    func,
    or_,
    select,
    tuple_,
)

from storage import patient_names
from storage.engine import Transaction
from storage.hidden import (
    INSTANCE_SHOWN,
    SERIES_OF_STUDY_SHOWN,
    SERIES_SHOWN,
    STUDY_SHOWN,
)
from storage.patients import Patient, standing
from storage.prepared import Prepared
from storage.series_queries import Held
from storage.tables.archive import INSTANCE_PATIENTS, INSTANCES, SERIES, STUDIES
from storage.tables.patients import PATIENTS
from storage.wanted import (
    Shape,
    Wanted,
    among,
    at_least,
    at_most,
    conditions,
    equal,
    is_like,
    shape_of,
)

PAGE = 200
_BEFORE_ALL = "0"
MAX_LISTED = 400
_MAX_PATTERNS = 64
_SHAPES = 128

Row = Mapping[str, Any]

ASKER = "asker"


class Level(StrEnum):
    """The levels of the query and retrieve information model (PS3.4 section C.6)."""

    PATIENT = "PATIENT"
    STUDY = "STUDY"
    SERIES = "SERIES"
    IMAGE = "IMAGE"


@dataclass(frozen=True, slots=True)
class Scope:
    """Which studies the asker may see: those that it sent, by its devices or else, or asked for.

    The queries are constants and the parameters name the asker, so that a statement around them
    is built once.

    Parameters
    ----------
    parameters
        What `devices` and `asked` are about, and `ASKER`: the organisation of the asker.
    devices
        AE titles whose studies are seen.
    asked
        Rows of (study_uid, accession, patient_ref); a study is seen if it is of the same patient
        and has the UID or the accession number.
    """

    devices: Select[Any]
    asked: Select[Any]
    parameters: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Narrowing:
    """Conditions that a matching row surely meets; empty ones are none.

    Patterns have the wildcards ``*`` and ``?``; dates are DICOM DA, each end may be open.

    Parameters
    ----------
    name_keys
        Patterns of the keys of a name (`kernel.name_key`); one of them matches.
    name_words
        For each word that is looked for, patterns of the keys of words; one of them matches.
    """

    patient_ids: tuple[str, ...] = ()
    patient_id_pattern: str = ""
    name_keys: tuple[str, ...] = ()
    name_words: tuple[tuple[str, ...], ...] = ()
    accessions: tuple[str, ...] = ()
    accession_pattern: str = ""
    date_from: str = ""
    date_until: str = ""
    modalities_in_study: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ()
    study_uids: tuple[str, ...] = ()
    series_uids: tuple[str, ...] = ()
    instance_uids: tuple[str, ...] = ()

    @property
    def of_patient(self) -> bool:
        """Whether there is a condition on the patient."""
        return bool(
            self.patient_ids or self.patient_id_pattern or self.name_keys or self.name_words
        )


def page(
    tx: Transaction,
    level: Level,
    narrowing: Narrowing,
    scope: Scope | None,
    *,
    after: Row | None = None,
    limit: int = PAGE,
    offset: int = 0,
    of_others: bool = False,
) -> list[Row]:
    """Return the next rows of a level, each with the columns of the levels above it.

    Parameters
    ----------
    scope
        None where the asker may see all.
    after
        The last row of the page before.
    offset
        How many of the first rows are left out.
    of_others
        Of instances, those that name somebody else than the patient of their study: what is wanted
        of the patient is wanted of whoever stands for the one that they name.
    """
    wanted = _wanted(tx.dialect, level, narrowing)
    if after is not None:
        wanted.append(_behind(level, after))
    sees = scope and (scope.devices, scope.asked, tuple(scope.parameters))
    apart = bool(offset) and level is Level.STUDY and not narrowing.of_patient
    statement = _page(tx.dialect, level, shape_of(wanted), sees, apart, of_others)
    values = [value for each in wanted for value in each.values]
    named = scope.parameters.values() if scope else ()
    return list(tx.mappings(statement, (*values, *named, limit, offset)))


def held(tx: Transaction, narrowing: Narrowing, scope: Scope | None) -> list[Held]:
    """Return all instances that the index finds, in no order, with where their bytes lie.

    Parameters
    ----------
    scope
        None where the asker may see all.
    """
    statement = _HELD_OF_PATIENT if narrowing.of_patient else _HELD
    wanted = _wanted(tx.dialect, Level.IMAGE, narrowing)
    statement = statement.where(*(each.made() for each in wanted), *_always(Level.IMAGE))
    if scope is not None:
        statement = statement.where(_seen(Level.IMAGE, scope.devices, scope.asked))
    found = tx.execute(statement, scope.parameters if scope else None)
    return [Held(*tuple(row)) for row in found]


def studies_of_patients(
    tx: Transaction, patient_refs: Sequence[str], scope: Scope | None
) -> dict[str, list[str]]:
    """Return the study UIDs that the asker may see, by patient."""
    statement = select(STUDIES.c.patient_ref, STUDIES.c.study_uid).where(
        STUDIES.c.patient_ref.in_(patient_refs), STUDY_SHOWN
    )
    if scope is not None:
        statement = statement.where(_seen(Level.STUDY, scope.devices, scope.asked))
    found: dict[str, list[str]] = {ref: [] for ref in patient_refs}
    for row in tx.execute(statement, scope.parameters if scope else None):
        found[row.patient_ref].append(row.study_uid)
    return found


def sees(tx: Transaction, study_uid: str, scope: Scope | None, *, withdrawn: bool = False) -> bool:
    """Say whether a study is held that the asker may see.

    With `withdrawn`, also whether the asker might see it if all of it were not withdrawn.
    """
    statement = select(STUDIES.c.study_uid).where(STUDIES.c.study_uid == bindparam("seen_study"))
    if not withdrawn:
        statement = statement.where(STUDY_SHOWN)
    parameters = {"seen_study": study_uid}
    if scope is not None:
        statement = statement.where(_seen(Level.STUDY, scope.devices, scope.asked))
        parameters |= scope.parameters
    return tx.execute(statement, parameters).first() is not None


def classes_of(tx: Transaction, instance_uids: Sequence[str]) -> dict[str, str]:
    """Return the SOP classes of the instances that are here, by instance UID."""
    held: dict[str, str] = {}
    for at in range(0, len(instance_uids), MAX_LISTED):
        uids = {"uids": list(instance_uids[at : at + MAX_LISTED])}
        held |= {row.instance_uid: row.sop_class_uid for row in tx.execute(_CLASSES, uids)}
    return held


def patients_by_ref(tx: Transaction, refs: Sequence[str]) -> dict[str, Patient]:
    """Return who stands for patients, by their references, in one statement."""
    return {ref: each.patient for ref, each in standing(tx, refs).items()}


_ASKED_OF = PATIENTS.alias("asked_of")
_NAMED = PATIENTS.alias("named")
_UIDS: BindParameter[Any] = bindparam("uids", expanding=True)


_CLASSES = select(INSTANCES.c.instance_uid, INSTANCES.c.sop_class_uid).where(
    INSTANCES.c.instance_uid.in_(_UIDS), INSTANCE_SHOWN
)
_PATIENT_COLUMNS = (
    PATIENTS.c.ref.label("patient_ref"),
    PATIENTS.c.patient_id,
    PATIENTS.c.issuer,
    PATIENTS.c.name,
    PATIENTS.c.sex,
    PATIENTS.c.birth_date,
)
_STUDY_COLUMNS = (
    STUDIES.c.study_uid,
    STUDIES.c.accession,
    STUDIES.c.description.label("study_description"),
    STUDIES.c.study_date,
    STUDIES.c.study_time,
    STUDIES.c.study_id,
    STUDIES.c.referring_physician,
)
_SERIES_COLUMNS = (
    SERIES.c.series_uid,
    SERIES.c.modality,
    SERIES.c.number.label("series_number"),
    SERIES.c.description.label("series_description"),
    SERIES.c.body_part,
)
_INSTANCE_COLUMNS = (
    INSTANCES.c.instance_uid,
    INSTANCES.c.sop_class_uid,
    INSTANCES.c.transfer_syntax_uid,
    INSTANCES.c.number.label("instance_number"),
    INSTANCES.c.rows,
    INSTANCES.c.columns,
    INSTANCES.c.frames,
    INSTANCES.c.segment,
    INSTANCES.c.pack_key,
    INSTANCES.c.offset,
    INSTANCES.c.length,
    INSTANCES.c.digest,
)


# Made once, as all that is asked often: the database layer then finds it compiled.
_HELD = (
    select(*(INSTANCES.c[name] for name in Held.__dataclass_fields__))
    .select_from(INSTANCES)
    .join(SERIES, SERIES.c.series_uid == INSTANCES.c.series_uid)
    .join(STUDIES, STUDIES.c.study_uid == INSTANCES.c.study_uid)
)
_HELD_OF_PATIENT = _HELD.join(PATIENTS, PATIENTS.c.ref == STUDIES.c.patient_ref)


@cache
def _selected(level: Level) -> Select[Any]:
    if level is Level.PATIENT:
        return select(*_PATIENT_COLUMNS).order_by(*_order(level))
    columns = [*_PATIENT_COLUMNS, *_STUDY_COLUMNS]
    joined: FromClause = STUDIES.join(PATIENTS, PATIENTS.c.ref == STUDIES.c.patient_ref)
    if level in (Level.SERIES, Level.IMAGE):
        columns += _SERIES_COLUMNS
        joined = joined.join(SERIES, SERIES.c.study_uid == STUDIES.c.study_uid)
    if level is Level.IMAGE:
        columns += _INSTANCE_COLUMNS
        joined = joined.join(INSTANCES, INSTANCES.c.series_uid == SERIES.c.series_uid)
    return select(*columns).select_from(joined).order_by(*_order(level))


@cache
def _selected_of_others() -> Select[Any]:
    joined = (
        INSTANCE_PATIENTS.join(_NAMED, _NAMED.c.ref == INSTANCE_PATIENTS.c.patient_ref)
        .join(PATIENTS, PATIENTS.c.ref == func.coalesce(_NAMED.c.survivor, _NAMED.c.ref))
        .join(INSTANCES, INSTANCES.c.instance_uid == INSTANCE_PATIENTS.c.instance_uid)
        .join(SERIES, SERIES.c.series_uid == INSTANCES.c.series_uid)
        .join(STUDIES, STUDIES.c.study_uid == INSTANCES.c.study_uid)
    )
    columns = (*_PATIENT_COLUMNS, *_STUDY_COLUMNS, *_SERIES_COLUMNS, *_INSTANCE_COLUMNS)
    others = select(*columns).select_from(joined).where(PATIENTS.c.ref != STUDIES.c.patient_ref)
    return others.order_by(*_order(Level.IMAGE))


_Sees = tuple[Select[Any], Select[Any], tuple[str, ...]]


@lru_cache(maxsize=_SHAPES)
def _page(
    dialect: str, level: Level, shape: Shape, sees: _Sees | None, apart: bool, of_others: bool
) -> Prepared:
    """Return the statement of a page: the values wanted, those of the scope, limit and offset.

    Parameters
    ----------
    apart
        What is left out is walked through in the index alone, without its patients.
    """
    selected = _selected_of_others() if of_others else _selected(level)
    names = [f"wanted_{at}" for at in range(sum(number for _, _, number in shape))]
    stand_ins = [bindparam(name, type_=String()) for name in names]
    where = [*conditions(shape, stand_ins), *_always(level)]
    further: tuple[str, ...] = ()
    if sees is not None:
        devices, asked, further = sees
        where.append(_seen(level, devices, asked))
    limit, offset = (bindparam(name, type_=Integer()) for name in ("limit", "offset"))
    if apart:
        pages = select(STUDIES.c.study_uid).where(*where).order_by(*_order(level))
        inner = pages.limit(limit).offset(offset)
        statement = selected.where(STUDIES.c.study_uid.in_(inner))
    else:
        statement = selected.where(*where).limit(limit).offset(offset)
    return Prepared({dialect: statement}, (*names, *further, "limit", "offset"))


def _order(level: Level) -> tuple[ColumnElement[Any], ...]:
    match level:
        case Level.PATIENT:
            return (PATIENTS.c.ref,)
        case Level.STUDY:
            return STUDIES.c.study_date.desc(), STUDIES.c.study_uid.desc()
        case Level.SERIES:
            return (SERIES.c.series_uid,)
        case Level.IMAGE:
            return (INSTANCES.c.instance_uid,)


def _behind(level: Level, row: Row) -> Wanted:
    if level is Level.STUDY:
        return Wanted(_studies_behind, None, (row["study_date"], row["study_uid"]))
    column = _order(level)[0]
    return Wanted(_larger, column, (row[_KEYS[level]],))


_KEYS = {
    Level.PATIENT: "patient_ref",
    Level.SERIES: "series_uid",
    Level.IMAGE: "instance_uid",
}


def _larger(column: ColumnElement[str], values: Sequence[Any]) -> ColumnElement[bool]:
    larger: ColumnElement[bool] = column > values[0]
    return larger


def _studies_behind(_about: None, values: Sequence[Any]) -> ColumnElement[bool]:
    return tuple_(STUDIES.c.study_date, STUDIES.c.study_uid) < tuple_(*values)


@cache
def _seen(level: Level, devices: Select[Any], asked_by: Select[Any]) -> ColumnElement[bool]:
    asked = asked_by.subquery()
    same_order = or_(
        asked.c.study_uid == STUDIES.c.study_uid,
        and_(asked.c.accession == STUDIES.c.accession, asked.c.accession != ""),
    )
    # A request may name a patient who was merged since; the study shows who stands for them.
    asked_of = func.coalesce(
        select(_ASKED_OF.c.survivor)
        .where(_ASKED_OF.c.ref == asked.c.patient_ref)
        .scalar_subquery(),
        asked.c.patient_ref,
    )
    was_asked = exists(select(1).where(asked_of == STUDIES.c.patient_ref, same_order))
    sent = and_(
        STUDIES.c.sender_organisation == bindparam(ASKER), STUDIES.c.sender_organisation != ""
    )
    seen = or_(STUDIES.c.station_ae_title.in_(devices), sent, was_asked)
    if level is Level.PATIENT:
        of_patient = select(1).where(STUDIES.c.patient_ref == PATIENTS.c.ref, STUDY_SHOWN, seen)
        return exists(of_patient)
    return seen


def _wanted(dialect: str, level: Level, narrowing: Narrowing) -> list[Wanted]:
    wanted = _listed(PATIENTS.c.patient_id, narrowing.patient_ids)
    wanted += _like(dialect, PATIENTS.c.patient_id, narrowing.patient_id_pattern)
    if 0 < len(narrowing.name_keys) <= _MAX_PATTERNS:  # more are matched by the asker alone
        wanted.append(patient_names.found_by(patient_names.NAME, narrowing.name_keys))
    wanted += [patient_names.found_by(patient_names.WORD, each) for each in narrowing.name_words]
    if level is Level.PATIENT:
        return wanted
    wanted += _of_study(dialect, narrowing)
    if level in (Level.SERIES, Level.IMAGE):
        wanted += _listed(SERIES.c.series_uid, narrowing.series_uids)
        wanted += _listed(SERIES.c.modality, narrowing.modalities)
    if level is Level.IMAGE:
        wanted += _listed(INSTANCES.c.instance_uid, narrowing.instance_uids)
    return wanted


def _always(level: Level) -> list[ColumnElement[bool]]:
    """Return what holds for all that is found: something of it is shown."""
    if level is Level.PATIENT:
        of_patient = select(1).where(STUDIES.c.patient_ref == PATIENTS.c.ref, STUDY_SHOWN)
        return [exists(of_patient)]
    return [_SHOWN[level]]


def _of_study(dialect: str, narrowing: Narrowing) -> list[Wanted]:
    wanted = _listed(STUDIES.c.study_uid, narrowing.study_uids)
    wanted += _listed(STUDIES.c.accession, narrowing.accessions)
    wanted += _like(dialect, STUDIES.c.accession, narrowing.accession_pattern)
    wanted += _dated(narrowing.date_from, narrowing.date_until)
    if narrowing.modalities_in_study:
        wanted.append(Wanted(_holds_series, None, narrowing.modalities_in_study))
    return wanted


def _dated(first: str, last: str) -> list[Wanted]:
    """Return one condition for each end: of two lower ones an index may take the wrong one."""
    if not first and not last:
        return []
    if first == last:
        return [equal(STUDIES.c.study_date, first)]
    # A study without date has no day.
    from_first = at_least(STUDIES.c.study_date, first or _BEFORE_ALL)
    return [from_first, at_most(STUDIES.c.study_date, last)] if last else [from_first]


def _holds_series(_about: None, modalities: Sequence[Any]) -> ColumnElement[bool]:
    of_study = select(1).where(
        SERIES.c.study_uid == STUDIES.c.study_uid,
        SERIES.c.modality.in_(modalities),
        SERIES_OF_STUDY_SHOWN,
    )
    return exists(of_study.correlate(STUDIES))


_SHOWN: Mapping[Level, ColumnElement[bool]] = {
    Level.STUDY: STUDY_SHOWN,
    Level.SERIES: SERIES_SHOWN,
    Level.IMAGE: INSTANCE_SHOWN,
}


def _listed(column: ColumnElement[str], values: Sequence[str]) -> list[Wanted]:
    # Databases bound the number of parameters; a longer list is matched by the asker alone.
    return [among(column, values)] if 0 < len(values) <= MAX_LISTED else []


def _like(dialect: str, column: ColumnElement[str], pattern: str) -> list[Wanted]:
    return is_like(column, pattern, dialect) if pattern else []

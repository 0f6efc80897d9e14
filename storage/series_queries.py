"""Instances of a study, a series or one alone, in reading order, with where their bytes lie."""

import re
from dataclasses import dataclass
from itertools import product

from sqlalchemy import bindparam, select

from storage.engine import Transaction
from storage.hidden import INSTANCE_SHOWN
from storage.journal import Place
from storage.prepared import Prepared
from storage.tables.archive import INSTANCES, SERIES


@dataclass(frozen=True, slots=True)
class Held:
    """One instance and its place: in a pack if `pack_key` says so, else in a journal segment.

    `offset` and `length` are in bytes, `digest` is of the whole Part 10 file; `rows` and `columns`
    are None where it is no image.
    """

    instance_uid: str
    series_uid: str
    study_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    number: str
    rows: int | None
    columns: int | None
    frames: int | None
    digest: str
    length: int
    segment: str | None
    pack_key: str | None
    offset: int

    @property
    def place(self) -> Place:
        """The place in the journal, of one that is not packed yet."""
        return Place(self.segment or "", self.offset, self.length, self.digest)


_INTEGER = re.compile(r"[+-]?[0-9]{1,12}")
_FIELDS = tuple(Held.__dataclass_fields__)
_OF_STUDY = select(
    *(INSTANCES.c[name] for name in _FIELDS), SERIES.c.number.label("series_number")
).join(SERIES, SERIES.c.series_uid == INSTANCES.c.series_uid)
_UIDS = (INSTANCES.c.study_uid, INSTANCES.c.series_uid, INSTANCES.c.instance_uid)


def _of(withdrawn: bool, of_series: bool, of_instance: bool) -> Prepared:
    query = _OF_STUDY if withdrawn else _OF_STUDY.where(INSTANCE_SHOWN)
    for column, named in zip(_UIDS, (True, of_series, of_instance), strict=True):
        query = query.where(column == bindparam(f"of_{column.name}")) if named else query
    return Prepared.on_both(lambda _: query, [f"of_{column.name}" for column in _UIDS])


_STATEMENTS = {which: _of(*which) for which in product((False, True), repeat=3)}


_ONE = Prepared.on_both(
    lambda _: (
        select(*(INSTANCES.c[name] for name in _FIELDS))
        .where(
            INSTANCES.c.study_uid == bindparam("of_study_uid"),
            INSTANCES.c.series_uid == bindparam("of_series_uid"),
            INSTANCE_SHOWN,
        )
        .limit(1)
    ),
    ["of_study_uid", "of_series_uid"],
)


def one_of(tx: Transaction, study_uid: str, series_uid: str) -> Held | None:
    """Return an instance of a series, whichever; None if none of it is shown."""
    return next((Held(*values) for values in tx.rows(_ONE, (study_uid, series_uid))), None)


def held(
    tx: Transaction,
    study_uid: str,
    series_uid: str | None = None,
    instance_uid: str | None = None,
    *,
    withdrawn: bool = False,
) -> list[Held]:
    """Return the instances under one address; by series number, then by instance number.

    `withdrawn` says that those are meant too that are not shown, or of which only the row is left.
    """
    uids = (study_uid, series_uid, instance_uid)
    statement = _STATEMENTS[withdrawn, series_uid is not None, instance_uid is not None]
    found: dict[tuple[str, str], list[Held]] = {}
    for values in tx.rows(statement, uids):
        each = Held(*values[:-1])
        found.setdefault((values[-1], each.series_uid), []).append(each)
    series = sorted(found.items(), key=lambda item: (number_of(item[0][0]), item[0][1]))
    return [each for _, group in series for each in sorted(group, key=_place_in_series)]


def number_of(text: str) -> int:
    """Return what a sender numbered a series or an instance with; 0 where that is no number.

    References
    ----------
    DICOM PS3.5 table 6.2-1, VR IS: digits with a sign, 12 characters at most.
    """
    digits = text.strip()
    return int(digits) if _INTEGER.fullmatch(digits) else 0


def _place_in_series(each: Held) -> tuple[int, str]:
    return number_of(each.number), each.instance_uid

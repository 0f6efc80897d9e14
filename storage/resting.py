"""Studies that may have come to rest: found by what rests, however many are open.

To judge one takes several queries, and thousands may be open while instances arrive.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from sqlalchemy import ColumnElement, Select, case, exists, func, literal, or_, select

from storage import archive
from storage.archive import UNSETTLED_UIDS, Unsettled
from storage.engine import Transaction
from storage.signs import Sign
from storage.tables.archive import INSTANCES, MANIFESTS, STUDIES


@dataclass(frozen=True, slots=True)
class Quiet:
    """How long at least nothing came of a study that has come to rest.

    Parameters
    ----------
    otherwise
        By the AE title of the device that sent it first, where it is not the usual time.
    """

    usual: timedelta
    otherwise: Mapping[str, timedelta]

    @property
    def shortest(self) -> timedelta:
        """The shortest of all."""
        return min((self.usual, *self.otherwise.values()))


def pages(
    tx: Transaction, quiet: Quiet, *, wait: timedelta, told: Select[Any], page: int = 200
) -> Iterator[list[Unsettled]]:
    """Yield, page by page, the unsettled studies that may have come to rest; each of them once.

    Parameters
    ----------
    wait
        After so long a study has waited enough, even if its instances keep coming.
    told
        Selects the studies that may be whole at once, by what was told of them.
    """
    first, last = STUDIES.c.first_arrival_at, STUDIES.c.last_arrival_at
    rested, long_begun = _rested(quiet, tx.at), _begun_by(tx.at - wait)
    yield from archive.pages_of(tx, last <= tx.at - quiet.shortest, rested, page=page)
    yielded: set[str] = set()
    came = _last_arrival() <= tx.at
    for studies in archive.pages_of(tx, came, ~rested, *long_begun, oldest=first, page=page):
        yielded.update(study.study_uid for study in studies)
        yield studies
    for studies in archive.pages_of(tx, last <= tx.at, ~rested, _is_among(told), page=page):
        yield [study for study in studies if study.study_uid not in yielded]


def unsettled(
    tx: Transaction, *, study_uid: str | None = None, limit: int = 200
) -> list[Unsettled]:
    """Return the studies that hold what no manifest does, or one of them; none is locked.

    Those that began to come first are first.
    """
    such = () if study_uid is None else (STUDIES.c.study_uid == study_uid,)
    return next(archive.pages_of(tx, *such, oldest=STUDIES.c.first_arrival_at, page=limit), [])


def at_rest(quiet: timedelta) -> Sign:
    """Return the sign of an unsettled study of which nothing came for a time."""
    return Sign(lambda at: UNSETTLED_UIDS.where(STUDIES.c.last_arrival_at <= at), quiet)


def begun(wait: timedelta) -> Sign:
    """Return the sign of an unsettled study that began to come so long ago."""
    return Sign(lambda at: UNSETTLED_UIDS.where(STUDIES.c.first_arrival_at <= at), wait)


def among(told: Select[Any]) -> Sign:
    """Return the sign of an unsettled study that is among some."""
    return Sign(lambda _at: UNSETTLED_UIDS.where(_is_among(told)))


def _rested(quiet: Quiet, at: datetime) -> ColumnElement[bool]:
    def by_quiet(title: str) -> timedelta:
        return quiet.otherwise[title]

    usual = literal(at - quiet.usual, STUDIES.c.last_arrival_at.type)
    others = [
        (STUDIES.c.station_ae_title.in_(list(titles)), at - time)
        for time, titles in groupby(sorted(quiet.otherwise, key=by_quiet), by_quiet)
    ]
    return _last_arrival() <= (case(*others, else_=usual) if others else usual)


def _begun_by(moment: datetime) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """Of an amendment what no manifest holds counts, as in `held.first_unfrozen`."""
    frozen = (
        select(func.max(MANIFESTS.c.last_received_at))
        .where(MANIFESTS.c.study_uid == STUDIES.c.study_uid)
        .correlate(STUDIES)
        .scalar_subquery()
    )
    unfrozen = exists().where(
        INSTANCES.c.study_uid == STUDIES.c.study_uid,
        INSTANCES.c.received_at <= moment,
        INSTANCES.c.received_at > frozen,
    )
    amended = or_(STUDIES.c.manifest_version == 0, _last_arrival() <= moment, unfrozen)
    return STUDIES.c.first_arrival_at <= moment, amended


def _is_among(told: Select[Any]) -> ColumnElement[bool]:
    (uid,) = told.selected_columns
    return exists(told.where(uid == STUDIES.c.study_uid))


def _last_arrival() -> ColumnElement[datetime]:
    # Not the bare column, whose index would be taken where that of the beginnings finds fewer.
    return func.coalesce(STUDIES.c.last_arrival_at, STUDIES.c.first_arrival_at)

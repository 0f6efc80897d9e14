"""What of the archive is shown: everything but what was withdrawn.

A study or series of which nothing is left is not shown either.  One probe of an index that is
almost empty settles that for nearly all of them.
"""

from sqlalchemy import exists, not_, or_, select

from storage.engine import Transaction
from storage.prepared import UIDS, Prepared, among
from storage.tables.archive import INSTANCES, SERIES, STUDIES

INSTANCE_SHOWN = INSTANCES.c.withdrawn.is_(None)
"""Of a row of instances."""


_GONE, _LEFT = INSTANCES.alias("gone"), INSTANCES.alias("left_of_it")
_OF_GONE = select(1).where(_GONE.c.withdrawn.is_not(None), _GONE.c.study_uid == STUDIES.c.study_uid)
_OF_GONE_SERIES = select(1).where(
    _GONE.c.withdrawn.is_not(None),
    _GONE.c.study_uid == SERIES.c.study_uid,
    _GONE.c.series_uid == SERIES.c.series_uid,
)
_SOME_LEFT = select(1).where(_LEFT.c.withdrawn.is_(None))

STUDY_SHOWN = or_(
    not_(exists(_OF_GONE.correlate(STUDIES))),
    exists(_SOME_LEFT.where(_LEFT.c.study_uid == STUDIES.c.study_uid).correlate(STUDIES)),
)
"""Of a row of studies."""

SERIES_SHOWN = or_(
    not_(exists(_OF_GONE_SERIES.correlate(SERIES))),
    exists(_SOME_LEFT.where(_LEFT.c.series_uid == SERIES.c.series_uid).correlate(SERIES)),
)
"""Of a row of series."""

SERIES_OF_STUDY_SHOWN = or_(not_(exists(_OF_GONE.correlate(STUDIES))), SERIES_SHOWN)
"""Of a row of series beside that of its study: an index alone answers where nothing is gone."""


def is_shown(tx: Transaction, study_uid: str) -> bool:
    """Say whether anything of a study is shown; one that nobody knows is not."""
    found = tx.execute(
        select(STUDIES.c.study_uid).where(STUDIES.c.study_uid == study_uid, STUDY_SHOWN)
    )
    return found.first() is not None


def withdrawn_of(tx: Transaction, study_uid: str) -> list[tuple[str, str, str]]:
    """Return series UID, instance UID and SOP class of what is withdrawn of a study."""
    found = tx.execute(
        select(INSTANCES.c.series_uid, INSTANCES.c.instance_uid, INSTANCES.c.sop_class_uid).where(
            INSTANCES.c.study_uid == study_uid, INSTANCES.c.withdrawn.is_not(None)
        )
    )
    return [(row.series_uid, row.instance_uid, row.sop_class_uid) for row in found]


def hide_some(tx: Transaction, study_uids: list[str]) -> bool:
    """Say whether something of one of some studies is withdrawn."""
    return bool(tx.rows(_GONE_OF_SOME, (study_uids,)))


_GONE_OF_SOME = Prepared.on_both(
    lambda dialect: (
        select(INSTANCES.c.study_uid)
        .where(among(INSTANCES.c.study_uid, dialect), INSTANCES.c.withdrawn.is_not(None))
        .limit(1)
    ),
    (UIDS,),
)

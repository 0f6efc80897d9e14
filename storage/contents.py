"""What studies and series hold, counted in the indexes alone where nothing is hidden."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, bindparam, func, select

from storage import prepared
from storage.hidden import INSTANCE_SHOWN, SERIES_SHOWN, hide_some
from storage.prepared import UIDS, Prepared
from storage.tables.archive import INSTANCES, SERIES
from storage.transaction import Transaction


@dataclass(slots=True)
class Contents:
    """What a patient, study or series holds."""

    studies: int = 0
    series: int = 0
    instances: int = 0
    modalities: set[str] = field(default_factory=set)
    sop_classes: set[str] = field(default_factory=set)


def of_studies(tx: Transaction, study_uids: Sequence[str]) -> dict[str, Contents]:
    """Return modalities, SOP classes and numbers of series and instances by study."""
    held = {uid: Contents(studies=1) for uid in study_uids}
    uids = (list(study_uids),)
    hidden = hide_some(tx, uids[0])  # else counted in the indexes alone
    for uid, modality, number in tx.rows(_SERIES_OF_STUDIES[hidden], uids):
        held[uid].modalities.add(modality)
        held[uid].series += number
    for uid, sop_class_uid, number in tx.rows(_INSTANCES_OF_STUDIES[hidden], uids):
        held[uid].sop_classes.add(sop_class_uid)
        held[uid].instances += number
    return held


def instances_of_series(tx: Transaction, series_uids: Sequence[str]) -> dict[str, int]:
    """Return the number of instances by series."""
    found = tx.execute(_INSTANCES_OF_SERIES, {"uids": list(series_uids)})
    return {row.series_uid: int(row.number) for row in found}


_UIDS: BindParameter[Any] = bindparam("uids", expanding=True)


def _counted(column: ColumnElement[str], shown: ColumnElement[bool] | None) -> Prepared:
    """Count what studies hold, by study and by a column; of that which is shown, if it is said."""
    uid = column.table.c.study_uid
    conditions = [] if shown is None else [shown]
    return Prepared.on_both(
        lambda dialect: (
            select(uid, column, func.count())
            .where(prepared.among(uid, dialect), *conditions)
            .group_by(uid, column)
        ),
        (UIDS,),
    )


# By whether something of the studies is hidden.
_SERIES_OF_STUDIES = {
    False: _counted(SERIES.c.modality, None),
    True: _counted(SERIES.c.modality, SERIES_SHOWN),
}
_INSTANCES_OF_STUDIES = {
    False: _counted(INSTANCES.c.sop_class_uid, None),
    True: _counted(INSTANCES.c.sop_class_uid, INSTANCE_SHOWN),
}
_INSTANCES_OF_SERIES = (
    select(INSTANCES.c.series_uid, func.count().label("number"))
    .where(INSTANCES.c.series_uid.in_(_UIDS), INSTANCE_SHOWN)
    .group_by(INSTANCES.c.series_uid)
)

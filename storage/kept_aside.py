"""What was kept aside because it names another patient than its study, until a correction says.

Whenever a correction may have changed that, what it may concern is marked as due; whether it does
is judged later (`storage.readmission`).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, update

from storage.arrivals import Admission, Conflict
from storage.engine import Transaction
from storage.journal import Place
from storage.tables.archive import ARRIVALS

_AT_ONCE = 400


def keep(
    tx: Transaction, place: Place, *, study_uid: str, patient_ref: str, note: Mapping[str, str]
) -> None:
    """Keep beside an arrival in quarantine what its admission takes, and have it judged once."""
    tx.execute(
        update(ARRIVALS)
        .where(
            ARRIVALS.c.segment == place.segment,
            ARRIVALS.c.offset == place.offset,
            ARRIVALS.c.outcome == Admission.QUARANTINED.value,
        )
        .values(study_uid=study_uid, patient_ref=patient_ref, note=dict(note), due_at=tx.at)
    )


def look_again(tx: Transaction, patient_refs: Iterable[str], study_uids: Iterable[str]) -> None:
    """Have those judged anew that name one of some patients, or are of one of some studies."""
    for column, values in (
        (ARRIVALS.c.patient_ref, sorted(patient_refs)),
        (ARRIVALS.c.study_uid, sorted(study_uids)),
    ):
        for at in range(0, len(values), _AT_ONCE):
            _mark(tx, column, values[at : at + _AT_ONCE])


def _mark(tx: Transaction, column: ColumnElement[Any], values: Sequence[str]) -> None:
    waits = (
        ARRIVALS.c.outcome == Admission.QUARANTINED.value,
        ARRIVALS.c.code == Conflict.OTHER_PATIENT.value,
    )
    tx.execute(update(ARRIVALS).where(column.in_(values), *waits).values(due_at=tx.at))

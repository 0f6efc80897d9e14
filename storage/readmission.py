"""Admission of what was kept aside only because it named another patient than its study.

Once the two are one person by a correction, nothing is wrong with such an instance.  It is judged
with corrections held off, so that none is missed however the two coincide.  The bytes stay where
the quarantine put them: that object becomes a pack of one instance.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, and_, func, insert, null, select, update

from storage import corrections
from storage.arrivals import Admission, Admitted, Conflict, may_be_of
from storage.engine import Transaction
from storage.journal import Place
from storage.signs import Sign
from storage.tables.archive import ARRIVALS, INSTANCES, PACKS, STUDIES

REASON = "by a correction its patient and the study's are one person"
_DUE_LIMIT = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """An arrival in quarantine that may be admitted, and what was noted beside its bytes."""

    place: Place
    object_key: str
    instance_uid: str
    study_uid: str
    patient_ref: str
    note: Mapping[str, str]


_WITHIN_REACH = ARRIVALS.c.object_key.is_not(None)
SIGNS = (Sign(lambda at: select(1).where(ARRIVALS.c.due_at <= at, _WITHIN_REACH)),)


def due(tx: Transaction) -> list[str]:
    """Return those to be judged whose bytes lie where every node can read them."""
    found = tx.execute(
        select(ARRIVALS.c.segment, ARRIVALS.c.offset)
        .where(ARRIVALS.c.due_at <= tx.at, _WITHIN_REACH)
        .order_by(ARRIVALS.c.due_at)
        .limit(_DUE_LIMIT)
    )
    return [f"{row.segment}:{row.offset}" for row in found]


def claim(tx: Transaction, id: str, *, until: datetime) -> Waiting | None:
    """Take one for a time; None if it is not due, or the two are still two persons."""
    corrections.hold(tx)
    segment, _, offset = id.rpartition(":")
    mine = (ARRIVALS.c.segment == segment, ARRIVALS.c.offset == int(offset))
    row = tx.execute(
        update(ARRIVALS)
        .where(*mine, ARRIVALS.c.due_at <= tx.at, ARRIVALS.c.object_key.is_not(None))
        .values(due_at=until)
        .returning(*ARRIVALS.c)
    ).first()
    if row is None:
        return None
    waiting = Waiting(
        place=Place(row.segment, row.offset, row.length, row.digest),
        object_key=row.object_key,
        instance_uid=row.instance_uid,
        study_uid=row.study_uid,
        patient_ref=row.patient_ref,
        note=row.note,
    )
    return waiting if fits(tx, waiting) else None


def fits(tx: Transaction, waiting: Waiting) -> bool:
    """Say whether one can be admitted now; one that cannot waits for the next correction.

    Corrections are held off until the transaction ends.
    """
    corrections.hold(tx)
    quarantined = and_(
        _at(waiting.place),
        ARRIVALS.c.outcome == Admission.QUARANTINED.value,
        ARRIVALS.c.code == Conflict.OTHER_PATIENT.value,
    )
    row = tx.execute(select(ARRIVALS.c.segment).where(quarantined).with_for_update()).first()
    owner = func.coalesce(STUDIES.c.received_patient_ref, STUDIES.c.patient_ref)
    whose = tx.execute(select(owner).where(STUDIES.c.study_uid == waiting.study_uid)).scalar()
    fit = (
        row is not None
        and whose is not None
        and may_be_of(tx, waiting.study_uid, whose, waiting.patient_ref)
    )
    if not fit:
        _wait(tx, waiting)
    return fit


def settle(tx: Transaction, waiting: Waiting, admitted: Admitted, *, node: str) -> None:
    """Note what became of one that was admitted anew, in the same transaction."""
    if admitted.admission is Admission.STORED:
        _point(tx, waiting, node)
    conflict = admitted.conflict
    said = REASON if conflict is None else conflict.sentence
    tx.execute(
        update(ARRIVALS)
        .where(_at(waiting.place))
        .values(
            outcome=admitted.admission.value,
            code=None if conflict is None else conflict.value,
            reason=said,
        )
    )
    _wait(tx, waiting)


def _wait(tx: Transaction, waiting: Waiting) -> None:
    tx.execute(update(ARRIVALS).where(_at(waiting.place)).values(due_at=null()))


def _point(tx: Transaction, waiting: Waiting, node: str) -> None:
    """Let the index point to the bytes in quarantine as to a pack of this one instance."""
    place, key = waiting.place, waiting.object_key
    tx.execute(
        update(INSTANCES)
        .where(
            INSTANCES.c.instance_uid == waiting.instance_uid,
            INSTANCES.c.segment == place.segment,
            INSTANCES.c.offset == place.offset,
        )
        .values(segment=None, pack_key=key, offset=0)
    )
    held = tx.execute(select(PACKS.c.pack_key).where(PACKS.c.pack_key == key)).first()
    if held is None:
        tx.execute(
            insert(PACKS).values(
                pack_key=key,
                study_uid=waiting.study_uid,
                node=node,
                digest=place.digest,
                length=place.length,
                instances=1,
                packed_at=tx.at,
            )
        )


def _at(place: Place) -> ColumnElement[bool]:
    return and_(ARRIVALS.c.segment == place.segment, ARRIVALS.c.offset == place.offset)

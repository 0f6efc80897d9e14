"""What the archive holds of a study, as far as judging whether it is whole needs to know."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, select

from storage.engine import Transaction
from storage.tables.archive import INSTANCES, MANIFESTS

_AT_ONCE = 400


def uids_of(tx: Transaction, study_uid: str) -> frozenset[str]:
    """Return the instances that are here of a study."""
    found = tx.execute(select(INSTANCES.c.instance_uid).where(INSTANCES.c.study_uid == study_uid))
    return frozenset(found.scalars())


def arrivals_of(tx: Transaction, study_uid: str) -> list[datetime]:
    """Return when the instances of a study came, in no order."""
    found = tx.execute(select(INSTANCES.c.received_at).where(INSTANCES.c.study_uid == study_uid))
    return list(found.scalars())


def studies_of(tx: Transaction, instance_uids: Sequence[str]) -> frozenset[str]:
    """Return the studies of those of some instances that are here."""
    found: set[str] = set()
    for at in range(0, len(instance_uids), _AT_ONCE):
        some = instance_uids[at : at + _AT_ONCE]
        wanted = select(INSTANCES.c.study_uid).where(INSTANCES.c.instance_uid.in_(some)).distinct()
        found.update(tx.execute(wanted).scalars())
    return frozenset(found)


def first_unfrozen(tx: Transaction, study_uid: str) -> datetime | None:
    """Return when the first instance came that no manifest of the study holds."""
    frozen = select(func.max(MANIFESTS.c.last_received_at)).where(
        MANIFESTS.c.study_uid == study_uid
    )
    found = tx.execute(
        select(INSTANCES.c.received_at)
        .where(
            INSTANCES.c.study_uid == study_uid, INSTANCES.c.received_at > frozen.scalar_subquery()
        )
        .order_by(INSTANCES.c.received_at)
        .limit(1)
    )
    return found.scalar()

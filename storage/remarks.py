"""Remarks: what is odd in instances that are archived all the same, for people to know."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select

from storage import claims
from storage.engine import Transaction
from storage.insertion import insert_into
from storage.signs import due_by
from storage.tables.archive import EXAMINATIONS, INSTANCES, REMARKS

_DUE_AT_ONCE = 20


@dataclass(frozen=True, slots=True)
class Noted:
    """One kind of oddity within a study: its constant code, and how many instances have it."""

    code: str
    instances: int
    first_at: datetime


def note(tx: Transaction, remarks: Iterable[tuple[str, str]]) -> None:
    """Keep pairs of instance UID and code; what is known already stays as it is."""
    rows = [{"instance_uid": uid, "code": code, "noted_at": tx.at} for uid, code in sorted(remarks)]
    if rows:
        tx.execute(insert_into(tx, REMARKS).on_conflict_do_nothing(), rows)


def of_study(tx: Transaction, study_uid: str) -> tuple[Noted, ...]:
    """Return what is odd in a study, the most frequent first."""
    count = func.count().label("instances")
    rows = tx.execute(
        select(REMARKS.c.code, count, func.min(REMARKS.c.noted_at).label("first_at"))
        .join(INSTANCES, INSTANCES.c.instance_uid == REMARKS.c.instance_uid)
        .where(INSTANCES.c.study_uid == study_uid)
        .group_by(REMARKS.c.code)
        .order_by(count.desc(), REMARKS.c.code)
    )
    return tuple(Noted(row.code, row.instances, row.first_at) for row in rows)


def ask_for(tx: Transaction, study_uid: str) -> None:
    """Have a study examined, however often it is asked for."""
    asked = insert_into(tx, EXAMINATIONS).values(study_uid=study_uid, asked_at=tx.at, due_at=tx.at)
    again = {"asked_at": tx.at, "due_at": tx.at}
    tx.execute(asked.on_conflict_do_update(index_elements=["study_uid"], set_=again))


SIGNS = (due_by(EXAMINATIONS.c.due_at),)


def due(tx: Transaction) -> list[str]:
    """Return studies that wait to be examined."""
    return claims.due(tx, EXAMINATIONS.c.study_uid, limit=_DUE_AT_ONCE)


def claim(tx: Transaction, study_uid: str, *, lease: timedelta) -> datetime | None:
    """Take an examination for a time; return when it was asked for, None if another has it."""
    taken = claims.claim(tx, EXAMINATIONS.c.study_uid, study_uid, until=tx.at + lease)
    return None if taken is None else taken["asked_at"]


def done(tx: Transaction, study_uid: str, *, asked_at: datetime) -> None:
    """Strike an examination off, unless it was asked for again meanwhile."""
    tx.execute(
        delete(EXAMINATIONS).where(
            EXAMINATIONS.c.study_uid == study_uid, EXAMINATIONS.c.asked_at == asked_at
        )
    )

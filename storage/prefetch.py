"""Priors at hand: when a case opens, the packs of the patient's earlier studies are fetched.

It never delays the case: what was asked is a row, and a store that does not answer is tried again
a few times and then left to whoever opens the study.
"""

from collections.abc import Iterable, Sequence
from datetime import date, timedelta

from sqlalchemy import delete, select

from kernel.days import digits_of
from kernel.facts import CaseOpened, Fact
from storage import claims
from storage.cache import PackCache
from storage.engine import Database, Transaction
from storage.hidden import STUDY_SHOWN
from storage.insertion import insert_into
from storage.objects import ObjectMissing
from storage.priors import study_day, whose
from storage.signs import due_by
from storage.tables.archive import PACKS, STUDIES
from storage.tables.prefetch import PREFETCHES
from storage.work import DueWork, Reactions

CONSUMER = "storage.prefetch"
MAX_PRIORS = 5
OLDEST = timedelta(days=5 * 365)
ATTEMPTS = 3
LEASE = timedelta(minutes=10)
_DUE_LIMIT = 20
_FIRST_DAY = date.min
"""Some devices write it where they know no day."""


def reactions() -> Reactions:
    """Return how storage reacts to a case that opens."""
    return {CONSUMER: {CaseOpened: _opened}}


def priors(tx: Transaction, study_uid: str) -> list[str]:
    """Return the latest earlier studies of the patient of a study, as it is shown now."""
    patient_ref = whose(tx, study_uid)
    if patient_ref is None:
        return []
    day = study_day(tx, study_uid)
    oldest = day - OLDEST if day > _FIRST_DAY + OLDEST else _FIRST_DAY
    earlier = (
        select(STUDIES.c.study_uid)
        .where(
            STUDIES.c.patient_ref == patient_ref,
            STUDIES.c.study_uid != study_uid,
            STUDIES.c.study_date >= digits_of(oldest),
            STUDY_SHOWN,
        )
        .order_by(STUDIES.c.study_date.desc(), STUDIES.c.study_uid)
        .limit(MAX_PRIORS)
    )
    return list(tx.execute(earlier).scalars())


class Prefetch:
    """Fetches the packs that were asked for to the machine that it runs on."""

    def __init__(self, database: Database, cache: PackCache) -> None:
        self._database = database
        self._cache = cache

    def due_work(self) -> Sequence[DueWork]:
        """Return what the relay drives."""
        return [
            DueWork(
                name="storage.prefetch",
                queue="default",
                due=self.due,
                run=self.fetch,
                signs=(due_by(PREFETCHES.c.due_at),),
            ),
        ]

    def due(self, tx: Transaction) -> list[str]:
        """Return the studies that are to be fetched now."""
        return claims.due(tx, PREFETCHES.c.study_uid, limit=_DUE_LIMIT)

    def fetch(self, study_uid: str) -> None:
        """Have the packs of a study at hand; called again, it finds them there."""
        with self._database.transaction() as tx:
            if not _claimed(tx, study_uid):
                return
            keys = list(
                tx.execute(select(PACKS.c.pack_key).where(PACKS.c.study_uid == study_uid)).scalars()
            )
        try:
            for key in keys:
                self._cache.fetch(key)
        except ObjectMissing:
            pass  # the pack is gone: there is nothing to be at hand
        with self._database.transaction() as tx:
            tx.execute(delete(PREFETCHES).where(PREFETCHES.c.study_uid == study_uid))


def _opened(tx: Transaction, fact: Fact) -> None:
    assert isinstance(fact, CaseOpened)
    _ask(tx, [fact.study_uid, *priors(tx, fact.study_uid)])


def _ask(tx: Transaction, study_uids: Iterable[str]) -> None:
    rows = [{"study_uid": uid, "attempts": 0, "due_at": tx.at} for uid in sorted(study_uids)]
    tx.execute(insert_into(tx, PREFETCHES).on_conflict_do_nothing(), rows)


def _claimed(tx: Transaction, study_uid: str) -> bool:
    tx.execute(
        delete(PREFETCHES).where(
            PREFETCHES.c.study_uid == study_uid, PREFETCHES.c.attempts >= ATTEMPTS
        )
    )
    taken = claims.claim(tx, PREFETCHES.c.study_uid, study_uid, until=tx.at + LEASE)
    return taken is not None

"""Many nodes on one PostgreSQL: rows are locked in one order, and what locks up is made anew."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import pytest
from sqlalchemy import Select, select, text

from kernel.people import Actor, Role
from storage import archive, corrections, withdrawals
from storage.arrivals import Arrived
from storage.contention import ATTEMPTS, Contended, made_anew
from storage.engine import Database, Transaction
from storage.journal import Place
from storage.tables.archive import STUDIES
from storage.tables.withdrawals import WITHDRAWALS
from tests.storage.lock_waits import until_waiting
from tests.storage.purging import GONE, STUDY, Yard
from tests.storage.test_archive import new_instance

BY = Actor("user:clerk", Role.ADMINISTRATOR)
FIRST, SECOND = "1.2.3", "1.2.4"


@pytest.fixture
def base(postgresql_url: str) -> Iterator[Database]:
    database = Database(postgresql_url)
    yield database
    database.dispose()


def group(tx: Transaction, *instances: tuple[str, str]) -> list[Arrived]:
    """Return pairs of instance and study as one group of arrivals."""
    return [
        (
            new_instance(tx, uid, study, patient_id="P2"),
            Place("n1-s.seg", int(uid.replace(".", "")), 10, uid),
        )
        for uid, study in instances
    ]


def study(uid: str) -> Select[tuple[str]]:
    return select(STUDIES.c.study_uid).where(STUDIES.c.study_uid == uid)


@pytest.mark.service
def test_a_group_of_two_studies_comes_while_their_patient_is_merged(base: Database) -> None:
    with base.transaction() as tx:
        stays = new_instance(tx, "1.9", "1.9", patient_id="P1").patient_ref
        goes = new_instance(tx, "1.9", "1.9", patient_id="P2").patient_ref
        known = archive.Known()  # as a node has it to which both studies come already
        archive.admit_many(tx, group(tx, ("1.1", FIRST), ("1.2", SECOND)), known=known)
        # The instance of the second study has the lower UID.
        arrivals = group(tx, ("2.1", SECOND), ("2.2", FIRST))
    known.confirm()

    def merge() -> None:
        with base.transaction() as tx:
            corrections.merge(tx, goes, stays, reason="one person", actor=BY)

    def come() -> list[archive.Admitted]:
        with base.transaction() as tx:
            return archive.admit_many(tx, arrivals, known=known)

    with ThreadPoolExecutor(2) as pool:
        with base.transaction() as tx:
            tx.execute(study(SECOND).with_for_update(key_share=True))  # so that both are under way
            merging = pool.submit(merge)
            until_waiting(base, merging)
            coming = pool.submit(come)
            until_waiting(base, merging, coming)
        merging.result()
        assert [each.conflict for each in coming.result()] == [None, None]


@pytest.mark.service
def test_a_study_is_restored_while_it_is_purged(postgresql_url: str, tmp_path: Path) -> None:
    base = Database(postgresql_url)
    yard = Yard(tmp_path, base)
    yard.fill()
    number = yard.withdraw(GONE).number

    def restore() -> None:
        with base.transaction() as tx:
            withdrawals.restore(tx, number, actor=BY)

    with ThreadPoolExecutor(1) as pool:
        with base.transaction() as tx:  # as the purge does
            tx.execute(study(STUDY).with_for_update())
            restoring = pool.submit(restore)
            until_waiting(base, restoring)
            mine = WITHDRAWALS.c.number == number
            tx.execute(select(WITHDRAWALS.c.number).where(mine).with_for_update())
        restoring.result()
    assert yard.room.archive.read(GONE)
    base.dispose()


@pytest.mark.service
def test_what_others_lock_up_is_made_anew(base: Database) -> None:
    with base.transaction() as tx:
        archive.admit_many(tx, group(tx, ("1.1", FIRST), ("1.2", SECOND)))
    begun: list[int] = []

    def one_after_the_other(tx: Transaction) -> None:
        begun.append(1)
        if len(begun) == 1:
            tx.execute(text("SET LOCAL deadlock_timeout = '100ms'"))  # so that this one is ended
        tx.execute(study(FIRST).with_for_update())
        tx.execute(study(SECOND).with_for_update())

    with ThreadPoolExecutor(1) as pool:
        with base.transaction() as tx:
            tx.execute(study(SECOND).with_for_update())
            tx.execute(text("SET LOCAL deadlock_timeout = '1min'"))
            running = pool.submit(base.run, one_after_the_other)
            until_waiting(base, running)
            tx.execute(study(FIRST).with_for_update())
        running.result()
    assert len(begun) > 1


def test_what_is_locked_up_each_time_says_so_in_the_end() -> None:
    made: list[int] = []

    def locked_up(_: None) -> None:
        made.append(1)
        raise Contended("other transactions locked this one up: nothing was stored")

    with pytest.raises(Contended):
        made_anew(nullcontext, locked_up)
    assert len(made) == ATTEMPTS

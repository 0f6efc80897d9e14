"""Purge: not before its time, nothing lost that stays, nothing left that goes, killed anywhere."""

import io
import signal
import subprocess
import sys
import zipfile
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from storage import archive, audit, purge, series_queries, withdrawals
from storage.archive import Admission, InstanceWithdrawn
from storage.digests import MAX_DIGEST
from storage.engine import Database
from storage.instance_file import chunks, whole
from storage.packs import verify_packs
from storage.retention import WithdrawalUnknown
from storage.tables.archive import INSTANCES
from tests.services.migrated import migrate
from tests.storage.purging import BODIES, BY, GONE, GRACE, STAYING, STUDY, Yard
from tests.storage.test_archive import AT

SECOND = timedelta(seconds=1)


@pytest.fixture
def yard(each_database: Database, tmp_path: Path) -> Yard:
    yard = Yard(tmp_path, each_database)
    yard.fill()
    return yard


class Left(Exception):
    """The purge was left before a step."""


def require_sound(yard: Yard) -> None:
    """Require that all that stays is served and what goes is shown nowhere."""
    for uid in STAYING:
        assert yard.room.archive.read(uid) == BODIES[uid]
    with pytest.raises(InstanceWithdrawn):
        yard.room.archive.read(GONE)
    assert list(yard.room.archive.verify()) == []
    assert list(verify_packs(yard.room.database, yard.objects)) == []
    with yard.room.database.reading() as tx:
        assert list(purge.verify(tx)) == []
        assert list(archive.verify_manifests(tx)) == []


def require_purged(yard: Yard) -> None:
    """Require that of what went only the row is left, in the index and in one pack."""
    require_sound(yard)
    assert yard.room.archive.read_kept(GONE) is None
    assert not yard.holds(BODIES[GONE])
    (pack,) = yard.files()
    with zipfile.ZipFile(io.BytesIO(pack.read_bytes())) as found:
        assert found.testzip() is None
        assert found.namelist() == [f"{uid}.dcm" for uid in STAYING]
    with yard.room.database.reading() as tx:
        (made,) = withdrawals.listed(tx, study_uid=STUDY)
        tombstone = tx.execute(
            select(INSTANCES.c.digest, INSTANCES.c.withdrawn).where(
                INSTANCES.c.instance_uid == GONE
            )
        ).one()
        purged = [entry for entry in audit.latest(tx) if entry.action == "study.purged"]
    assert made.purged_at is not None
    assert (len(tombstone.digest), tombstone.withdrawn) == (MAX_DIGEST, made.number)
    assert [entry.detail["withdrawn_by"] for entry in purged] == [BY.ref]


def test_nothing_is_purged_before_its_time_and_all_of_it_then(yard: Yard) -> None:
    made = yard.withdraw(GONE)
    yard.clock.now = AT + GRACE - SECOND
    yard.work()
    assert yard.holds(BODIES[GONE])
    yard.clock.now = AT + GRACE
    yard.work()
    assert len(yard.files()) == 2, "readers of the old pack may end"
    require_sound(yard)
    yard.clock.now += timedelta(hours=1)
    yard.work()
    require_purged(yard)
    with pytest.raises(WithdrawalUnknown), yard.room.database.transaction() as tx:
        withdrawals.restore(tx, made.number, actor=BY)


def test_what_was_restored_is_not_purged(yard: Yard) -> None:
    made = yard.withdraw(GONE)
    with yard.room.database.transaction() as tx:
        withdrawals.restore(tx, made.number, actor=BY)
    yard.clock.now = AT + 10 * GRACE
    assert yard.due() == []
    yard.purger.purge(str(made.number))
    assert yard.room.archive.read(GONE) == BODIES[GONE]


def test_a_hold_and_an_open_case_keep_from_purging_until_they_end(yard: Yard) -> None:
    yard.withdraw(GONE)
    yard.clock.now = AT + GRACE
    with yard.room.database.transaction() as tx:
        withdrawals.hold(tx, STUDY, reason="court order", actor=BY)
    yard.work()
    assert yard.due() == []
    yard.clock.now += timedelta(days=1)
    with yard.room.database.transaction() as tx:
        withdrawals.release(tx, STUDY, reason="over", actor=BY)
    yard.open_cases = ("c-1",)
    yard.work()
    assert yard.room.archive.read_kept(GONE) == BODIES[GONE]
    yard.open_cases = ()
    for _ in range(2):
        yard.clock.now += timedelta(days=1)
        yard.work()
    require_purged(yard)


def test_a_whole_study_leaves_no_pack(yard: Yard) -> None:
    yard.withdraw()
    for days in (30, 31):
        yard.clock.now = AT + timedelta(days=days)
        yard.work()
    assert yard.files() == []
    assert yard.room.receive(GONE, BODIES[GONE]) is Admission.QUARANTINED
    with yard.room.database.reading() as tx:
        assert list(purge.verify(tx)) == []
        assert len(series_queries.held(tx, STUDY, withdrawn=True)) == 3
        assert series_queries.held(tx, STUDY) == []


def test_a_reader_that_found_the_old_pack_is_served_from_the_new(yard: Yard) -> None:
    yard.withdraw(GONE)
    with yard.room.database.reading() as tx:
        found = series_queries.held(tx, STUDY)
        (going,) = (
            each
            for each in series_queries.held(tx, STUDY, withdrawn=True)
            if each.instance_uid == GONE
        )
    for days in (30, 31):
        yard.clock.now = AT + timedelta(days=days)
        yard.work()
    for each in found:
        assert whole(yard.room.archive, each) == BODIES[each.instance_uid]
        assert b"".join(chunks(yard.room.archive, each)) == BODIES[each.instance_uid]
    with pytest.raises(InstanceWithdrawn):
        whole(yard.room.archive, going)


def test_what_lies_in_the_journal_is_packed_and_purged(tmp_path: Path, database: Database) -> None:
    yard = Yard(tmp_path, database)
    yard.fill(packed=False)
    yard.withdraw(GONE)
    for days in (30, 31):
        yard.clock.now = AT + timedelta(days=days)
        yard.work()
    require_purged(yard)
    yard.room.journal.close()
    assert len(yard.room.packer.free_segments()) == 1


def test_a_pack_that_was_made_while_its_instance_was_purged_is_purged_too(
    tmp_path: Path, database: Database
) -> None:
    yard = Yard(tmp_path, database)
    yard.fill(packed=False)
    packer = yard.room.packer
    late = packer.put(STUDY, packer._members(STUDY)[:2], packer._pieces)
    yard.withdraw(GONE)
    for days in (30, 31):
        yard.clock.now = AT + timedelta(days=days)
        yard.work()
    packer._point(STUDY, late)
    for days in (32, 33):
        yard.clock.now = AT + timedelta(days=days)
        yard.work()
    assert not yard.holds(BODIES[GONE])
    require_sound(yard)


def test_a_purge_left_before_any_step_loses_nothing_and_is_done_again(tmp_path: Path) -> None:
    def leave() -> None:
        raise Left

    for step in range(1, 100):
        folder = tmp_path / str(step)
        folder.mkdir()
        database = Database(f"sqlite:///{folder / 'telerad.db'}")
        migrate(database)
        yard = Yard(folder, database)
        yard.fill()
        yard.withdraw(GONE)
        yard.clock.now = AT + GRACE
        yard.steps.taken, yard.steps.last, yard.steps.act = 0, step, leave
        ended = False
        try:
            for days in (0, 1):
                yard.clock.now = AT + GRACE + timedelta(days=days)
                yard.work()
            ended = True
        except Left:
            pass
        yard.steps.last = 0
        require_sound(yard)
        for days in (2, 4, 6, 8):
            yard.clock.now = AT + GRACE + timedelta(days=days)
            yard.work()
        require_purged(yard)
        database.dispose()
        if ended:
            break
    assert step > 10


@pytest.mark.parametrize("step", [2, 4, 6, 8, 9, 10, 11, 12, 14, 16])
def test_a_purge_that_is_killed_loses_nothing_and_is_done_again(tmp_path: Path, step: int) -> None:
    database = Database(f"sqlite:///{tmp_path / 'telerad.db'}")
    migrate(database)
    yard = Yard(tmp_path, database)
    yard.fill()
    yard.withdraw(GONE)
    yard.room.journal.close()
    victim = [sys.executable, "-m", "tests.storage.purging", str(tmp_path), str(step)]
    done = subprocess.run(victim, timeout=60)
    assert done.returncode == -signal.SIGKILL
    yard = Yard(tmp_path, database)
    yard.clock.now = AT + timedelta(days=100)
    require_sound(yard)
    for days in (400, 402, 404, 406):
        yard.clock.now = AT + timedelta(days=days)
        yard.work()
    require_purged(yard)
    database.dispose()

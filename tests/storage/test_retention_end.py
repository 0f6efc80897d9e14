"""Retention that ended is proposed, never early, never what is held; it goes when decided."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

from kernel.people import ENGINE, Actor, Role
from storage import audit, hidden, retention_end, withdrawals
from storage.engine import Database, Transaction
from storage.retention import Keeping, Reason, Retention, UnderHold, years_later
from storage.retention_end import Ending, EndState, NotProposed, RetentionEnds
from storage.tables.archive import STUDIES
from tests.storage.test_archive import AT, Room

BY = Actor("user:admin", Role.ADMINISTRATOR)
KEPT = Retention(years=5, by_modality={"MG": 8}, by_organisation={"van": 3})
YEAR = timedelta(days=366)


class Clock:
    now = AT

    def __call__(self) -> datetime:
        return self.now


class Yard:
    """An archive with studies of some ages, looked at by hand."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.clock = database.clock = Clock()
        self.database = database
        self.room = Room(database, folder)
        self.open_cases: dict[str, tuple[str, ...]] = {}
        self.modalities: dict[str, tuple[str, ...]] = {}
        self.retention = KEPT

    def study(self, uid: str, came: datetime, *modalities: str) -> None:
        self.room.receive(f"{uid}.1.1", uid.encode(), study=uid)
        self.room.freeze(uid)
        self.modalities[uid] = modalities or ("CT",)
        with self.database.transaction() as tx:
            aged = update(STUDIES).where(STUDIES.c.study_uid == uid)
            tx.execute(aged.values(first_arrival_at=came, last_arrival_at=came))

    def keeping(self, tx: Transaction, study_uid: str) -> Keeping:
        arrived = select(STUDIES.c.last_arrival_at).where(STUDIES.c.study_uid == study_uid)
        return Keeping(
            study_uid=study_uid,
            owner="van" if study_uid.startswith("9.") else "east",
            modalities=self.modalities[study_uid],
            last_arrival_at=tx.execute(arrived).scalar_one(),
            held=withdrawals.is_held(tx, study_uid),
            open_cases=self.open_cases.get(study_uid, ()),
        )

    def drive(self, ending: Ending = Ending.PROPOSE) -> int:
        work = RetentionEnds(self.database, self.retention, ending=ending, keeping_of=self.keeping)
        done = 0
        while True:
            with self.database.reading() as tx:
                due = work.due(tx)
            if not due:
                return done
            for uid in due:
                work.look(uid)
                work.look(uid)  # nothing is looked at twice
                done += 1

    def listed(self) -> dict[str, EndState]:
        with self.database.reading() as tx:
            assert retention_end.counted(tx) == len(retention_end.listed(tx))
            return {each.study_uid: each.state for each in retention_end.listed(tx)}

    def withdraw(self, uid: str) -> None:
        with self.database.transaction() as tx:
            retention_end.withdraw(tx, uid, self.retention, keeping_of=self.keeping, actor=BY)

    def restore(self, uid: str, *, years: int | None = None) -> None:
        with self.database.transaction() as tx:
            (made,) = withdrawals.open_ones(tx, uid)
            retention_end.restore(
                tx, made.number, self.retention, keeping_of=self.keeping, actor=BY, years=years
            )

    def pass_years(self, years: int, ending: Ending) -> None:
        for _ in range(4 * years):
            self.clock.now += YEAR / 4
            self.drive(ending)

    def shown(self, uid: str) -> bool:
        with self.database.reading() as tx:
            return hidden.is_shown(tx, uid)

    def audited(self) -> list[str]:
        with self.database.reading() as tx:
            return [each.action for each in reversed(audit.latest(tx))]


@pytest.fixture
def yard(each_database: Database, tmp_path: Path) -> Yard:
    return Yard(each_database, tmp_path)


def test_only_what_is_over_is_proposed_and_nothing_goes(yard: Yard) -> None:
    yard.study("1.1", AT - 6 * YEAR)
    yard.study("1.2", AT - 4 * YEAR)
    yard.study("1.3", AT - 6 * YEAR, "CT", "MG")
    yard.study("9.1", AT - 4 * YEAR)
    yard.study("9.2", AT - 2 * YEAR)
    assert yard.drive() == 4  # the youngest can be over by no figure
    assert yard.listed() == {"1.1": EndState.PROPOSED, "9.1": EndState.PROPOSED}
    assert yard.drive() == 0
    assert all(yard.shown(uid) for uid in yard.modalities)
    assert yard.audited().count("study.retention_over") == 2


def test_retention_ends_on_its_day(yard: Yard) -> None:
    came = AT - YEAR
    yard.study("1.1", came)
    ends = years_later(came, 5)
    yard.clock.now = ends - timedelta(seconds=1)
    yard.drive()
    assert yard.listed() == {}
    yard.clock.now = ends
    yard.drive()
    assert yard.listed() == {"1.1": EndState.PROPOSED}


def test_a_hold_or_an_open_case_keeps_it_and_says_so(yard: Yard) -> None:
    for uid in ("1.1", "1.2"):
        yard.study(uid, AT - 6 * YEAR)
    yard.open_cases["1.2"] = ("c-1",)
    with yard.database.transaction() as tx:
        withdrawals.hold(tx, "1.1", reason="court order", actor=BY)
    yard.drive(Ending.WITHDRAW)
    assert yard.listed() == dict.fromkeys(("1.1", "1.2"), EndState.HELD_BACK)
    with yard.database.reading() as tx:
        assert {each.study_uid: each.code for each in retention_end.listed(tx)} == {
            "1.1": "retention.under_hold",
            "1.2": "retention.open_in_case",
        }
    with pytest.raises(UnderHold):
        yard.withdraw("1.1")
    yard.open_cases.clear()
    yard.clock.now += timedelta(days=2)
    yard.drive()
    assert yard.listed() == {"1.1": EndState.HELD_BACK, "1.2": EndState.PROPOSED}


def test_a_person_withdraws_what_was_proposed_and_can_bring_it_back(yard: Yard) -> None:
    yard.study("1.1", AT - 6 * YEAR)
    with pytest.raises(NotProposed):
        yard.withdraw("1.1")
    yard.drive()
    yard.withdraw("1.1")
    assert (yard.listed(), yard.shown("1.1")) == ({}, False)
    with pytest.raises(NotProposed):
        yard.withdraw("1.1")
    with yard.database.transaction() as tx:
        (made,) = withdrawals.open_ones(tx, "1.1")
        assert (made.reason, made.actor) == ("113039", "user:admin")
        assert made.purge_at == made.withdrawn_at + KEPT.grace
    yard.restore("1.1")
    assert (yard.listed(), yard.shown("1.1")) == ({"1.1": EndState.RESTORED}, True)


def test_a_study_that_grew_or_was_put_under_hold_since_is_not_withdrawn(yard: Yard) -> None:
    yard.study("1.1", AT - 6 * YEAR)
    yard.drive()
    with yard.database.transaction() as tx:
        tx.execute(update(STUDIES).values(last_arrival_at=AT))
    with pytest.raises(Exception, match="kept until"):
        yard.withdraw("1.1")
    assert yard.shown("1.1")
    yard.clock.now += timedelta(days=2)
    yard.drive()
    assert yard.listed() == {}


def test_a_person_keeps_it_for_longer(yard: Yard) -> None:
    yard.study("1.1", AT - 6 * YEAR)
    yard.drive()
    with yard.database.transaction() as tx:
        retention_end.prolong(tx, "1.1", years=2, reason="a study runs", actor=BY)
    yard.clock.now += YEAR
    yard.drive(Ending.WITHDRAW)
    assert (yard.listed(), yard.shown("1.1")) == ({}, True)
    yard.clock.now += YEAR
    yard.drive()
    assert yard.listed() == {"1.1": EndState.PROPOSED}
    assert yard.audited().count("study.retention_prolonged") == 1


def test_the_setting_has_the_engine_withdraw_and_never_purge_before_the_grace(
    yard: Yard,
) -> None:
    yard.study("1.1", AT - 6 * YEAR)
    yard.study("1.2", AT - 4 * YEAR)
    yard.drive(Ending.WITHDRAW)
    assert (yard.shown("1.1"), yard.shown("1.2")) == (False, True)
    with yard.database.reading() as tx:
        (made,) = withdrawals.listed(tx)
    assert (made.study_uid, made.actor, made.can_be_restored) == ("1.1", ENGINE.ref, True)
    assert "study.withdrawn" in yard.audited()


def test_shorter_figures_are_noticed(yard: Yard) -> None:
    yard.study("1.1", AT - 6 * YEAR, "MG")
    yard.drive()
    assert yard.listed() == {}
    yard.retention = Retention(years=5)
    yard.clock.now += timedelta(days=91)
    yard.drive()
    assert yard.listed() == {"1.1": EndState.PROPOSED}


def test_the_walk_through_many_that_came_at_once_misses_none(yard: Yard) -> None:
    for number in range(50):
        yard.study(f"1.{number}", AT - (6 if number % 3 else 7) * YEAR)
    assert yard.drive() == 50
    assert len(yard.listed()) == 50
    yard.study("1.99", AT - 5 * YEAR - timedelta(days=30))
    assert yard.drive() == 1


@pytest.mark.parametrize("ending", Ending)
def test_what_a_person_brought_back_stays_and_says_who_it_was(yard: Yard, ending: Ending) -> None:
    yard.study("1.1", AT - 6 * YEAR)
    yard.drive(Ending.WITHDRAW)
    assert not yard.shown("1.1")
    yard.clock.now += timedelta(days=2)
    yard.restore("1.1")
    yard.pass_years(4, ending)

    assert (yard.listed(), yard.shown("1.1")) == ({"1.1": EndState.RESTORED}, True)
    with yard.database.reading() as tx:
        (told,) = retention_end.listed(tx)
    assert told.sentence == (
        f"Brought back by user:admin on {AT + timedelta(days=2):%Y-%m-%d}:"
        " it stays until a person withdraws it."
    )
    yard.withdraw("1.1")
    assert not yard.shown("1.1")


def test_a_person_may_say_for_how_long_what_was_brought_back_stays(yard: Yard) -> None:
    yard.study("1.1", AT - 6 * YEAR)
    yard.drive(Ending.WITHDRAW)
    yard.restore("1.1", years=3)
    yard.pass_years(2, Ending.WITHDRAW)
    assert yard.shown("1.1")
    yard.pass_years(2, Ending.PROPOSE)
    assert yard.listed() == {"1.1": EndState.PROPOSED}
    yard.pass_years(1, Ending.WITHDRAW)
    assert not yard.shown("1.1")


def test_who_brought_it_back_may_name_the_day_later(yard: Yard) -> None:
    yard.study("1.1", AT - 6 * YEAR)
    yard.drive(Ending.WITHDRAW)
    yard.restore("1.1")
    with yard.database.transaction() as tx:
        retention_end.prolong(tx, "1.1", years=1, reason="a study runs", actor=BY)
    yard.pass_years(2, Ending.PROPOSE)
    assert yard.listed() == {"1.1": EndState.PROPOSED}


def test_a_hold_is_told_of_and_ends_as_it_was_brought_back(yard: Yard) -> None:
    yard.study("1.1", AT - 6 * YEAR)
    yard.drive(Ending.WITHDRAW)
    yard.restore("1.1")
    with yard.database.transaction() as tx:
        withdrawals.hold(tx, "1.1", reason="court order", actor=BY)
    yard.pass_years(1, Ending.WITHDRAW)
    assert yard.listed() == {"1.1": EndState.HELD_BACK}
    with yard.database.transaction() as tx:
        withdrawals.release(tx, "1.1", reason="it is over", actor=BY)
    yard.pass_years(1, Ending.WITHDRAW)
    assert yard.listed() == {"1.1": EndState.RESTORED}


def test_what_was_taken_back_for_another_reason_is_proposed_like_any_other(yard: Yard) -> None:
    yard.study("1.1", AT - 6 * YEAR)
    with yard.database.transaction() as tx:
        made = withdrawals.withdraw(tx, yard.keeping(tx, "1.1"), Reason.QUALITY, KEPT, actor=BY)
        retention_end.restore(tx, made.number, KEPT, keeping_of=yard.keeping, actor=BY)
    yard.drive()
    assert yard.listed() == {"1.1": EndState.PROPOSED}

"""The audit chain shows any change, gap or cut in it."""

import threading

import pytest
from sqlalchemy import delete, update

from kernel.people import ENGINE
from storage import audit
from storage.engine import Database
from storage.tables.audit import AUDIT


def write(database: Database, *actions: str) -> None:
    with database.transaction() as tx:
        for action in actions:
            audit.record(tx, actor=ENGINE, action=action, subject="case:1", case_id="1")


def problems(database: Database) -> list[str]:
    with database.reading() as tx:
        return list(audit.verify(tx))


def test_an_untouched_chain_has_no_problem(database: Database) -> None:
    write(database, "case.opened", "case.queued")
    write(database, "case.claimed")
    assert problems(database) == []
    with database.reading() as tx:
        assert [e.action for e in audit.of_case(tx, "1")] == [
            "case.opened",
            "case.queued",
            "case.claimed",
        ]


def test_each_outcome_fits_its_column_and_stays_one_word_though_it_was_written_as_another() -> None:
    room = AUDIT.c.outcome.type.length
    assert room is not None
    assert all(len(each.value) <= room for each in audit.Outcome)
    assert not set(audit.FORMER_OUTCOMES) & set(audit.Outcome)


def test_a_failed_transaction_leaves_no_entry(database: Database) -> None:
    with pytest.raises(RuntimeError), database.transaction() as tx:
        audit.record(tx, actor=ENGINE, action="case.opened", subject="case:1")
        raise RuntimeError("the change failed")
    with database.reading() as tx:
        assert audit.latest(tx) == []


@pytest.mark.parametrize(
    ("harm", "word"),
    [
        (update(AUDIT).where(AUDIT.c.seq == 2).values(actor="somebody else"), "changed"),
        (delete(AUDIT).where(AUDIT.c.seq == 2), "missing"),
        (delete(AUDIT).where(AUDIT.c.seq == 3), "ends"),
        (update(AUDIT).where(AUDIT.c.seq == 3).values(previous="f" * 64), "continue"),
    ],
)
def test_a_change_a_gap_and_a_cut_are_found(database: Database, harm: object, word: str) -> None:
    write(database, "a.one", "a.two", "a.three")
    with database.transaction() as tx:
        tx.execute(harm)  # type: ignore[arg-type]
    assert any(word in problem for problem in problems(database))


def test_writers_at_the_same_time_make_one_chain(database: Database) -> None:
    threads = [
        threading.Thread(target=lambda: [write(database, "a.b") for _ in range(20)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems(database) == []
    with database.reading() as tx:
        assert len(audit.latest(tx, limit=1000)) == 80

"""Due work is had by one at a time, and by the next once its lease is over, on both databases."""

import threading
from datetime import datetime, timedelta

import pytest
from sqlalchemy import insert

from storage import claims
from storage.engine import Database
from storage.tables.prefetch import PREFETCHES
from storage.tables.withdrawals import REMOVALS
from tests.storage.test_archive import AT

KEY = PREFETCHES.c.study_uid
LEASE = timedelta(minutes=5)


@pytest.fixture
def rows(each_database: Database) -> Database:
    """A database with four rows, one of which is not due yet."""
    each_database.clock = lambda: AT
    ages = {"1.3": 3, "1.1": 1, "1.2": 2, "1.9": -1}
    with each_database.transaction() as tx:
        due = [
            {"study_uid": uid, "attempts": 0, "due_at": AT - timedelta(hours=age)}
            for uid, age in ages.items()
        ]
        tx.execute(insert(PREFETCHES), due)
    return each_database


def claim(database: Database, uid: str, until: datetime) -> int | None:
    with database.transaction() as tx:
        row = claims.claim(tx, KEY, uid, until=until)
    return None if row is None else row["attempts"]


def test_what_is_due_is_found_the_longest_first(rows: Database) -> None:
    with rows.reading() as tx:
        assert claims.due(tx, KEY) == ["1.3", "1.2", "1.1"]
        assert claims.due(tx, KEY, limit=1) == ["1.3"]
        assert claims.due(tx, KEY, KEY != "1.3", PREFETCHES.c.attempts == 0) == ["1.2", "1.1"]


def test_of_many_who_come_at_once_one_has_it(rows: Database) -> None:
    begun, had = threading.Barrier(8), []

    def take() -> None:
        begun.wait()
        had.append(claim(rows, "1.1", AT + LEASE))

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(had, key=str) == [1, *[None] * 7]
    with rows.reading() as tx:
        assert "1.1" not in claims.due(tx, KEY)


def test_what_is_not_due_or_is_nobodys_is_not_had(rows: Database) -> None:
    assert claim(rows, "1.9", AT + LEASE) is None
    assert claim(rows, "7.7", AT + LEASE) is None


def test_who_was_killed_is_followed_by_the_next_once_the_lease_is_over(rows: Database) -> None:
    assert claim(rows, "1.1", AT + LEASE) == 1
    assert claim(rows, "1.1", AT + LEASE) is None
    rows.clock = lambda: AT + LEASE
    assert claim(rows, "1.1", AT + 2 * LEASE) == 2


def test_a_table_need_not_count(rows: Database) -> None:
    key = REMOVALS.c.object_key
    with rows.transaction() as tx:
        tx.execute(insert(REMOVALS).values(object_key="a", due_at=AT))
        taken = claims.claim(tx, key, "a", until=AT + LEASE)
        assert taken is not None
        assert taken["due_at"] == AT + LEASE
        assert claims.due(tx, key) == []

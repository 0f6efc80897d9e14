"""Connections to SQLite that are kept: whoever comes next has the one that was used last."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy.pool import QueuePool

from storage.engine import Database, DatabaseUnavailable


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(f"sqlite:///{tmp_path / 'kept.db'}")
    with made.transaction() as tx:
        tx.connection.exec_driver_sql("CREATE TABLE told (word TEXT)")
    yield made
    made.dispose()


def say(database: Database, word: str) -> None:
    with database.transaction() as tx:
        tx.connection.exec_driver_sql("INSERT INTO told VALUES (?)", (word,))


def told(database: Database) -> list[str]:
    with database.reading() as tx:
        return list(tx.connection.exec_driver_sql("SELECT word FROM told").scalars())


def test_reading_and_writing_have_one_connection_so_that_its_pages_stay(database: Database):
    with database.reading() as tx:
        read_with = tx.connection
    with database.transaction() as tx:
        written_with = tx.connection
    with database.reading() as tx:
        read_again_with = tx.connection

    assert read_with is written_with is read_again_with


def test_who_reads_while_somebody_writes_sees_what_is_committed(database: Database):
    say(database, "before")

    with database.transaction() as tx:
        tx.connection.exec_driver_sql("INSERT INTO told VALUES ('within')")
        assert told(database) == ["before"]

    assert told(database) == ["before", "within"]


def test_who_reads_sees_one_state_while_others_commit(database: Database):
    say(database, "before")

    with database.reading() as tx:
        assert tx.connection.exec_driver_sql("SELECT count(*) FROM told").scalar() == 1
        say(database, "meanwhile")
        assert tx.connection.exec_driver_sql("SELECT count(*) FROM told").scalar() == 1

    assert told(database) == ["before", "meanwhile"]


def test_what_failed_is_rolled_back_and_not_kept(database: Database):
    with pytest.raises(RuntimeError), database.transaction() as tx:
        failed_on = tx.connection
        tx.connection.exec_driver_sql("INSERT INTO told VALUES ('never')")
        raise RuntimeError("the caller failed")

    with database.reading() as tx:
        assert tx.connection is not failed_on
    assert told(database) == []


def test_a_connection_sees_what_another_process_writes_at_once(database: Database):
    say(database, "mine")
    other = Database(database.url)
    try:
        for word in ("yours", "again"):
            say(other, word)
            assert told(database)[-1] == word
    finally:
        other.dispose()


def test_the_file_is_mapped_for_who_searches_and_not_for_who_commits_all_the_time(
    database: Database,
):
    with database.reading() as tx:
        assert tx.connection.exec_driver_sql("PRAGMA mmap_size").scalar() > 0
    with database.writer().transaction() as tx:
        assert tx.connection.exec_driver_sql("PRAGMA mmap_size").scalar() == 0


def test_who_finds_every_connection_taken_is_told_to_come_again(database: Database) -> None:
    pool = database.engine.pool
    assert isinstance(pool, QueuePool)
    pool._timeout = 0.05
    with ExitStack() as taken, pytest.raises(DatabaseUnavailable, match="connection"):
        for _ in range(100):
            taken.enter_context(database.reading())
    assert told(database) == []

"""The migrations make the schema that the code defines, on both databases, and back again."""

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, inspect, text

from kernel.people import ENGINE
from storage import audit, migrate
from storage.engine import Database, DatabaseHeld
from storage.migrate import SchemaIsNewer, all_tables, differences, downgrade, upgrade
from storage.schema import head, is_current
from tests.services import migrated


def test_the_migrated_schema_is_the_defined_one(blank: Database) -> None:
    upgrade(blank)
    with blank.engine.connect() as connection:
        assert differences(connection) == []


def test_every_constraint_and_index_has_a_name(blank: Database) -> None:
    upgrade(blank)
    looked = inspect(blank.engine)
    for table in all_tables().tables:
        named = [
            *looked.get_indexes(table),
            *looked.get_unique_constraints(table),
            *looked.get_foreign_keys(table),
        ]
        assert all(one["name"] for one in named), table


def test_upgrading_again_changes_nothing_and_keeps_what_is_there(blank: Database) -> None:
    upgrade(blank)
    with blank.transaction() as tx:
        audit.record(tx, actor=ENGINE, action="test.done", subject="test")
    upgrade(blank)
    with blank.reading() as tx:
        assert [entry.action for entry in audit.latest(tx)] == ["test.done"]
        assert list(audit.verify(tx)) == []


def test_everything_can_be_taken_back_and_made_again(blank: Database) -> None:
    upgrade(blank)
    with blank.engine.begin() as connection:
        downgrade(connection, "base")
    assert set(inspect(blank.engine).get_table_names()) <= {"alembic_version"}
    upgrade(blank)
    with blank.engine.connect() as connection:
        assert differences(connection) == []


def test_a_database_of_a_later_version_is_refused(blank: Database) -> None:
    upgrade(blank)
    with blank.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SchemaIsNewer):
        upgrade(blank)


def test_the_head_that_every_start_compares_is_that_of_the_chain() -> None:
    assert [head()] == migrate._scripts().get_heads()


def test_a_new_file_that_another_process_begins_is_waited_for(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'new.db'}"
    other = sqlite3.connect(tmp_path / "new.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    upgraded: list[bool] = []

    def start() -> None:
        database = Database(url)
        upgrade(database)
        database.dispose()
        upgraded.append(True)

    starting = threading.Thread(target=start)
    starting.start()
    starting.join(0.5)  # in this time it meets the lock
    other.execute("COMMIT")
    other.close()
    starting.join()
    assert upgraded == [True]


def test_nodes_that_start_at_the_same_time_bring_the_schema_up_once(blank: Database) -> None:
    act = f"from storage import engine, migrate; migrate.upgrade(engine.Database({blank.url!r}))"
    nodes = [
        subprocess.Popen([sys.executable, "-c", act], stderr=subprocess.PIPE) for _ in range(3)
    ]
    said = [node.communicate(timeout=120)[1].decode() for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0, 0], said
    with blank.engine.begin() as connection:
        assert differences(connection) == []


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.service)])
def behind(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database that lacks the last migration, whose sessions do not wait for long."""
    url, hurry = f"sqlite:///{tmp_path / 'telerad.db'}", "PRAGMA busy_timeout = 100"
    if request.param == "postgresql":
        url, hurry = request.getfixturevalue("postgresql_url"), "SET SESSION lock_timeout = 100"
    database = Database(url)

    def connected(raw: Any, _record: object) -> None:
        raw.execute(hurry)
        raw.commit()

    event.listen(database.engine, "connect", connected)
    migrated.migrate(database)
    with database.engine.begin() as connection:
        downgrade(connection, "-1")
    yield database
    database.dispose()


def test_a_database_that_another_session_holds_says_so_and_is_as_it_was(
    behind: Database,
) -> None:
    other = Database(behind.engine.url.render_as_string(hide_password=False))
    with other.engine.begin() as held:
        if other.dialect == "postgresql":
            held.execute(text("LOCK TABLE alembic_version IN ACCESS EXCLUSIVE MODE"))
        with pytest.raises(DatabaseHeld, match="another session holds it"):
            upgrade(behind)
    other.dispose()

    assert not current(behind)
    upgrade(behind)
    assert current(behind)


def current(database: Database) -> bool:
    with database.engine.connect() as connection:
        return is_current(connection)

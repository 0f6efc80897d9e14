"""The suite's PostgreSQL is real, and each test has a database to itself."""

import pytest
import sqlalchemy

from tests.services.missing import required
from tests.services.postgresql import PostgreSQL
from tests.services.postgresql import postgresql as run_postgresql

pytestmark = pytest.mark.service


def test_a_fresh_database_answers_and_keeps_utc(blank_postgresql_url: str) -> None:
    engine = sqlalchemy.create_engine(blank_postgresql_url)
    with engine.connect() as connection:
        zone = connection.execute(sqlalchemy.text("SHOW timezone")).scalar_one()
    engine.dispose()
    assert zone == "UTC"


def test_a_committed_row_outlives_kill_9_of_the_server() -> None:
    with required(), run_postgresql() as server:
        engine = sqlalchemy.create_engine(server.url("postgres"), poolclass=sqlalchemy.NullPool)
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text("CREATE TABLE kept (word text)"))
            connection.execute(sqlalchemy.text("INSERT INTO kept VALUES ('durable')"))
        server.kill9()
        server.restart()
        with engine.connect() as connection:
            word = connection.execute(sqlalchemy.text("SELECT word FROM kept")).scalar_one()
    assert word == "durable"


def test_two_databases_do_not_see_each_other(postgresql: PostgreSQL) -> None:
    first, second = postgresql.create(), postgresql.create()
    assert first != second
    engine = sqlalchemy.create_engine(postgresql.url(first))
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("CREATE TABLE only_here (n integer)"))
    engine.dispose()
    engine = sqlalchemy.create_engine(postgresql.url(second))
    assert sqlalchemy.inspect(engine).get_table_names() == []
    engine.dispose()
    postgresql.drop(first)
    postgresql.drop(second)

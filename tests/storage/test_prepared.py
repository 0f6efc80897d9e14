"""Prepared statements: what they hand the driver is what the database layer would."""

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects import sqlite

from storage.prepared import Prepared
from storage.tables import UtcDateTime
from storage.tables.flights import RECEIVERS

OFFSETS = st.integers(-14 * 60, 14 * 60).map(lambda m: timezone(timedelta(minutes=m)))
MOMENTS = st.datetimes(
    min_value=datetime(1, 1, 2),  # noqa: DTZ001 - hypothesis asks for naive bounds
    max_value=datetime(9999, 12, 30),  # noqa: DTZ001
    timezones=st.one_of(st.just(UTC), OFFSETS),
)


class Cursor:
    """A cursor of a driver that remembers what it was given."""

    rowcount = 1

    def execute(self, _sql: str, parameters: tuple[object, ...]) -> None:
        self.parameters = parameters


@given(MOMENTS, MOMENTS)
def test_moments_are_written_as_the_database_layer_writes_them(
    seen: datetime, brought: datetime
) -> None:
    columns = ("node", "seen_at", "brought_at")
    statement = Prepared({"sqlite": sqlite.insert(RECEIVERS)}, columns)
    cursor, dialect = Cursor(), sqlite.dialect()
    statement.run(cursor, dialect, [("n", seen, brought)])
    written = UtcDateTime().dialect_impl(dialect).bind_processor(dialect)
    assert written is not None
    assert list(cursor.parameters) == ["n", written(seen), written(brought)]

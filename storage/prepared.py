"""Statements of which the text and the conversions are made once, for what is done most often.

The database layer takes longer to carry an insert to the driver than the database takes to make
it.  A prepared statement is still written in its expression language, and goes to the cursor of
the driver as plain text, with rows that are plain tuples.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from operator import itemgetter
from typing import Any

from sqlalchemy import (
    JSON,
    ColumnElement,
    Date,
    DateTime,
    Dialect,
    Insert,
    Select,
    String,
    any_,
    bindparam,
    func,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.sql.expression import ClauseElement

from storage.tables import UtcDateTime

Row = tuple[Any, ...]
UIDS = "uids"

_MAX_MOMENTS = 256


def among(column: ColumnElement[str], dialect: str) -> ColumnElement[bool]:
    """Return the condition that a column is in the list that the value `UIDS` stands for.

    The list is one value, so that the text is the same however long it is.
    """
    if dialect == "sqlite":
        listed = func.json_each(bindparam(UIDS, type_=JSON())).table_valued("value")
        return column.in_(select(listed.c.value))
    return column == any_(bindparam(UIDS, type_=ARRAY(String())))


class Prepared:
    """An insert or update of one kind of row, or a select by one.

    Parameters
    ----------
    by_dialect
        The statement for each dialect, by its name.
    columns
        What the values of a row stand for, in their order: columns of an insert, else the names
        of the values that the statement leaves open.
    """

    def __init__(self, by_dialect: Mapping[str, ClauseElement], columns: Sequence[str]) -> None:
        self._statements = by_dialect
        self._columns = tuple(columns)
        self._texts: dict[str, _Text] = {}

    @classmethod
    def on_both(
        cls, made: Callable[[str], ClauseElement], columns: Sequence[str] = ()
    ) -> "Prepared":
        """Return the statement that `made` makes for the dialect of a name."""
        return cls({name: made(name) for name in ("sqlite", "postgresql")}, columns)

    def run(self, cursor: Any, dialect: Dialect, rows: Sequence[Row]) -> int:
        """Run it for each row on a cursor of the driver; return how many rows it changed."""
        text = self._texts.get(dialect.name) or self._text(dialect)
        if len(rows) == 1:
            cursor.execute(text.sql, text.parameters(rows[0]))
        else:
            cursor.executemany(text.sql, [text.parameters(row) for row in rows])
        changed: int = cursor.rowcount
        return changed

    def rows(self, cursor: Any, dialect: Dialect, row: Row) -> list[tuple[Any, ...]]:
        """Run a select; return its rows with values as the driver has them."""
        text = self._texts.get(dialect.name) or self._text(dialect)
        cursor.execute(text.sql, text.parameters(row))
        found: list[tuple[Any, ...]] = cursor.fetchall()
        return found

    def mappings(self, cursor: Any, dialect: Dialect, row: Row) -> list[dict[str, Any]]:
        """Run a select; return its rows by the names of its columns, with values as ours."""
        found = self.rows(cursor, dialect, row)
        return self._texts[dialect.name].named(found)

    def _text(self, dialect: Dialect) -> "_Text":
        text = _Text(self._statements[dialect.name], dialect, self._columns)
        self._texts[dialect.name] = text
        return text


class _Text:
    """The statement as one driver takes it."""

    def __init__(
        self, statement: ClauseElement, dialect: Dialect, columns: tuple[str, ...]
    ) -> None:
        named: dict[str, Any] = {"column_keys": columns} if isinstance(statement, Insert) else {}
        compiled: Any = statement.compile(dialect=dialect, **named)
        self.sql = str(compiled)
        names = list(compiled.positiontup if compiled.positional else compiled.bind_names.values())
        binds = {name: compiled.binds[name] for name in names}
        constants = {name: bind.value for name, bind in binds.items() if not bind.required}
        given = [*columns, *constants]
        places = [given.index(name) for name in names]
        self._names = () if compiled.positional else tuple(names)
        self._constants = tuple(constants.values())
        self._in_order = places == list(range(len(given)))
        self._ordered: Callable[[Row], Any] = (
            itemgetter(*places) if len(places) > 1 else lambda row: tuple(row[at] for at in places)
        )
        self._conversions = [
            (at, process)
            for at, name in enumerate(names)
            if (process := _processor(compiled.binds[name].type, dialect)) is not None
        ]

        self._columns: list[str] = []
        self._readings: list[tuple[str, Callable[[Any], Any]]] = []
        if isinstance(statement, Select):
            for name, column in statement.selected_columns.items():
                self._columns.append(name)
                read: Any = column.type.dialect_impl(dialect).result_processor(dialect, None)
                if read is not None:
                    self._readings.append((name, read))

    def named(self, rows: list[tuple[Any, ...]]) -> list[dict[str, Any]]:
        """Return rows by the names of their columns."""
        found = [dict(zip(self._columns, row, strict=True)) for row in rows]
        for name, read in self._readings:
            for each in found:
                each[name] = read(each[name])
        return found

    def parameters(self, row: Row) -> Any:
        """Return the values of a row as the driver takes them."""
        values: Any = row + self._constants
        if not self._in_order:
            values = self._ordered(values)
        if self._conversions:
            values = list(values)
            for at, process in self._conversions:
                values[at] = process(values[at])
        return dict(zip(self._names, values, strict=True)) if self._names else values


def _processor(of_type: Any, dialect: Dialect) -> Callable[[Any], Any] | None:
    if dialect.name == "sqlite" and isinstance(of_type, UtcDateTime):
        return _moment
    found: Callable[[Any], Any] | None = of_type.dialect_impl(dialect).bind_processor(dialect)
    if found is not None and isinstance(getattr(of_type, "impl", of_type), DateTime | Date):
        return lru_cache(_MAX_MOMENTS)(found)  # one moment stands in several rows of a transaction
    return found


@lru_cache(_MAX_MOMENTS)
def _moment(value: datetime | None) -> str | None:
    """Write a moment as the database layer does for SQLite, at a quarter of its time."""
    if value is None:
        return None
    if value.tzinfo is None:
        raise ValueError("a stored moment must be aware")
    utc = value if value.tzinfo is UTC else value.astimezone(UTC)
    return utc.isoformat(" ", "microseconds").removesuffix("+00:00")

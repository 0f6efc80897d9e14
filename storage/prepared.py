"""Statements of which the text and the conversions are made once, for what is done most often.

The database layer takes longer to carry an insert to the driver than the database takes to make
it.  A prepared statement is still written in its expression language, and goes to the cursor of
the driver as plain text.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Dialect, Insert
from sqlalchemy.sql.expression import ClauseElement

Row = Mapping[str, Any]


class Prepared:
    """An insert or update of one kind of row, or a select by one.

    Parameters
    ----------
    by_dialect
        The statement for each dialect, by its name.
    """

    def __init__(self, by_dialect: Mapping[str, ClauseElement]) -> None:
        self._statements = by_dialect
        self._texts: dict[tuple[str, ...], _Text] = {}

    def run(self, cursor: Any, dialect: Dialect, rows: Sequence[Row]) -> int:
        """Run it for each row on a cursor of the driver; return how many rows it changed.

        All rows have the same keys; columns that they do not name are left to the table.
        """
        text = self._text(dialect, rows[0])
        if len(rows) == 1:
            cursor.execute(text.sql, text.parameters(rows[0]))
        else:
            cursor.executemany(text.sql, [text.parameters(row) for row in rows])
        changed: int = cursor.rowcount
        return changed

    def rows(self, cursor: Any, dialect: Dialect, row: Row) -> list[tuple[Any, ...]]:
        """Run a select; return its rows with values as the driver has them."""
        text = self._text(dialect, row)
        cursor.execute(text.sql, text.parameters(row))
        found: list[tuple[Any, ...]] = cursor.fetchall()
        return found

    def _text(self, dialect: Dialect, row: Row) -> "_Text":
        kind = (dialect.name, *row)
        text = self._texts.get(kind)
        if text is None:
            text = _Text(self._statements[dialect.name], dialect, list(row))
            self._texts[kind] = text
        return text


class _Text:
    """The statement as one driver takes it."""

    def __init__(self, statement: ClauseElement, dialect: Dialect, keys: list[str]) -> None:
        named: dict[str, Any] = {"column_keys": keys} if isinstance(statement, Insert) else {}
        compiled: Any = statement.compile(dialect=dialect, **named)
        self.sql = str(compiled)
        self._by_position = bool(compiled.positional)
        names = compiled.positiontup if self._by_position else list(compiled.binds)
        self._columns: list[tuple[str, Callable[[Any], Any] | None]] = [
            (name, _processor(compiled.binds[name].type, dialect)) for name in names
        ]
        self._constants = {
            name: bind.value for name, bind in compiled.binds.items() if not bind.required
        }

    def parameters(self, row: Row) -> Any:
        """Return the values of a row as the driver takes them."""
        values = self._constants | dict(row) if self._constants else row
        if self._by_position:
            return [
                values[name] if process is None else process(values[name])
                for name, process in self._columns
            ]
        return {
            name: values[name] if process is None else process(values[name])
            for name, process in self._columns
        }


def _processor(of_type: Any, dialect: Dialect) -> Callable[[Any], Any] | None:
    found: Callable[[Any], Any] | None = of_type.dialect_impl(dialect).bind_processor(dialect)
    return found

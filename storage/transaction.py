"""One open transaction: what commands are given, and what they never end themselves."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, CursorResult, Executable

from storage.prepared import Prepared, Row


class Transaction:
    """One open transaction; commands take it and never commit."""

    def __init__(self, connection: Connection, at: datetime, *, cursor: Any = None) -> None:
        self.connection = connection
        self.at = at
        self._kept_cursor = cursor
        self.dialect = connection.dialect.name
        self.pending_audit: list[dict[str, object]] = []
        self._before_commit: dict[str, Callable[[], None]] = {}

    def execute(
        self,
        statement: Executable,
        parameters: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    ) -> CursorResult[Any]:
        """Run one statement, or the same one for many rows."""
        return self.connection.execute(statement, parameters)

    def run(self, statement: Prepared, rows: Sequence[Row]) -> int:
        """Run a prepared statement for many rows; return how many it changed."""
        return statement.run(self._cursor(), self.connection.dialect, rows)

    def rows(self, statement: Prepared, row: Row) -> list[tuple[Any, ...]]:
        """Return what a prepared select finds, with values as the driver has them."""
        return statement.rows(self._cursor(), self.connection.dialect, row)

    def mappings(self, statement: Prepared, row: Row) -> list[dict[str, Any]]:
        """Return what a prepared select finds, by the names of its columns."""
        return statement.mappings(self._cursor(), self.connection.dialect, row)

    def _cursor(self) -> Any:
        if self._kept_cursor is None:
            driver: Any = self.connection.connection.driver_connection
            self._kept_cursor = driver.cursor()
        return self._kept_cursor

    def before_commit(self, name: str, act: Callable[[], None]) -> None:
        """Run `act` once, as the last thing inside this transaction.

        Locks that every transaction takes (the head of the audit chain) are taken here, so that
        they are held for a moment only and always last, which rules out a deadlock on them.
        """
        self._before_commit.setdefault(name, act)

    def finish(self) -> None:
        """Run what was left for the end; called by `Database.transaction` alone."""
        for act in self._before_commit.values():
            act()

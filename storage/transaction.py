"""One open transaction: what commands are given, and what they never end themselves."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, CursorResult, Executable

from storage.prepared import Prepared


class Transaction:
    """One open transaction; commands take it and never commit."""

    def __init__(self, connection: Connection, at: datetime, *, driver: Any = None) -> None:
        self.connection = connection
        self.at = at
        self._driver = driver
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

    def run(self, statement: Prepared, rows: Sequence[Mapping[str, Any]]) -> int:
        """Run a prepared statement for many rows; return how many it changed."""
        with closing(self._cursor()) as cursor:
            return statement.run(cursor, self.connection.dialect, rows)

    def rows(self, statement: Prepared, row: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Return what a prepared select finds, with values as the driver has them."""
        with closing(self._cursor()) as cursor:
            return statement.rows(cursor, self.connection.dialect, row)

    def _cursor(self) -> Any:
        if self._driver is None:
            self._driver = self.connection.connection.driver_connection
        return self._driver.cursor()

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

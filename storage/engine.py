"""The database: SQLite for one machine, PostgreSQL for many, one way to open a transaction."""

import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, CursorResult, Engine, Executable, create_engine, event
from sqlalchemy.exc import ArgumentError, DatabaseError, OperationalError

from kernel.clock import Clock, system_clock
from kernel.errors import Misconfigured, Transient

SQLITE_BUSY_TIMEOUT_S = 30
POSTGRESQL_LOCK_TIMEOUT_MS = 15_000
POSTGRESQL_STATEMENT_TIMEOUT_MS = 120_000


class DatabaseUnavailable(Transient):
    """The database cannot be reached or is locked for too long."""

    code = "storage.database_unavailable"


class DatabaseFull(DatabaseUnavailable):
    """The disk of the database has no room; nothing was stored."""

    code = "storage.database_full"


class Transaction:
    """One open transaction; commands take it and never commit."""

    def __init__(self, connection: Connection, at: datetime) -> None:
        self.connection = connection
        self.at = at
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


class Database:
    """The engine's database, opened from a URL.

    Raises
    ------
    Misconfigured
        The URL names neither SQLite nor PostgreSQL.
    """

    def __init__(self, url: str, *, clock: Clock = system_clock) -> None:
        self.url = url
        self.clock = clock
        self.engine = _engine(url)
        self.dialect = self.engine.dialect.name
        self._readers = self.engine.execution_options(telerad_reading=True)
        # One writer at a time is SQLite's rule; waiting in a lock is fairer and faster than its
        # polling, which still serves writers of other processes.
        self._one_writer = threading.Lock() if self.dialect == "sqlite" else nullcontext()

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Open a write transaction; commit at the end, roll back on any exception.

        Raises
        ------
        DatabaseUnavailable
            The database cannot be reached, or stayed locked.
        """
        with self._one_writer, _named_failures(), self.engine.begin() as connection:
            tx = Transaction(connection, self.clock())
            yield tx
            tx.finish()

    @contextmanager
    def reading(self) -> Iterator[Transaction]:
        """Open a transaction that sees one state and changes nothing."""
        with _named_failures(), self._readers.begin() as connection:
            yield Transaction(connection, self.clock())

    def dispose(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()


@contextmanager
def _named_failures() -> Iterator[None]:
    try:
        yield
    except OperationalError as error:
        if _is_full(error):
            raise DatabaseFull("the disk of the database is full: nothing was stored") from error
        raise DatabaseUnavailable(f"the database did not answer: {error.orig}") from error
    except DatabaseError as error:
        if isinstance(error.orig, sqlite3.DatabaseError) and "not a database" in str(error.orig):
            raise Misconfigured("the database file is not a database") from error
        raise


def _is_full(error: OperationalError) -> bool:
    """Say whether the disk is why: SQLITE_FULL, or SQLSTATE 53100 of PostgreSQL."""
    code = getattr(error.orig, "sqlstate", None)
    return code == "53100" or "disk is full" in str(error.orig)


def _engine(url: str) -> Engine:
    try:
        if url.startswith("sqlite"):
            return _sqlite(url)
        if url.startswith("postgresql"):
            return _postgresql(url)
    except (ArgumentError, ValueError) as error:
        raise Misconfigured("the database URL cannot be read") from error
    raise Misconfigured(f"the database URL must be sqlite:// or postgresql://, not {url[:12]}…")


def _sqlite(url: str) -> Engine:
    engine = create_engine(
        url, connect_args={"timeout": SQLITE_BUSY_TIMEOUT_S, "check_same_thread": False}
    )

    @event.listens_for(engine, "connect")
    def _settings(raw: Any, _record: object) -> None:
        raw.isolation_level = None  # transactions are opened below, not by the driver
        for pragma in (
            "journal_mode=WAL",
            "synchronous=NORMAL",  # the journal segments rebuild the tail after power loss
            "foreign_keys=ON",
            "temp_store=MEMORY",
        ):
            raw.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        reading = connection.get_execution_options().get("telerad_reading", False)
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine


def _postgresql(url: str) -> Engine:
    if url.startswith("postgresql://"):
        url = "postgresql+psycopg://" + url.removeprefix("postgresql://")
    return create_engine(
        url,
        pool_pre_ping=True,
        pool_size=8,
        max_overflow=16,
        connect_args={
            "options": f"-c lock_timeout={POSTGRESQL_LOCK_TIMEOUT_MS}"
            f" -c statement_timeout={POSTGRESQL_STATEMENT_TIMEOUT_MS} -c timezone=UTC"
        },
    )

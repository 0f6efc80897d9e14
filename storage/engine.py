"""The database: SQLite for one machine, PostgreSQL for many, one way to open a transaction."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Connection, Dialect, Engine, create_engine, event
from sqlalchemy.exc import ArgumentError, DatabaseError
from sqlalchemy.exc import TimeoutError as NoConnectionFree

from kernel.clock import Clock, system_clock
from kernel.errors import Misconfigured, Transient
from storage.contention import SQLSTATES as _CONTENDED
from storage.contention import Contended, made_anew
from storage.transaction import Transaction as Transaction
from storage.writer import Writer

SQLITE_BUSY_TIMEOUT_S = 30
POSTGRESQL_LOCK_TIMEOUT_MS = 15_000
POSTGRESQL_STATEMENT_TIMEOUT_MS = 120_000
_SWITCHES = 20  # as many processes may meet a new database at a time
_KEPT = 4
_MAPPED_BYTES = 1 << 30  # of addresses, not of memory; what lies behind is read as without
_READ_ONLY = "25006"  # a standby, or a primary that was told to write no more

_Found = TypeVar("_Found")


class DatabaseUnavailable(Transient):
    """The database cannot be reached or is locked for too long."""

    code = "storage.database_unavailable"


class DatabaseFull(DatabaseUnavailable):
    """The disk of the database has no room; nothing was stored."""

    code = "storage.database_full"


class DatabaseHeld(DatabaseUnavailable):
    """Another session holds what a change of the schema needs."""

    code = "storage.database_held"


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
        self._writers: list[Writer] = []
        # A server may be gone the next time, and has to be asked; a file stays.
        self._keeps = self.dialect == "sqlite"
        self._resting: list[Writer] = []

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Open a write transaction; commit at the end, roll back on any exception.

        Raises
        ------
        DatabaseUnavailable
            The database cannot be reached, or stayed locked.
        Contended
            Others locked it up: it may be made anew, as `run` does.
        """
        if self._keeps:
            with self._one_writer, self._kept() as kept, kept.transaction() as tx:
                yield tx
            return
        with self._exclusively(), self.engine.begin() as connection:
            tx = Transaction(connection, self.clock())
            yield tx
            tx.finish()

    def run(self, act: Callable[[Transaction], _Found]) -> _Found:
        """Return what `act` does in a transaction; it is made anew where others lock it up.

        Raises
        ------
        DatabaseUnavailable
            The database cannot be reached, or stayed locked.
        Contended
            Others locked it up, time after time.
        """
        return made_anew(self.transaction, act)

    @contextmanager
    def reading(self) -> Iterator[Transaction]:
        """Open a transaction that changes nothing.

        It sees one state on SQLite; on PostgreSQL each of its statements does.
        """
        if self._keeps:
            with self._kept() as kept, kept.reading() as tx:
                yield tx
            return
        with _named_failures(self.engine.dialect), self._readers.begin() as connection:
            yield Transaction(connection, self.clock())

    @contextmanager
    def schema(self) -> Iterator[Connection]:
        """Open a transaction that changes the schema.

        Raises
        ------
        DatabaseHeld
            Somebody else has what it needs for too long.
        """
        try:
            with self._exclusively(), self.engine.begin() as connection:
                yield connection
        except DatabaseUnavailable as error:
            if not _is_held(error):
                raise
            raise DatabaseHeld(
                "the database must be changed for this version, and another session holds it: "
                "an older telerad, a backup or a person at it; nothing was changed, end that "
                "and try again"
            ) from error

    def writer(self) -> Writer:
        """Return who makes the same transaction again and again, on a connection of its own."""
        made = Writer(self.engine, self._one_writer, self._named, self._now)
        self._writers.append(made)
        return made

    def dispose(self) -> None:
        """Close every connection."""
        for each in (*self._writers, *self._resting):
            each.close()
        self.engine.dispose()

    @contextmanager
    def _kept(self) -> Iterator[Writer]:
        """Lend a connection that was kept, or a new one; what failed is not kept.

        It is the one that was used last, to read or to write: as long as no other commits, it
        keeps its pages and its map of the file.
        """
        try:
            kept = self._resting.pop()
        except IndexError:
            kept = Writer(
                self.engine, nullcontext(), self._named, self._now, mapped_bytes=_MAPPED_BYTES
            )
        yield kept
        if len(self._resting) < _KEPT:
            self._resting.append(kept)
        else:
            kept.close()

    @contextmanager
    def _exclusively(self) -> Iterator[None]:
        with self._one_writer, _named_failures(self.engine.dialect):
            yield

    def _now(self) -> datetime:
        return self.clock()

    def _named(self, error: BaseException) -> Exception | None:
        return _named(error, self.engine.dialect)


@contextmanager
def _named_failures(dialect: Dialect) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        named = _named(error, dialect)
        if named is None:
            raise
        raise named from error


def _named(failure: BaseException, dialect: Dialect) -> Exception | None:
    """Return what a failure of the driver means, None where it has no name of its own.

    That of a prepared statement comes as it is, for it goes past the database layer.
    """
    if isinstance(failure, NoConnectionFree):
        return DatabaseUnavailable("no connection to the database came free in time")
    driver: Any = dialect.loaded_dbapi
    error: Any = failure.orig if isinstance(failure, DatabaseError) else failure
    state = getattr(error, "sqlstate", None)
    if state in _CONTENDED:
        return Contended("other transactions locked this one up: nothing was stored")
    if isinstance(error, driver.OperationalError) or state == _READ_ONLY:
        if _is_full(error):
            return DatabaseFull("the disk of the database is full: nothing was stored")
        return DatabaseUnavailable(f"the database did not answer: {error}")
    if isinstance(error, sqlite3.DatabaseError) and "not a database" in str(error):
        return Misconfigured("the database file is not a database")
    return None


def _is_full(error: BaseException) -> bool:
    """Say whether the disk is why: SQLITE_FULL, or SQLSTATE 53100 of PostgreSQL."""
    return getattr(error, "sqlstate", None) == "53100" or "disk is full" in str(error)


def _is_held(error: DatabaseUnavailable) -> bool:
    """Say whether others are why: SQLSTATE 55P03 of PostgreSQL, or SQLITE_BUSY."""
    cause: Any = error.__cause__
    found = cause.orig if isinstance(cause, DatabaseError) else cause
    return getattr(found, "sqlstate", None) == "55P03" or "is locked" in str(found)


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
        _write_ahead(raw)
        for pragma in (
            "synchronous=NORMAL",  # the journal segments rebuild the tail after power loss
            "foreign_keys=ON",
            "temp_store=MEMORY",
            "wal_autocheckpoint=4000",  # 16 MB: each checkpoint makes who commits wait for the disk
        ):
            raw.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        if options.get("telerad_begun", False):
            return
        reading = options.get("telerad_reading", False)
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine


def _write_ahead(raw: sqlite3.Connection) -> None:
    """Have the database write ahead; where another connection makes it do so, wait for that.

    SQLite waits for no such lock by itself: it says at once that the database is locked.
    """
    for _ in range(_SWITCHES):
        try:
            raw.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            raw.execute("BEGIN IMMEDIATE")  # which waits
            raw.execute("ROLLBACK")
        else:
            return
    raw.execute("PRAGMA journal_mode=WAL")


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

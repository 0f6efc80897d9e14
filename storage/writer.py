"""A connection kept from one transaction to the next, where they are made many times a second.

To take a connection from the pool, begin through the database layer and give it back costs more
than to admit an instance.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine

from kernel.clock import Clock, monotonic_s
from storage.contention import made_anew
from storage.transaction import Transaction

KEPT_S = 5.0
"""A connection that rested for longer may be dead: the pool gives one that it has tried."""

_Found = TypeVar("_Found")


class Writer:
    """Used by one thread at a time.

    Parameters
    ----------
    turn
        What a writer of this database must hold.
    named
        Returns what a failure of the driver means, None where it has no name of its own.
    mapped_bytes
        How much of a SQLite file is mapped, so that pages are not copied to be looked at once.
        That pays where others seldom commit in between: each time, the map is made anew.
    """

    def __init__(
        self,
        engine: Engine,
        turn: AbstractContextManager[Any],
        named: Callable[[BaseException], Exception | None],
        clock: Clock,
        *,
        mapped_bytes: int = 0,
    ) -> None:
        self._engine = engine
        self._turn = turn
        self._named = named
        self._clock = clock
        self._mapped_bytes = mapped_bytes
        self._sqlite = engine.dialect.name == "sqlite"
        self._connection: Connection | None = None
        self._driver: Any = None
        self._cursor: Any = None
        self._used_at = 0.0

    def run(self, act: Callable[[Transaction], _Found]) -> _Found:
        """Return what `act` does in a transaction; as `Database.run`."""
        return made_anew(self.transaction, act)

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Open a transaction; as `Database.transaction`."""
        with self._turn, self._ended("BEGIN IMMEDIATE") as tx:
            yield tx

    @contextmanager
    def reading(self) -> Iterator[Transaction]:
        """Open a transaction that sees one state and changes nothing, on SQLite."""
        with self._ended("BEGIN") as tx:
            yield tx

    def close(self) -> None:
        """Give the connection back; what was not committed is rolled back."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        with suppress(Exception):  # the connection may be what failed
            self._cursor.close()
            self._driver.rollback()
        connection.close()

    @contextmanager
    def _ended(self, begin: str) -> Iterator[Transaction]:
        try:
            tx = self._begun(begin)
            yield tx
            tx.finish()
            self._commit()
        except BaseException as error:
            self.close()
            named = self._named(error)
            if named is None:
                raise
            raise named from error

    def _begun(self, begin: str) -> Transaction:
        now = monotonic_s()
        if self._connection is not None and now - self._used_at > KEPT_S:
            self.close()
        if self._connection is None:
            self._connection = self._engine.connect().execution_options(telerad_begun=True)
            self._driver = self._connection.connection.driver_connection
            self._cursor = self._driver.cursor()
            if self._sqlite:
                self._cursor.execute(f"PRAGMA mmap_size={self._mapped_bytes}")
        self._used_at = now
        if self._sqlite:
            self._cursor.execute(begin)
        return Transaction(self._connection, self._clock(), cursor=self._cursor)

    def _commit(self) -> None:
        assert self._connection is not None
        if self._connection.in_transaction():  # something went through the database layer
            self._connection.commit()
        elif self._sqlite:
            self._cursor.execute("COMMIT")  # the driver's own commit parses this anew each time
        else:
            self._driver.commit()

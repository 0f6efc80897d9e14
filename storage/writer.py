"""A connection kept for one kind of transaction that is made many times a second.

To take a connection from the pool, begin through the database layer and give it back costs more
than to admit an instance.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

from sqlalchemy import Connection, Engine

from kernel.clock import Clock, monotonic_s
from storage.transaction import Transaction

KEPT_S = 5.0
"""A connection that rested for longer may be dead: the pool gives one that it has tried."""


class Writer:
    """Used by one thread at a time.

    Parameters
    ----------
    exclusively
        Holds what a writer of this database must hold, and names what fails.
    """

    def __init__(
        self, engine: Engine, exclusively: Callable[[], AbstractContextManager[None]], clock: Clock
    ) -> None:
        self._engine = engine
        self._exclusively = exclusively
        self._clock = clock
        self._sqlite = engine.dialect.name == "sqlite"
        self._connection: Connection | None = None
        self._driver: Any = None
        self._used_at = 0.0

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Open a write transaction; as `Database.transaction`."""
        with self._exclusively():
            try:
                tx = self._begun()
                yield tx
                tx.finish()
                self._end(self._driver.commit)
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        """Give the connection back; what was not committed is rolled back."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        with suppress(Exception):  # the connection may be what failed
            self._driver.rollback()
        connection.close()

    def _begun(self) -> Transaction:
        now = monotonic_s()
        if self._connection is not None and now - self._used_at > KEPT_S:
            self.close()
        if self._connection is None:
            self._connection = self._engine.connect().execution_options(telerad_begun=True)
            self._driver = self._connection.connection.driver_connection
        self._used_at = now
        if self._sqlite:
            self._driver.execute("BEGIN IMMEDIATE")
        return Transaction(self._connection, self._clock(), driver=self._driver)

    def _end(self, commit: Callable[[], None]) -> None:
        assert self._connection is not None
        if self._connection.in_transaction():  # something went through the database layer
            self._connection.commit()
        else:
            commit()

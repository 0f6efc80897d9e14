"""Who waits for a lock of PostgreSQL, seen from outside."""

from concurrent.futures import Future, wait
from typing import Any

from sqlalchemy import text

from storage.engine import Database

_WAITING = text(
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


def until_waiting(database: Database, *acts: Future[Any]) -> None:
    """Return once each of some acts waits for a lock of this database, or is over."""
    while not all(each.done() for each in acts):
        with database.reading() as tx:
            if int(tx.execute(_WAITING).scalar_one()) >= sum(not each.done() for each in acts):
                return
        wait(acts, timeout=0.01)

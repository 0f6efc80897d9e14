"""Rows of work that is due: found by their moment, taken by one of many for a time.

Such a row has a moment `due_at`, null once it is over.  Whoever takes it moves that to the end of
a lease: who is killed lets it become due again, and nobody else has it before.  `attempts`, where
there is such a column, counts how often it was taken.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Column, ColumnElement, select, update

from storage.engine import Transaction

AT_ONCE = 50


def due(
    tx: Transaction, key: Column[str], *which: ColumnElement[bool], limit: int = AT_ONCE
) -> list[str]:
    """Return the keys of rows that are due, the longest first.

    Parameters
    ----------
    key
        The key of the table.
    which
        What else holds of the rows that are meant.
    """
    due_at = key.table.c.due_at
    query = select(key).where(due_at <= tx.at, *which).order_by(due_at).limit(limit)
    return list(tx.execute(query).scalars())


def claim(
    tx: Transaction,
    key: Column[str],
    value: str,
    *,
    until: datetime,
    told: Mapping[str, Any] | None = None,
) -> Mapping[Any, Any] | None:
    """Take a row that is due, until a moment; return it, None if another has it or it is over.

    Parameters
    ----------
    told
        What else is written into it.
    """
    table = key.table
    values: dict[str, Any] = {**(told or {}), "due_at": until}
    if "attempts" in table.c:
        values["attempts"] = table.c.attempts + 1
    mine = update(table).where(key == value, table.c.due_at <= tx.at)
    return tx.execute(mine.values(**values).returning(*table.c)).mappings().first()

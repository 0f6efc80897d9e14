"""Inserts that may find a row there already: each database has a statement of its own for it."""

from typing import Any

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite

from storage.transaction import Transaction


def insert_into(tx: Transaction, table: Table) -> Any:
    """Return an insert that can say ``on_conflict_do_nothing`` and ``on_conflict_do_update``."""
    return (sqlite if tx.dialect == "sqlite" else postgresql).insert(table)

"""Signs that work is due: one statement asks for all of them, in place of a look for each.

A sign may stand where nothing is due, and never the other way: whoever sees it looks closer.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Column, ColumnElement, Select, bindparam, exists, select

from storage.prepared import Prepared
from storage.tables import UtcDateTime
from storage.transaction import Transaction


@dataclass(frozen=True, slots=True)
class Sign:
    """What is there if something may be due.

    Parameters
    ----------
    rows
        Selects it, by a moment.
    ago
        How long before now that moment is.
    """

    rows: Callable[[ColumnElement[datetime]], Select[Any]]
    ago: timedelta = timedelta()


def due_by(column: Column[datetime]) -> Sign:
    """Return the sign that there is a row whose moment has come."""
    return Sign(lambda at: select(1).where(column <= at))


class Signs:
    """Asks for many signs at once.

    Parameters
    ----------
    signs
        By name, such as that of a kind of work; one of them suffices.
    """

    def __init__(self, signs: Mapping[str, Sequence[Sign]]) -> None:
        self._named = [(name, sign) for name, found in signs.items() for sign in found]
        binds = [f"moment_{at}" for at in range(len(self._named))]
        asked = [
            exists(sign.rows(bindparam(bind, type_=UtcDateTime())))
            for bind, (_, sign) in zip(binds, self._named, strict=True)
        ]
        self._statement = Prepared.on_both(lambda _: select(*asked), binds)

    def seen(self, tx: Transaction) -> frozenset[str]:
        """Return the names of which a sign is there."""
        if not self._named:
            return frozenset()
        moments = tuple(tx.at - sign.ago for _, sign in self._named)
        (found,) = tx.rows(self._statement, moments)
        return frozenset(name for (name, _), there in zip(self._named, found, strict=True) if there)

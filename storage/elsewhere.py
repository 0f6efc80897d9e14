"""What lies in the journal of another node and is not packed yet: it cannot be read here."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, String, bindparam, func, not_, or_, select

from storage.engine import Transaction
from storage.hidden import INSTANCE_SHOWN
from storage.like import behind
from storage.prepared import UIDS, Prepared, among
from storage.tables.archive import INSTANCES

_MINE, _BEHIND_MINE = "mine", "behind_mine"
_COLUMNS = {
    "study_uid": INSTANCES.c.study_uid,
    "series_uid": INSTANCES.c.series_uid,
    "instance_uid": INSTANCES.c.instance_uid,
}


def held_elsewhere(tx: Transaction, key: str, uids: Sequence[str], node: str) -> frozenset[str]:
    """Return those of some studies, series or instances of which something lies elsewhere.

    Where a node has its database to itself that is one probe of an index of what is not packed.

    Parameters
    ----------
    key
        What the UIDs are of: ``study_uid``, ``series_uid`` or ``instance_uid``.
    node
        Whose journal can be read here.
    """
    mine = f"{node}-"
    if not uids or not tx.rows(_ANY, (mine, behind(mine))):
        return frozenset()
    return frozenset(uid for (uid,) in tx.rows(_OF[key], (list(uids), mine, behind(mine))))


def _elsewhere(dialect: str) -> list[ColumnElement[bool]]:
    segment, mine = INSTANCES.c.segment, bindparam(_MINE, type_=String())
    if dialect == "sqlite":  # compares by code point: two ends of the index
        others = or_(segment < mine, segment >= bindparam(_BEHIND_MINE, type_=String()))
    else:
        others = not_(segment.startswith(mine))
    return [segment.is_not(None), others]


def _of(column: ColumnElement[Any]) -> Prepared:
    return Prepared.on_both(
        lambda dialect: (
            select(column)
            .distinct()
            .where(among(column, dialect), INSTANCE_SHOWN, *_elsewhere(dialect))
        ),
        (UIDS, _MINE, _BEHIND_MINE),
    )


def _any(dialect: str) -> Select[Any]:
    """Find one segment of another node; where the index has no two ends, from name to name."""
    if dialect == "sqlite":
        return select(INSTANCES.c.segment).where(*_elsewhere(dialect)).limit(1)
    first = select(func.min(INSTANCES.c.segment).label("segment"))
    named = first.where(INSTANCES.c.segment.is_not(None)).cte(recursive=True)
    further = INSTANCES.alias("further")
    next_one = select(func.min(further.c.segment)).where(further.c.segment > named.c.segment)
    behind_each = select(next_one.scalar_subquery()).where(named.c.segment.is_not(None))
    named = named.union_all(behind_each)
    mine = bindparam(_MINE, type_=String())
    others = select(named.c.segment).where(not_(named.c.segment.startswith(mine)))
    return others.limit(1)


_ANY = Prepared.on_both(_any, (_MINE, _BEHIND_MINE))
_OF = {key: _of(column) for key, column in _COLUMNS.items()}

"""Flights: the studies whose associations are open, told by each node to all who ask.

A node tells at most once in a while (`dicom_node.flight_teller`), never an instance at a time, and
is believed for as long as it was seen lately: what a killed node told expires by itself.
"""

from collections.abc import Callable, Collection
from datetime import timedelta

from sqlalchemy import ColumnElement, Select, String, bindparam, delete, exists, func, select

from kernel.clock import monotonic_s
from storage.engine import Database, Transaction
from storage.insertion import insert_into
from storage.prepared import Prepared
from storage.tables import UtcDateTime
from storage.tables.flights import FLIGHTS, RECEIVERS

EXPIRY = timedelta(seconds=10)
"""A node that was not seen for so long is gone; a database that is slow for a moment is not."""

BUSY = timedelta(seconds=2)
"""A node that took nothing for so long is not in a hurry."""

_AT_ONCE = 500
_BELIEVED_S = 0.5


class Watch:
    """Asks on behalf of work that steps aside for a node, and seldom: answers are kept a moment."""

    def __init__(
        self, database: Database, node: str, *, clock: Callable[[], float] = monotonic_s
    ) -> None:
        self._database = database
        self._node = node
        self._clock = clock
        self._asked_at: float | None = None
        self._busy = self._open = False

    def is_busy(self) -> bool:
        """Say whether an association brings instances to the node just now."""
        self._ask()
        return self._busy

    def are_open(self) -> bool:
        """Say whether the node has an association open that brought instances."""
        self._ask()
        return self._open

    def _ask(self) -> None:
        now = self._clock()
        if self._asked_at is not None and now - self._asked_at < _BELIEVED_S:
            return
        with self._database.reading() as tx:
            self._open, self._busy = _of_a_node(tx, self._node)
        self._asked_at = now


def tell(
    tx: Transaction,
    node: str,
    *,
    came: Collection[str],
    gone: Collection[str],
    idle: timedelta = timedelta(),
) -> None:
    """Note which studies came into flight and which left it, and that the node lives.

    Parameters
    ----------
    idle
        How long ago the node took its last instance.
    """
    values = {"seen_at": tx.at, "brought_at": tx.at - idle}
    tx.execute(
        insert_into(tx, RECEIVERS)
        .values(node=node, **values)
        .on_conflict_do_update(index_elements=[RECEIVERS.c.node], set_=values)
    )
    for uids in _portions(gone):
        mine = (FLIGHTS.c.node == node) & FLIGHTS.c.study_uid.in_(uids)
        tx.execute(delete(FLIGHTS).where(mine))
    for uids in _portions(came):
        rows = [{"node": node, "study_uid": uid} for uid in uids]
        tx.execute(insert_into(tx, FLIGHTS).on_conflict_do_nothing(), rows)


def forget(tx: Transaction, node: str) -> None:
    """Take back all that a node told: it begins, and whatever it had open before is not."""
    tx.execute(delete(FLIGHTS).where(FLIGHTS.c.node == node))


def count(tx: Transaction, study_uid: str) -> int:
    """Return how many nodes have associations open that brought instances of a study."""
    found = _open(tx).where(FLIGHTS.c.study_uid == study_uid)
    return int(tx.execute(select(func.count()).select_from(found.subquery())).scalar_one())


def are_open(tx: Transaction, node: str) -> bool:
    """Say whether a node has an association open that brought instances."""
    return _of_a_node(tx, node)[0]


def is_busy(tx: Transaction, node: str) -> bool:
    """Say whether an association brings instances to a node just now."""
    return _of_a_node(tx, node)[1]


def _of_a_node(tx: Transaction, node: str) -> tuple[bool, bool]:
    ((opened, busy),) = tx.rows(_OF_A_NODE, (node, tx.at - EXPIRY, tx.at - BUSY))
    return bool(opened), bool(busy)


def _open(tx: Transaction) -> Select[tuple[str, str]]:
    alive = RECEIVERS.c.seen_at > tx.at - EXPIRY
    return (
        select(FLIGHTS.c.node, FLIGHTS.c.study_uid)
        .join(RECEIVERS, RECEIVERS.c.node == FLIGHTS.c.node)
        .where(alive)
    )


def _node_open(*further: ColumnElement[bool]) -> ColumnElement[bool]:
    joined = FLIGHTS.join(RECEIVERS, RECEIVERS.c.node == FLIGHTS.c.node)
    alive = RECEIVERS.c.seen_at > bindparam("expiry", type_=UtcDateTime())
    mine = FLIGHTS.c.node == bindparam("asked_node", type_=String())
    return exists(select(1).select_from(joined).where(mine, alive, *further))


# Has the node an association open that brought instances, and does one bring them just now?
_OF_A_NODE = Prepared.on_both(
    lambda _: select(
        _node_open(),
        _node_open(RECEIVERS.c.brought_at > bindparam("busy", type_=UtcDateTime())),
    ),
    ("asked_node", "expiry", "busy"),
)


def _portions(uids: Collection[str]) -> list[list[str]]:
    """Part what one statement could not name."""
    listed = sorted(uids)
    return [listed[start : start + _AT_ONCE] for start in range(0, len(listed), _AT_ONCE)]

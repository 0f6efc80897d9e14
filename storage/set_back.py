"""The system clock set back: what was to be done by the moments before is brought back with it.

Whatever waits has a moment from which it is due.  A machine whose clock went ahead (a hypervisor
that tells local time, say) writes moments that are hours off once the clock is right again, and
until then nobody would look at them: no retry, no follow-up, no study that came to rest.  Leases
are brought back as well: who holds one has it for as long as before.

Moments that people agreed on, such as when an offer ends, stay as they are, and what is purged or
thrown away is never hurried.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import ColumnElement, and_, bindparam, column, select, table, update

from kernel.errors import Transient
from kernel.people import ENGINE
from storage import audit
from storage.engine import Database, Transaction
from storage.tables import UtcDateTime

STEP = timedelta(minutes=1)
"""By less than that clocks of several machines differ, and what is due is late by no more."""

ACTION = "clock.set_back"
_KNOWN_FOR = timedelta(minutes=2)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Moments:
    """Columns of a table that say from when on something is due, by the key of its rows.

    Parameters
    ----------
    state
        A column and its values for rows that are not over; of others there may be many.
    """

    table: str
    key: Sequence[str]
    columns: Sequence[str] = ("due_at",)
    state: tuple[str, Sequence[object]] | None = None


MOMENTS = (
    Moments("arrears", ("id",)),
    Moments("arrivals", ("segment", "offset")),
    Moments("availability_notices", ("id",)),
    Moments("commitments", ("id",)),
    Moments("commitments_asked", ("transaction_uid",)),
    Moments("deliveries", ("id",), ("next_at",)),
    Moments("examinations", ("study_uid",)),
    Moments("key_objects", ("instance_uid",)),
    Moments("metadata_due", ("study_uid",)),
    Moments("orthancs", ("name",), ("next_at", "held_until")),
    Moments("prefetches", ("study_uid",)),
    Moments("prior_searches", ("id",)),
    Moments("prior_studies", ("study_uid",)),
    Moments("profiles", ("id",), ("look_again_at",)),
    Moments("receivers", ("node",), ("seen_at", "brought_at")),
    Moments(
        "studies", ("study_uid",), ("first_arrival_at", "last_arrival_at"), ("unsettled", (True,))
    ),
    Moments("tellings", ("fact_seq", "consumer"), ("next_at", "leased_until"), ("state", ("due",))),
    Moments("triage_runs", ("id",), ("due_at", "held_until"), ("state", ("planned", "running"))),
    Moments("workitem_subscribers", ("id",)),
)


class SetBack:
    """Looks again and again whether the clock was set back, also while nothing ran."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._seen: datetime | None = None

    def look(self) -> None:
        """Bring back what waits if the clock is behind what it showed before."""
        at = self._database.clock()
        seen, self._seen = self._seen or self._last_written() or at, at
        if at >= seen - STEP:
            return
        try:
            self._database.run(lambda tx: bring_back(tx, was=seen))
        except Transient:
            self._seen = seen  # the next look tries again
            raise

    def _last_written(self) -> datetime | None:
        with self._database.reading() as tx:
            newest = audit.latest(tx, limit=1)
        return newest[0].at if newest else None


def bring_back(tx: Transaction, *, was: datetime) -> int:
    """Bring every moment that lies ahead back by the step, not before now; return how many.

    Several processes notice the same step, and one of them does it.

    Parameters
    ----------
    was
        What the clock showed before.
    """
    if _is_done(tx, was):
        return 0
    by = was - tx.at
    moved = sum(_moved(tx, each, name, by) for each in MOMENTS for name in each.columns)
    audit.record(
        tx,
        actor=ENGINE,
        action=ACTION,
        subject="clock",
        detail={
            "was": was.isoformat(),
            "seconds": int(by.total_seconds()),
            "moments": moved,
        },
    )
    log.warning("clock.set_back", seconds=int(by.total_seconds()), moments=moved)
    return moved


def _is_done(tx: Transaction, was: datetime) -> bool:
    """Say whether another process noticed this step; each saw the clock last at its own moment."""
    done = audit.last_of(tx, "clock", [ACTION])
    if done is None or abs(tx.at - done.at) > _KNOWN_FOR:
        return False
    return abs(datetime.fromisoformat(str(done.detail["was"])) - was) < STEP


def _moved(tx: Transaction, of: Moments, name: str, by: timedelta) -> int:
    rows = table(of.table, *map(column, of.key), column(name, UtcDateTime()))
    moment = rows.c[name]
    ahead = tx.execute(
        select(*(rows.c[key] for key in of.key), moment).where(moment > tx.at, *_open(of))
    ).all()
    if not ahead:
        return 0
    mine = and_(
        # As it was read: who took or did it meanwhile knows better.
        moment == bindparam("was", type_=UtcDateTime()),
        *(rows.c[key] == bindparam(f"key_{key}") for key in of.key),
    )
    tx.execute(
        update(rows).where(mine).values({name: bindparam("now", type_=UtcDateTime())}),
        [
            {
                **{f"key_{key}": row[at] for at, key in enumerate(of.key)},
                "was": row[-1],
                "now": max(tx.at, row[-1] - by),
            }
            for row in ahead
        ],
    )
    return len(ahead)


def _open(of: Moments) -> list[ColumnElement[bool]]:
    if of.state is None:
        return []
    name, values = of.state
    return [column(name).in_(values)]

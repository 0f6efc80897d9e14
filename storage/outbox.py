"""Facts leave in the transaction that made them true, and each consumer hears each once.

`append` writes a fact beside the change.  The relay fans a fact out into one *telling* a consumer,
claims tellings that are due (in order per consumer and subject) and has the reaction run with
`told`, whose guard makes 'at least once' into 'effect once'.  A telling that fails is retried with
growing pauses until its horizon, then parked with its reason; `replay` takes it up again.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, exists, func, insert, not_, or_, select, update
from sqlalchemy.engine import RowMapping

from kernel.errors import EngineError, NotFound, Transient
from kernel.facts import Fact, from_parts, to_body
from storage.engine import Transaction
from storage.insertion import insert_into
from storage.prepared import Prepared
from storage.signs import Sign
from storage.tables.outbox import FACTS, REACTED, TELLINGS
from storage.work import Reaction

LEASE = timedelta(seconds=15)
HORIZON = timedelta(days=3)
FIRST_PAUSE = timedelta(seconds=1)
LONGEST_PAUSE = timedelta(minutes=10)
MAX_REFUSAL_LENGTH = 500

# As the index has it, word for word: "IS 0" would go through every fact there ever was.
_NEW = not_(FACTS.c.fanned_out)


class TellingUnknown(NotFound):
    """No such fact waits for this consumer."""

    code = "outbox.telling_unknown"


@dataclass(frozen=True, slots=True)
class Telling:
    """One fact that one consumer has still to hear."""

    fact_seq: int
    consumer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Parked:
    """A telling that was given up, with the reason a person can act on."""

    fact_seq: int
    consumer: str
    kind: str
    subject: str
    attempts: int
    code: str
    reason: str
    since: datetime


def append(tx: Transaction, fact: Fact) -> None:
    """Store a fact in the transaction of the change that made it true."""
    tx.execute(
        insert(FACTS).values(
            id=fact.id,
            kind=fact.kind,
            version=fact.version,
            subject=fact.subject,
            at=fact.at,
            actor=fact.actor,
            cause=fact.cause,
            body=to_body(fact),
            fanned_out=False,
        )
    )


def fan_out(tx: Transaction, consumers: Mapping[str, Iterable[str]], *, limit: int = 200) -> int:
    """Write one telling for each consumer of each new fact; return how many facts were new.

    `consumers` maps the kind of a fact to the names of those who want to hear it.
    """
    fresh = _locked(tx, select(FACTS).where(_NEW).order_by(FACTS.c.seq).limit(limit))
    rows = tx.execute(fresh).mappings().all()
    tellings = [
        {
            "fact_seq": row["seq"],
            "consumer": consumer,
            "subject": row["subject"],
            "state": "due",
            "attempts": 0,
            "next_at": tx.at,
            "moved_at": tx.at,
        }
        for row in rows
        for consumer in consumers.get(row["kind"], ())
    ]
    if tellings:
        tx.execute(insert(TELLINGS), tellings)
    if rows:
        seqs = [row["seq"] for row in rows]
        tx.execute(update(FACTS).where(FACTS.c.seq.in_(seqs)).values(fanned_out=True))
    return len(rows)


def claim_due(tx: Transaction, *, limit: int = 32, lease: timedelta = LEASE) -> list[Telling]:
    """Lease the tellings that are due now, at most the oldest open one a consumer and subject."""
    earlier = TELLINGS.alias("earlier")
    nothing_before = ~exists().where(
        earlier.c.consumer == TELLINGS.c.consumer,
        earlier.c.subject == TELLINGS.c.subject,
        earlier.c.state != "done",
        earlier.c.fact_seq < TELLINGS.c.fact_seq,
    )
    free = or_(TELLINGS.c.leased_until.is_(None), TELLINGS.c.leased_until <= tx.at)
    due = _locked(
        tx,
        select(TELLINGS.c.fact_seq, TELLINGS.c.consumer)
        .where(TELLINGS.c.state == "due", TELLINGS.c.next_at <= tx.at, free, nothing_before)
        .order_by(TELLINGS.c.fact_seq)
        .limit(limit),
    )
    claimed = [Telling(row.fact_seq, row.consumer) for row in tx.execute(due)]
    for telling in claimed:
        tx.execute(update(TELLINGS).where(_is(telling)).values(leased_until=tx.at + lease))
    return claimed


def told(tx: Transaction, telling: Telling, reaction: Mapping[type[Fact], Reaction]) -> None:
    """Have a consumer react to a fact, once, in this transaction."""
    fact = load(tx, telling.fact_seq)
    if first_time(tx, telling.consumer, fact.id):
        reaction[type(fact)](tx, fact)
    tx.execute(
        update(TELLINGS)
        .where(_is(telling))
        .values(state="done", moved_at=tx.at, leased_until=None, refusal_code=None, refusal=None)
    )


def first_time(tx: Transaction, consumer: str, fact_id: str) -> bool:
    """Record that a consumer reacts to a fact; False if it already did."""
    done = tx.execute(
        insert_into(tx, REACTED)
        .values(consumer=consumer, fact_id=fact_id, at=tx.at)
        .on_conflict_do_nothing()
        # Not the row count, which a driver need not tell for an INSERT.
        .returning(REACTED.c.fact_id)
    )
    return done.first() is not None


def failed(tx: Transaction, telling: Telling, error: EngineError) -> None:
    """Put off a telling whose reaction could not be done, or park it with its reason.

    A `Transient` is retried until the horizon; whatever else failed is a matter for a person.
    """
    row = tx.execute(
        select(TELLINGS.c.attempts, FACTS.c.at)
        .join(FACTS, FACTS.c.seq == TELLINGS.c.fact_seq)
        .where(_is(telling))
    ).one()
    retry = isinstance(error, Transient) and tx.at - row.at < HORIZON
    pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(row.attempts, 20))
    tx.execute(
        update(TELLINGS)
        .where(_is(telling))
        .values(
            state="due" if retry else "parked",
            attempts=row.attempts + 1,
            next_at=tx.at + pause,
            leased_until=None,
            refusal_code=error.code,
            refusal=error.sentence[:MAX_REFUSAL_LENGTH],
            moved_at=tx.at,
        )
    )


def load(tx: Transaction, fact_seq: int) -> Fact:
    """Return a stored fact.

    Raises
    ------
    TellingUnknown
        No fact has this number.
    """
    row = tx.execute(select(FACTS).where(FACTS.c.seq == fact_seq)).mappings().first()
    if row is None:
        raise TellingUnknown("no fact has this number", fact_seq=fact_seq)
    return _fact(row)


def facts_of(tx: Transaction, subject: str) -> list[Fact]:
    """Return all facts of a subject in the order in which they were told."""
    found = tx.execute(select(FACTS).where(FACTS.c.subject == subject).order_by(FACTS.c.seq))
    return [_fact(row) for row in found.mappings()]


def parked(tx: Transaction) -> list[Parked]:
    """Return every parked telling, the oldest first."""
    found = tx.execute(
        select(TELLINGS, FACTS.c.kind)
        .join(FACTS, FACTS.c.seq == TELLINGS.c.fact_seq)
        .where(TELLINGS.c.state == "parked")
        .order_by(TELLINGS.c.fact_seq)
    )
    return [
        Parked(
            fact_seq=row["fact_seq"],
            consumer=row["consumer"],
            kind=row["kind"],
            subject=row["subject"],
            attempts=row["attempts"],
            code=row["refusal_code"] or "",
            reason=row["refusal"] or "",
            since=row["moved_at"],
        )
        for row in found.mappings()
    ]


def _telling_due(at: ColumnElement[datetime]) -> Select[Any]:
    return select(1).where(
        TELLINGS.c.state == "due",
        TELLINGS.c.next_at <= at,
        or_(TELLINGS.c.leased_until.is_(None), TELLINGS.c.leased_until <= at),
    )


SIGNS = (Sign(lambda _at: select(1).where(_NEW)), Sign(_telling_due))
"""Of a fact that waits to be fanned out, and of a telling that is due."""


def newest(tx: Transaction) -> int:
    """Return the number of the newest fact, 0 before the first."""
    return int(tx.rows(_NEWEST, ())[0][0])


_NEWEST = Prepared.on_both(lambda _: select(func.coalesce(func.max(FACTS.c.seq), 0)))


def waiting(tx: Transaction) -> int:
    """Return how many facts or tellings are open and not parked: the backlog.

    In one statement: what is fanned out between two would be counted by neither.
    """
    due = select(func.count()).select_from(TELLINGS).where(TELLINGS.c.state == "due")
    fresh = select(func.count()).select_from(FACTS).where(_NEW)
    counted = select(due.scalar_subquery() + fresh.scalar_subquery())
    return int(tx.execute(counted).scalar_one())


def replay(tx: Transaction, *, fact_seq: int | None = None, consumer: str | None = None) -> int:
    """Take up parked tellings again, all or the named ones; return how many."""
    wanted = [TELLINGS.c.state == "parked"]
    if fact_seq is not None:
        wanted.append(TELLINGS.c.fact_seq == fact_seq)
    if consumer is not None:
        wanted.append(TELLINGS.c.consumer == consumer)
    return tx.execute(
        update(TELLINGS)
        .where(and_(*wanted))
        .values(state="due", next_at=tx.at, attempts=0, moved_at=tx.at)
    ).rowcount


def _is(telling: Telling) -> ColumnElement[bool]:
    return and_(TELLINGS.c.fact_seq == telling.fact_seq, TELLINGS.c.consumer == telling.consumer)


def _locked(tx: Transaction, statement: Select[Any]) -> Select[Any]:
    """Lock the rows on PostgreSQL, passing over those another relay has; SQLite has one writer."""
    return statement.with_for_update(skip_locked=True) if tx.dialect != "sqlite" else statement


def _fact(row: RowMapping) -> Fact:
    return from_parts(
        row["kind"],
        row["version"],
        row["body"],
        id=row["id"],
        subject=row["subject"],
        at=row["at"],
        actor=row["actor"],
        cause=row["cause"],
    )

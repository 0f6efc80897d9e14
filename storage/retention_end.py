"""Retention that ended is found by looking, and proposed to a person: nothing goes by itself.

Whether a study may go depends on what changes under it: a hold, a case, a signature, another
instance.  So each study that is old enough is looked at again and again, and the rules are asked
once more within the transaction that withdraws it.  Only a setting has the engine withdraw what
it finds; even then it can be brought back until the grace is over.  What a person brought back
stays until a person withdraws it, or until the day that was named: the engine decided once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import structlog
from sqlalchemy import and_, case, exists, func, select, text, update

from kernel.errors import NotFound
from kernel.people import ENGINE, Actor
from storage import audit, hidden, withdrawals
from storage.correction import checked_reason
from storage.engine import Database, Transaction
from storage.insertion import insert_into
from storage.purge import KeepingOf
from storage.retention import (
    Keeping,
    Reason,
    Retention,
    WithdrawalRefused,
    require_withdrawable,
    years_later,
)
from storage.signs import Sign, due_by
from storage.tables.archive import STUDIES
from storage.tables.retention_ends import RETENTION_ENDS
from storage.withdrawals import Withdrawal
from storage.work import DueWork

LOOK_AGAIN = timedelta(days=1)
"""So soon what was proposed or is held back is looked at again."""
LOOK_AT_KEPT = timedelta(days=90)
LOOK_AT_GONE = timedelta(days=365)
"""So soon a study that is out of sight."""
MAX_YEARS = 200
_DUE_LIMIT = 20

log = structlog.get_logger()


class EndState(StrEnum):
    """How a study stands whose retention may be over."""

    KEPT = "kept"
    """Its own retention is longer than the shortest."""
    PROPOSED = "proposed"
    """Retention is over, and nothing keeps it: a person decides."""
    HELD_BACK = "held_back"
    """Retention is over, and a hold or an open case keeps it."""
    PROLONGED = "prolonged"
    """A person said that it is kept for longer."""
    RESTORED = "restored"
    """A person brought it back: it stays until a person withdraws it."""
    OVER = "over"
    """It was withdrawn."""


_OPEN = (EndState.PROPOSED.value, EndState.HELD_BACK.value)
_LISTED = (*_OPEN, EndState.RESTORED.value)
_IS_LISTED = text("retention_ends.state IN ('proposed', 'held_back', 'restored')")
"""Spelled as the index is, which holds no others."""


class Ending(StrEnum):
    """What is done when retention ends."""

    PROPOSE = "propose"
    WITHDRAW = "withdraw"


class NotProposed(NotFound):
    """The retention of a study is not over, as far as it was looked at."""

    code = "retention.not_proposed"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionEnd:
    """A study whose retention is over, as it was when it was looked at last."""

    study_uid: str
    state: EndState
    code: str
    sentence: str
    owner: str
    modalities: str
    kept_until: datetime
    proposed_at: datetime | None


class RetentionEnds:
    """Finds studies whose retention is over.

    Parameters
    ----------
    keeping_of
        Tells what the rules need to know of a study, cases and reports among it.
    ending
        Whether what is found is proposed to a person, or withdrawn at once.
    """

    def __init__(
        self, database: Database, retention: Retention, *, ending: Ending, keeping_of: KeepingOf
    ) -> None:
        self._database = database
        self._retention = retention
        self._ending = ending
        self._keeping_of = keeping_of

    def due_work(self) -> Sequence[DueWork]:
        """Return what the relay drives."""
        return [
            DueWork(
                name="storage.end_retention",
                queue="default",
                due=self.due,
                run=self.look,
                can_wait=True,
                signs=(due_by(RETENTION_ENDS.c.due_at), *self._signs_of_new()),
            )
        ]

    def _signs_of_new(self) -> Sequence[Sign]:
        """Return the signs of what `_new` finds: before anything was looked at, and then."""
        anything = select(RETENTION_ENDS.c.study_uid)
        latest = select(func.max(RETENTION_ENDS.c.first_arrival_at)).scalar_subquery()
        known = anything.where(RETENTION_ENDS.c.study_uid == STUDIES.c.study_uid)
        came = STUDIES.c.first_arrival_at
        return (
            Sign(lambda at: select(1).where(came <= at, ~exists(anything)), self._age),
            Sign(
                lambda at: select(1).where(
                    came <= at, came >= latest, ~exists(known.correlate(STUDIES))
                ),
                self._age,
            ),
        )

    @property
    def _age(self) -> timedelta:
        return timedelta(days=365 * self._retention.least_years)

    def due(self, tx: Transaction) -> list[str]:
        """Return studies that nobody has looked at yet, or not for a while."""
        again = select(RETENTION_ENDS.c.study_uid).where(RETENTION_ENDS.c.due_at <= tx.at)
        found = tx.execute(again.order_by(RETENTION_ENDS.c.due_at).limit(_DUE_LIMIT)).scalars()
        return list(found) or self._new(tx)

    def look(self, study_uid: str) -> None:
        """Look at one study; done twice, it is done once."""
        with self._database.transaction() as tx:
            row = tx.execute(
                select(RETENTION_ENDS).where(RETENTION_ENDS.c.study_uid == study_uid)
            ).first()
            if row is not None and row.due_at > tx.at:
                return
            keeping = self._keeping_of(tx, study_uid)
            decided_at = None if row is None else row.decided_at
            verdict = _judged(tx, keeping, self._retention, decided_at)
            state, known = verdict.state, row is not None and row.state in _LISTED
            proposed_at = row.proposed_at if row is not None and known else tx.at
            _keep(tx, keeping, self._retention, verdict, proposed_at)
            if state is EndState.PROPOSED and self._ending is Ending.WITHDRAW:
                _withdrawn(tx, keeping, self._retention, actor=ENGINE)
            elif state.value in _OPEN and not known:
                _note(tx, "study.retention_over", study_uid, ENGINE, {"state": state.value})

    def _new(self, tx: Transaction) -> list[str]:
        """Return the next studies that came so long ago that retention may be over.

        The first arrival never changes, and the last is not before it.  All before the latest one
        that was looked at have a row, so the walk goes on there.
        """
        latest = tx.execute(select(func.max(RETENTION_ENDS.c.first_arrival_at))).scalar()
        before = tx.at - self._age
        conditions = [STUDIES.c.first_arrival_at <= before, RETENTION_ENDS.c.study_uid.is_(None)]
        if latest is not None:
            conditions.append(STUDIES.c.first_arrival_at >= latest)
        joined = STUDIES.outerjoin(
            RETENTION_ENDS, RETENTION_ENDS.c.study_uid == STUDIES.c.study_uid
        )
        query = select(STUDIES.c.study_uid).select_from(joined).where(and_(*conditions))
        return list(
            tx.execute(query.order_by(STUDIES.c.first_arrival_at).limit(_DUE_LIMIT)).scalars()
        )


def listed(tx: Transaction, *, limit: int = 200) -> list[RetentionEnd]:
    """Return the studies whose retention is over and that are still shown, the longest first.

    Those that a person brought back come last.
    """
    query = select(RETENTION_ENDS).where(_IS_LISTED)
    decided = case((RETENTION_ENDS.c.state == EndState.RESTORED.value, 1), else_=0)
    rows = tx.execute(query.order_by(decided, RETENTION_ENDS.c.kept_until).limit(limit)).mappings()
    return [_end(row) for row in rows]


def counted(tx: Transaction) -> int:
    """Return how many studies there are whose retention is over."""
    query = select(func.count()).select_from(RETENTION_ENDS).where(_IS_LISTED)
    return int(tx.execute(query).scalar_one())


def withdraw(
    tx: Transaction, study_uid: str, retention: Retention, *, keeping_of: KeepingOf, actor: Actor
) -> Withdrawal:
    """Withdraw a study whose retention is over, as a person decided, even one brought back.

    Raises
    ------
    NotProposed, WithdrawalRefused
        It was not proposed, or a rule keeps it by now.
    """
    _proposed(tx, study_uid)
    return _withdrawn(tx, keeping_of(tx, study_uid), retention, actor=actor)


def restore(
    tx: Transaction,
    number: int,
    retention: Retention,
    *,
    keeping_of: KeepingOf,
    actor: Actor,
    years: int | None = None,
) -> Withdrawal:
    """Undo a withdrawal; a study that went because its retention was over stays from now on.

    Parameters
    ----------
    years
        It stays for so long; None: until a person withdraws it.

    Raises
    ------
    WithdrawalUnknown
        There is none of this number that can be undone.
    """
    made = withdrawals.restore(tx, number, actor=actor)
    if made.reason != Reason.RETENTION_EXPIRED.value:
        return made
    keeping = keeping_of(tx, made.study_uid)
    verdict = _judged(tx, keeping, retention, None)
    _keep(tx, keeping, retention, verdict, tx.at)
    # Who decided before that it goes is in the audit chain.
    undone = dict.fromkeys(("decided_by", "decided_at", "decided_reason"))
    ends = RETENTION_ENDS
    tx.execute(update(ends).where(ends.c.study_uid == made.study_uid).values(undone))
    if years is not None and verdict.state.value in _LISTED:
        prolong(tx, made.study_uid, years=years, reason="brought back", actor=actor)
    return made


def prolong(
    tx: Transaction, study_uid: str, *, years: int, reason: str, actor: Actor
) -> RetentionEnd:
    """Keep a study whose retention is over for some years more, from now.

    Raises
    ------
    NotProposed, ReasonMissing
        It was not proposed, or nobody says why.
    """
    found = _proposed(tx, study_uid)
    until = years_later(tx.at, max(1, min(years, MAX_YEARS)))
    tx.execute(
        update(RETENTION_ENDS)
        .where(RETENTION_ENDS.c.study_uid == study_uid)
        .values(
            state=EndState.PROLONGED.value,
            code="retention.prolonged",
            sentence="It is kept for longer because a person said so.",
            kept_until=until,
            due_at=until,
            decided_by=actor.ref,
            decided_at=tx.at,
            decided_reason=checked_reason(reason),
        )
    )
    _note(tx, "study.retention_prolonged", study_uid, actor, {"until": f"{until:%F}"})
    return found


@dataclass(frozen=True, slots=True)
class _Verdict:
    """How a study stands now, and why if anything is to be said."""

    state: EndState
    code: str
    sentence: str = ""


def _judged(
    tx: Transaction, keeping: Keeping, retention: Retention, decided_at: datetime | None
) -> _Verdict:
    """Say how a study stands.

    Parameters
    ----------
    decided_at
        When a person or the engine decided last that it goes, or stays until a day.
    """
    if not hidden.is_shown(tx, keeping.study_uid):
        return _plain(EndState.OVER)
    if tx.at < keeping.kept_until(retention):
        return _plain(EndState.KEPT)
    try:
        require_withdrawable(keeping, Reason.RETENTION_EXPIRED, retention, at=tx.at)
    except WithdrawalRefused as refusal:
        return _Verdict(EndState.HELD_BACK, refusal.code, f"{refusal.sentence}.")
    back = withdrawals.brought_back(tx, keeping.study_uid, Reason.RETENTION_EXPIRED)
    if back is None or (decided_at is not None and decided_at >= back.at):
        return _plain(EndState.PROPOSED)
    said = f"Brought back by {back.by} on {back.at:%Y-%m-%d}: it stays until a person withdraws it."
    return _Verdict(EndState.RESTORED, "retention.restored", said)


def _plain(state: EndState) -> _Verdict:
    return _Verdict(state, f"retention.{state.value}")


def _proposed(tx: Transaction, study_uid: str) -> RetentionEnd:
    table = RETENTION_ENDS
    query = select(table).where(table.c.study_uid == study_uid, table.c.state.in_(_LISTED))
    row = tx.execute(query.with_for_update()).mappings().first()
    if row is None:
        raise NotProposed("the retention of this study was not found to be over")
    return _end(row)


def _withdrawn(
    tx: Transaction, keeping: Keeping, retention: Retention, *, actor: Actor
) -> Withdrawal:
    made = withdrawals.withdraw(tx, keeping, Reason.RETENTION_EXPIRED, retention, actor=actor)
    tx.execute(
        update(RETENTION_ENDS)
        .where(RETENTION_ENDS.c.study_uid == keeping.study_uid)
        .values(
            state=EndState.OVER.value,
            code="retention.over",
            sentence="It was withdrawn.",
            withdrawal=made.number,
            due_at=tx.at + LOOK_AT_GONE,
            decided_by=actor.ref,
            decided_at=tx.at,
        )
    )
    return made


def _keep(
    tx: Transaction,
    keeping: Keeping,
    retention: Retention,
    verdict: _Verdict,
    proposed_at: datetime,
) -> None:
    table, state = RETENTION_ENDS, verdict.state
    until = keeping.kept_until(retention)
    again = {
        # The figures may be changed to shorter ones.
        EndState.KEPT: min(until, tx.at + LOOK_AT_KEPT),
        EndState.OVER: tx.at + LOOK_AT_GONE,
    }
    told = {
        "state": state.value,
        "code": verdict.code,
        "sentence": verdict.sentence[:300],
        "owner": keeping.owner,
        "modalities": "/".join(keeping.modalities)[:64],
        "kept_until": until,
        "proposed_at": proposed_at if state.value in _LISTED else None,
        "due_at": again.get(state, tx.at + LOOK_AGAIN),
    }
    arrived = select(STUDIES.c.first_arrival_at).where(STUDIES.c.study_uid == keeping.study_uid)
    first = {
        "study_uid": keeping.study_uid,
        "first_arrival_at": tx.execute(arrived).scalar_one(),
    }
    tx.execute(
        insert_into(tx, table)
        .values(**first, **told)
        .on_conflict_do_update(index_elements=[table.c.study_uid], set_=told)
    )


def _note(
    tx: Transaction, action: str, study_uid: str, actor: Actor, detail: Mapping[str, str]
) -> None:
    audit.record(tx, actor=actor, action=action, subject=f"study:{study_uid}", detail=dict(detail))


def _end(row: Mapping[Any, Any]) -> RetentionEnd:
    told = {name: row[name] for name in RetentionEnd.__dataclass_fields__}
    return RetentionEnd(**{**told, "state": EndState(row["state"])})

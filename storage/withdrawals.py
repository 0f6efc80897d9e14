"""Withdrawals: instances taken out of sight with a reason, brought back within a time, and holds.

What is withdrawn is hidden at once from every query, retrieval and page, and can be restored until
`storage.purge` has removed its bytes.  Frozen manifests stay as they are; where something of a
settled study is left, what is left is frozen as the next one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, insert, select, update

from kernel.facts import StudyRestored, StudyWithdrawn
from kernel.people import Actor
from storage import archive, audit, hidden, outbox
from storage.archive import InstanceUnknown, StudyUnknown
from storage.correction import checked_reason
from storage.engine import Transaction
from storage.retention import (
    Keeping,
    Reason,
    Retention,
    UnderHold,
    WithdrawalRefused,
    WithdrawalUnknown,
    require_withdrawable,
)
from storage.tables.archive import INSTANCES, SERIES, STUDIES
from storage.tables.withdrawals import HOLDS, WITHDRAWALS


@dataclass(frozen=True, slots=True)
class BroughtBack:
    """Who undid a withdrawal, and when."""

    by: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawal:
    """One act of withdrawing; the UIDs that it does not go down to are None."""

    number: int
    study_uid: str
    series_uid: str | None
    instance_uid: str | None
    instances: int
    reason: str
    actor: str
    withdrawn_at: datetime
    purge_at: datetime
    restored_at: datetime | None
    restored_by: str | None
    purged_at: datetime | None

    @property
    def can_be_restored(self) -> bool:
        """Whether its bytes are still there."""
        return self.restored_at is None and self.purged_at is None

    @property
    def meaning(self) -> str:
        """The reason in words."""
        return Reason(self.reason).meaning


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A legal hold on a study, in force until it is released."""

    number: int
    study_uid: str
    reason: str
    placed_by: str
    placed_at: datetime
    released_at: datetime | None
    released_by: str | None
    released_reason: str | None


def withdraw(
    tx: Transaction,
    keeping: Keeping,
    reason: Reason,
    retention: Retention,
    *,
    series_uid: str | None = None,
    instance_uids: frozenset[str] | None = None,
    actor: Actor,
) -> Withdrawal:
    """Take what is shown of a study, a series of it or some instances out of sight.

    The caller has said whose study it is and locked what `keeping` tells of cases.

    Raises
    ------
    WithdrawalRefused
        A rule keeps it.
    StudyUnknown, InstanceUnknown
        Nothing of this is shown.
    """
    _lock(tx, keeping.study_uid)
    require_withdrawable(keeping, reason, retention, at=tx.at)
    named = [INSTANCES.c.study_uid == keeping.study_uid, INSTANCES.c.withdrawn.is_(None)]
    if series_uid is not None:
        named.append(INSTANCES.c.series_uid == series_uid)
    if instance_uids is not None:
        named.append(INSTANCES.c.instance_uid.in_(instance_uids))
    uids = list(tx.execute(select(INSTANCES.c.instance_uid).where(*named)).scalars())
    if not uids:
        unknown = StudyUnknown if instance_uids is None else InstanceUnknown
        raise unknown("nothing is stored under this address")
    alone = uids[0] if instance_uids is not None and len(uids) == 1 else None
    row = {
        "study_uid": keeping.study_uid,
        "series_uid": series_uid,
        "instance_uid": alone,
        "instances": len(uids),
        "reason": reason.value,
        "actor": actor.ref,
        "withdrawn_at": tx.at,
        "purge_at": tx.at + retention.grace,
    }
    key = tx.execute(insert(WITHDRAWALS).values(**row)).inserted_primary_key
    assert key is not None
    number = int(key[0])
    tx.execute(update(INSTANCES).where(*named).values(withdrawn=number))
    made = _one(tx, number)
    _changed(tx, made, "study.withdrawn", actor)
    outbox.append(
        tx,
        StudyWithdrawn(
            subject=made.study_uid,
            at=tx.at,
            actor=actor.ref,
            study_uid=made.study_uid,
            withdrawal=number,
            reason=reason.value,
            instances=len(uids),
            whole=not hidden.is_shown(tx, made.study_uid),
        ),
    )
    return made


def restore(tx: Transaction, number: int, *, actor: Actor) -> Withdrawal:
    """Undo a withdrawal that is not purged.

    Raises
    ------
    WithdrawalUnknown
        There is none of this number that can be undone.
    """
    of_it = select(WITHDRAWALS.c.study_uid).where(WITHDRAWALS.c.number == number)
    study_uid = tx.execute(of_it).scalar()
    if study_uid is not None:
        _lock(tx, study_uid)  # before the withdrawal, as a purge does
    done = tx.execute(
        update(WITHDRAWALS)
        .where(
            WITHDRAWALS.c.number == number,
            WITHDRAWALS.c.restored_at.is_(None),
            WITHDRAWALS.c.purged_at.is_(None),
        )
        .values(restored_at=tx.at, restored_by=actor.ref)
    )
    if done.rowcount != 1 or not _all_there(tx, number):
        raise WithdrawalUnknown("there is no such withdrawal, or it is restored or purged")
    tx.execute(update(INSTANCES).where(INSTANCES.c.withdrawn == number).values(withdrawn=None))
    made = _one(tx, number)
    _changed(tx, made, "study.restored", actor)
    outbox.append(
        tx,
        StudyRestored(
            subject=made.study_uid,
            at=tx.at,
            actor=actor.ref,
            study_uid=made.study_uid,
            withdrawal=number,
            instances=made.instances,
        ),
    )
    return made


def brought_back(tx: Transaction, study_uid: str, reason: Reason) -> BroughtBack | None:
    """Return who undid a withdrawal of a study for a reason last; None if nobody did."""
    query = (
        select(WITHDRAWALS.c.restored_by, WITHDRAWALS.c.restored_at)
        .where(
            WITHDRAWALS.c.study_uid == study_uid,
            WITHDRAWALS.c.reason == reason.value,
            WITHDRAWALS.c.restored_at.is_not(None),
        )
        .order_by(WITHDRAWALS.c.restored_at.desc())
    )
    row = tx.execute(query.limit(1)).first()
    return None if row is None else BroughtBack(row.restored_by, row.restored_at)


def hold(tx: Transaction, study_uid: str, *, reason: str, actor: Actor) -> Hold:
    """Put a legal hold on a study: nothing of it is withdrawn or purged until it is released.

    Raises
    ------
    StudyUnknown, UnderHold, ReasonMissing
        There is no such study, it is under hold already, or nobody says why.
    """
    _lock(tx, study_uid)
    if is_held(tx, study_uid):
        raise UnderHold("a legal hold lies on this study already", study_uid=study_uid)
    tx.execute(
        insert(HOLDS).values(
            study_uid=study_uid,
            reason=checked_reason(reason),
            placed_by=actor.ref,
            placed_at=tx.at,
        )
    )
    audit.record(tx, actor=actor, action="study.held", subject=f"study:{study_uid}")
    return holds(tx, study_uid)[0]


def release(tx: Transaction, study_uid: str, *, reason: str, actor: Actor) -> Hold:
    """Release the legal hold on a study.

    Raises
    ------
    WithdrawalRefused, ReasonMissing
        None lies on it, or nobody says why it goes.
    """
    done = tx.execute(
        update(HOLDS)
        .where(HOLDS.c.study_uid == study_uid, HOLDS.c.released_at.is_(None))
        .values(released_at=tx.at, released_by=actor.ref, released_reason=checked_reason(reason))
    )
    if done.rowcount != 1:
        raise WithdrawalRefused("no legal hold lies on this study", study_uid=study_uid)
    audit.record(tx, actor=actor, action="study.released", subject=f"study:{study_uid}")
    return holds(tx, study_uid)[0]


def is_held(tx: Transaction, study_uid: str) -> bool:
    """Say whether a legal hold lies on a study."""
    query = select(HOLDS.c.number).where(
        HOLDS.c.study_uid == study_uid, HOLDS.c.released_at.is_(None)
    )
    return tx.execute(query).first() is not None


def holds(tx: Transaction, study_uid: str) -> list[Hold]:
    """Return the holds of a study, the newest first."""
    query = select(HOLDS).where(HOLDS.c.study_uid == study_uid).order_by(HOLDS.c.number.desc())
    return [Hold(**row) for row in tx.execute(query).mappings()]


def listed(tx: Transaction, *, study_uid: str = "", limit: int = 200) -> list[Withdrawal]:
    """Return withdrawals, those restored or purged among them, the newest first."""
    wanted = [WITHDRAWALS.c.study_uid == study_uid] if study_uid else []
    return _where(tx, *wanted)[:limit] if study_uid else _where(tx, limit=limit)


def open_ones(tx: Transaction, study_uid: str) -> list[Withdrawal]:
    """Return the withdrawals of a study that can be restored, the newest first."""
    return [each for each in listed(tx, study_uid=study_uid) if each.can_be_restored]


def kept(tx: Transaction, study_uid: str) -> tuple[str, str, tuple[str, ...], datetime]:
    """Return the organisation and AE title that sent a study, its modalities, its last arrival.

    Raises
    ------
    StudyUnknown
        There is no such study.
    """
    row = tx.execute(select(STUDIES).where(STUDIES.c.study_uid == study_uid)).first()
    if row is None:
        raise StudyUnknown("no instance of this study was ever admitted", study_uid=study_uid)
    modalities = select(SERIES.c.modality).where(SERIES.c.study_uid == study_uid).distinct()
    found = tuple(sorted(tx.execute(modalities).scalars()))
    return row.sender_organisation, row.station_ae_title, found, row.last_arrival_at


def _changed(tx: Transaction, made: Withdrawal, action: str, actor: Actor) -> None:
    """Freeze what is left of a settled study, and note who changed it."""
    study = STUDIES.c.study_uid == made.study_uid
    was_settled = tx.execute(select(STUDIES.c.unsettled.is_(False)).where(study)).scalar()
    if was_settled and hidden.is_shown(tx, made.study_uid):
        tx.execute(update(STUDIES).where(study).values(unsettled=True))
        version = tx.execute(select(STUDIES.c.manifest_version).where(study)).scalar()
        if version:  # else it is judged first whether it is whole
            archive.freeze_manifest(tx, made.study_uid)
    audit.record(
        tx,
        actor=actor,
        action=action,
        subject=f"study:{made.study_uid}",
        detail={
            "withdrawal": made.number,
            "series": made.series_uid,
            "instance": made.instance_uid,
            "instances": made.instances,
            "reason": made.reason,
        },
    )


def _lock(tx: Transaction, study_uid: str) -> None:
    query = select(STUDIES.c.study_uid).where(STUDIES.c.study_uid == study_uid).with_for_update()
    if tx.execute(query).first() is None:
        raise StudyUnknown("no instance of this study was ever admitted", study_uid=study_uid)


def _all_there(tx: Transaction, number: int) -> bool:
    gone = select(INSTANCES.c.instance_uid).where(
        INSTANCES.c.withdrawn == number,
        INSTANCES.c.segment.is_(None),
        INSTANCES.c.pack_key.is_(None),
    )
    return tx.execute(gone.limit(1)).first() is None


def _one(tx: Transaction, number: int) -> Withdrawal:
    return _where(tx, WITHDRAWALS.c.number == number)[0]


def _where(
    tx: Transaction, *conditions: ColumnElement[bool], limit: int | None = None
) -> list[Withdrawal]:
    query = select(WITHDRAWALS).where(*conditions).order_by(WITHDRAWALS.c.number.desc())
    return [_withdrawal(row) for row in tx.execute(query.limit(limit)).mappings()]


def _withdrawal(row: Mapping[Any, Any]) -> Withdrawal:
    return Withdrawal(**{name: row[name] for name in Withdrawal.__dataclass_fields__})

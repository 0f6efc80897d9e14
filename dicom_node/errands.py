"""Rows of what this node still has to tell or ask peers: availability notices, commitments."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Table, select, update

from storage import claims
from storage.engine import Transaction
from storage.insertion import insert_into
from storage.signs import due_by
from storage.tables.dicom_node import COMMITMENTS_ASKED, NOTICES

WAITING, TAKEN, GIVEN_UP = "waiting", "taken", "given_up"
UNWANTED = "unwanted"
"""The peer is not registered any more, or does not want to know any more."""
ASKED, COMMITTED, FAILED = "asked", "committed", "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One manifest of a study of which a peer is to be told."""

    id: str
    ae_title: str
    study_uid: str
    manifest_version: int
    attempts: int
    made_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitmentAsked:
    """One transaction by which we ask a peer to answer for instances."""

    transaction_uid: str
    ae_title: str
    asked: tuple[tuple[str, str], ...]
    failed: tuple[str, ...]
    state: str
    attempts: int
    asked_at: datetime


def add_notice(tx: Transaction, notice: Notice) -> None:
    """Keep a notice that is due now; the same again changes nothing."""
    values = {name: getattr(notice, name) for name in Notice.__dataclass_fields__}
    _insert(tx, NOTICES, {**values, "state": WAITING, "due_at": tx.at, "ended_at": None})


NOTICE_SIGNS = (due_by(NOTICES.c.due_at),)
ASKED_SIGNS = (due_by(COMMITMENTS_ASKED.c.due_at),)


def notices_due(tx: Transaction) -> list[str]:
    """Return the ids of notices that are to be told now."""
    return claims.due(tx, NOTICES.c.id)


def claim_notice(tx: Transaction, notice_id: str, *, until: datetime) -> Notice | None:
    """Take a notice that is due, until a moment; None if another has it or it is over."""
    row = claims.claim(tx, NOTICES.c.id, notice_id, until=until)
    if row is None:
        return None
    return Notice(**{name: row[name] for name in Notice.__dataclass_fields__})


def postpone_notice(tx: Transaction, notice_id: str, *, due_at: datetime) -> None:
    """Set the moment of the next attempt."""
    tx.execute(update(NOTICES).where(NOTICES.c.id == notice_id).values(due_at=due_at))


def end_notice(tx: Transaction, notice_id: str, state: str) -> None:
    """Note that a notice is over, and how."""
    tx.execute(
        update(NOTICES)
        .where(NOTICES.c.id == notice_id)
        .values(state=state, due_at=None, ended_at=tx.at)
    )


def add_asked(tx: Transaction, asked: CommitmentAsked) -> None:
    """Keep a commitment that is to be asked for now."""
    values = {name: getattr(asked, name) for name in CommitmentAsked.__dataclass_fields__}
    values["asked"] = [list(pair) for pair in asked.asked]
    values["failed"] = list(asked.failed)
    _insert(tx, COMMITMENTS_ASKED, {**values, "due_at": tx.at, "ended_at": None})


def asked_due(tx: Transaction) -> list[str]:
    """Return the transactions that are to be asked, or asked again, now."""
    return claims.due(tx, COMMITMENTS_ASKED.c.transaction_uid)


def claim_asked(
    tx: Transaction, transaction_uid: str, *, until: datetime
) -> CommitmentAsked | None:
    """Take a transaction that is due, until a moment; None if another has it or it is over."""
    row = claims.claim(tx, COMMITMENTS_ASKED.c.transaction_uid, transaction_uid, until=until)
    return None if row is None else _asked(row)


def find_asked(tx: Transaction, transaction_uid: str) -> CommitmentAsked | None:
    """Return a transaction of ours, None if there is none with this UID."""
    table = COMMITMENTS_ASKED
    found = tx.execute(
        select(table).where(table.c.transaction_uid == transaction_uid).with_for_update()
    )
    row = found.mappings().first()
    return None if row is None else _asked(row)


def list_asked(tx: Transaction, *, limit: int = 200) -> list[CommitmentAsked]:
    """Return the transactions of ours, the newest first."""
    table = COMMITMENTS_ASKED
    found = tx.execute(select(table).order_by(table.c.asked_at.desc()).limit(limit))
    return [_asked(row) for row in found.mappings()]


def postpone_asked(tx: Transaction, transaction_uid: str, *, due_at: datetime) -> None:
    """Set the moment of the next attempt, unless it was answered meanwhile."""
    table = COMMITMENTS_ASKED
    tx.execute(
        update(table)
        .where(table.c.transaction_uid == transaction_uid, table.c.state == ASKED)
        .values(due_at=due_at)
    )


def end_asked(
    tx: Transaction, transaction_uid: str, state: str, *, failed: tuple[str, ...] = ()
) -> None:
    """Note how a transaction ended."""
    table = COMMITMENTS_ASKED
    tx.execute(
        update(table)
        .where(table.c.transaction_uid == transaction_uid)
        .values(state=state, failed=list(failed), due_at=None, ended_at=tx.at)
    )


def _insert(tx: Transaction, table: Table, values: Mapping[str, Any]) -> None:
    tx.execute(insert_into(tx, table).values(**values).on_conflict_do_nothing())


def _asked(row: Mapping[Any, Any]) -> CommitmentAsked:
    return CommitmentAsked(
        transaction_uid=row["transaction_uid"],
        ae_title=row["ae_title"],
        asked=tuple((sop_class, uid) for sop_class, uid in row["asked"]),
        failed=tuple(row["failed"]),
        state=row["state"],
        attempts=row["attempts"],
        asked_at=row["asked_at"],
    )

"""Rows of the DICOM node: peers and scheduled steps."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Select, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from dicom_node.errors import StepUnknown
from dicom_node.orders import CANCELLED, ScheduledStep
from dicom_node.peers import Peer
from storage.engine import Transaction
from storage.tables.dicom_node import PEERS, SCHEDULED_STEPS


def save_peer(tx: Transaction, peer: Peer) -> None:
    """Register a peer, or change the one with its title."""
    dialect = sqlite if tx.dialect == "sqlite" else postgresql
    values = asdict(peer)
    tx.execute(
        dialect.insert(PEERS)
        .values(**values, added_at=tx.at)
        .on_conflict_do_update(index_elements=[PEERS.c.ae_title], set_=values)
    )


def find_peer(tx: Transaction, ae_title: str) -> Peer | None:
    """Return the peer of an AE title, None if there is none."""
    row = tx.execute(select(PEERS).where(PEERS.c.ae_title == ae_title)).mappings().first()
    return None if row is None else _peer(row)


def peers(tx: Transaction) -> list[Peer]:
    """Return every peer in the order of the titles."""
    return [_peer(row) for row in tx.execute(select(PEERS).order_by(PEERS.c.ae_title)).mappings()]


def save_step(tx: Transaction, step: ScheduledStep, *, at: datetime) -> None:
    """Keep a scheduled step; telling it twice changes nothing."""
    dialect = sqlite if tx.dialect == "sqlite" else postgresql
    values = {**asdict(step), "changed_at": at}
    tx.execute(
        dialect.insert(SCHEDULED_STEPS)
        .values(**values)
        .on_conflict_do_update(index_elements=[SCHEDULED_STEPS.c.request_id], set_=values)
    )


def change_step(
    tx: Transaction, request_id: str, *, state: str, scheduled_at: datetime | None, at: datetime
) -> None:
    """Change the state and the time of a step.

    Raises
    ------
    StepUnknown
        The request was never told.
    """
    changed = tx.execute(
        update(SCHEDULED_STEPS)
        .where(SCHEDULED_STEPS.c.request_id == request_id)
        .values(state=state, scheduled_at=scheduled_at, changed_at=at)
    )
    if not changed.rowcount:
        raise StepUnknown("no scheduled step belongs to this request", request_id=request_id)


def steps_for(tx: Transaction, *, study_uid: str, accession: str) -> list[ScheduledStep]:
    """Return the steps that a study may belong to: by its UID, or by its accession number."""
    same = [SCHEDULED_STEPS.c.study_uid == study_uid]
    if accession:
        same.append(SCHEDULED_STEPS.c.accession == accession)
    found = tx.execute(
        select(SCHEDULED_STEPS).where(or_(*same)).order_by(SCHEDULED_STEPS.c.request_id)
    )
    return [_step(row) for row in found.mappings()]


def titles_of(tx: Transaction, organisation_id: str) -> tuple[str, ...]:
    """Return the AE titles of the devices of an organisation."""
    mine = select(PEERS.c.ae_title).where(PEERS.c.organisation_id == organisation_id)
    return tuple(tx.execute(mine.order_by(PEERS.c.ae_title)).scalars())


def asked_by(organisation_id: str) -> Select[Any]:
    """Return the query for what an organisation asked to be done, as `archive_find.Scope` takes it.

    A cancelled request opens nothing.
    """
    return select(
        SCHEDULED_STEPS.c.study_uid, SCHEDULED_STEPS.c.accession, SCHEDULED_STEPS.c.patient_ref
    ).where(
        SCHEDULED_STEPS.c.organisation_id == organisation_id, SCHEDULED_STEPS.c.state != CANCELLED
    )


def _peer(row: Mapping[Any, Any]) -> Peer:
    return Peer(**{name: row[name] for name in Peer.__dataclass_fields__})


def _step(row: Mapping[Any, Any]) -> ScheduledStep:
    return ScheduledStep(**{name: row[name] for name in ScheduledStep.__dataclass_fields__})

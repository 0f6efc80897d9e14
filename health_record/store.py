"""Deliveries and notices in the database; the only importer of their tables."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import Table, and_, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import RowMapping

from health_record.delivery import Delivery, DeliveryState, Prepared, Refusal
from health_record.errors import DeliveryUnknown, NoticeUnknown
from health_record.notice import Notice
from storage.engine import Transaction
from storage.signs import Sign
from storage.tables.health_record import DELIVERIES, NOTICES

_OPEN = (DeliveryState.PENDING, DeliveryState.ATTEMPTING)


def add(tx: Transaction, delivery: Delivery) -> bool:
    """Store a new delivery; False if its id is there already, which changes nothing."""
    return _add(tx, DELIVERIES, _values(delivery))


def get(tx: Transaction, delivery_id: str) -> Delivery:
    """Return a delivery.

    Raises
    ------
    DeliveryUnknown
        No delivery has this id.
    """
    row = tx.execute(select(DELIVERIES).where(DELIVERIES.c.id == delivery_id)).mappings().first()
    if row is None:
        raise DeliveryUnknown("no delivery has this id", delivery_id=delivery_id)
    return _delivery(row)


def locked(tx: Transaction, delivery_id: str, *, wait: bool) -> Delivery | None:
    """Return a delivery and keep others off it until this transaction ends.

    None if there is none, or, unless `wait`, if another transaction has it now.  SQLite has one
    writer at a time, so there the transaction itself is the lock.
    """
    row = tx.execute(
        select(DELIVERIES)
        .where(DELIVERIES.c.id == delivery_id)
        .with_for_update(skip_locked=not wait)
    )
    found = row.mappings().first()
    return None if found is None else _delivery(found)


def save(tx: Transaction, delivery: Delivery) -> None:
    """Store the new state of a delivery."""
    tx.execute(update(DELIVERIES).where(DELIVERIES.c.id == delivery.id).values(_values(delivery)))


def due(tx: Transaction, destination: str, *, limit: int) -> list[str]:
    """Return the ids that are due at one destination, those due longest first."""
    found = tx.execute(
        select(DELIVERIES.c.id)
        .where(
            DELIVERIES.c.destination == destination,
            DELIVERIES.c.state.in_(_OPEN),
            DELIVERIES.c.next_at <= tx.at,
        )
        .order_by(DELIVERIES.c.next_at)
        .limit(limit)
    )
    return [row.id for row in found]


def _due_sign(state: DeliveryState) -> Sign:
    in_state = DELIVERIES.c.state == state
    return Sign(lambda at: select(1).where(in_state, DELIVERIES.c.next_at <= at))


SIGNS = tuple(_due_sign(state) for state in _OPEN)


def destinations_due(tx: Transaction, *, beside: Collection[str], limit: int) -> list[str]:
    """Return destinations that something is due for, but for those named."""
    found = tx.execute(
        select(DELIVERIES.c.destination)
        .where(
            DELIVERIES.c.state.in_(_OPEN),
            DELIVERIES.c.next_at <= tx.at,
            DELIVERIES.c.destination.not_in(beside),
        )
        .distinct()
        .limit(limit)
    )
    return list(found.scalars())


def in_flight(tx: Transaction, destination: str) -> int:
    """Return how many deliveries to a destination are being attempted now."""
    return int(
        tx.execute(
            select(func.count())
            .select_from(DELIVERIES)
            .where(
                DELIVERIES.c.destination == destination,
                DELIVERIES.c.state == DeliveryState.ATTEMPTING,
                DELIVERIES.c.next_at > tx.at,
            )
        ).scalar_one()
    )


def listed(
    tx: Transaction, *, case_id: str | None, states: Collection[DeliveryState], limit: int
) -> list[Delivery]:
    """Return deliveries, those moved last first."""
    wanted = []
    if case_id is not None:
        wanted.append(DELIVERIES.c.case_id == case_id)
    if states:
        wanted.append(DELIVERIES.c.state.in_(states))
    found = tx.execute(
        select(DELIVERIES)
        .where(and_(True, *wanted))
        .order_by(DELIVERIES.c.moved_at.desc(), DELIVERIES.c.id)
        .limit(limit)
    )
    return [_delivery(row) for row in found.mappings()]


def add_notice(tx: Transaction, notice: Notice) -> bool:
    """Store a notice; False if it was given already."""
    return _add(
        tx,
        NOTICES,
        {
            "id": notice.id,
            "organisation_id": notice.organisation_id,
            "case_id": notice.case_id,
            "report_id": notice.report_id,
            "report_version": notice.report_version,
            "created_at": notice.created_at,
        },
    )


def notices(
    tx: Transaction, organisation_id: str, *, unseen_only: bool, limit: int
) -> list[Notice]:
    """Return the notices of an organisation, the newest first."""
    wanted = [NOTICES.c.organisation_id == organisation_id]
    if unseen_only:
        wanted.append(NOTICES.c.seen_at.is_(None))
    found = tx.execute(
        select(NOTICES)
        .where(*wanted)
        .order_by(NOTICES.c.created_at.desc(), NOTICES.c.id)
        .limit(limit)
    )
    return [Notice(**row) for row in found.mappings()]


def notice(tx: Transaction, organisation_id: str, notice_id: str) -> Notice:
    """Return a notice of an organisation.

    Raises
    ------
    NoticeUnknown
        The organisation has no such notice.
    """
    row = (
        tx.execute(
            select(NOTICES).where(
                NOTICES.c.id == notice_id, NOTICES.c.organisation_id == organisation_id
            )
        )
        .mappings()
        .first()
    )
    if row is None:
        raise NoticeUnknown("the organisation has no such notice", notice_id=notice_id)
    return Notice(**row)


def see_notice(tx: Transaction, notice_id: str, by: str) -> bool:
    """Record who of the organisation saw a notice first; False if somebody had."""
    done = tx.execute(
        update(NOTICES)
        .where(NOTICES.c.id == notice_id, NOTICES.c.seen_at.is_(None))
        .values(seen_at=tx.at, seen_by=by)
    )
    return done.rowcount == 1


def _add(tx: Transaction, table: Table, values: dict[str, Any]) -> bool:
    dialect = sqlite if tx.dialect == "sqlite" else postgresql
    inserted = dialect.insert(table).values(values).on_conflict_do_nothing()
    # Not the row count, which a driver need not tell for an INSERT.
    return tx.execute(inserted.returning(table.c.id)).first() is not None


def _values(delivery: Delivery) -> dict[str, Any]:
    prepared, refusal = delivery.prepared, delivery.refusal
    return {
        "id": delivery.id,
        "case_id": delivery.case_id,
        "request_id": delivery.request_id,
        "report_id": delivery.report_id,
        "report_version": delivery.report_version,
        "document_digest": delivery.document_digest,
        "destination": delivery.destination,
        "state": delivery.state.value,
        "attempts": delivery.attempts,
        "since": delivery.since,
        "moved_at": delivery.moved_at,
        "next_at": delivery.next_at,
        "lease": delivery.lease,
        "prepared_key": prepared.key if prepared else None,
        "prepared_sha256": prepared.sha256 if prepared else None,
        "refusal_code": refusal.code if refusal else None,
        "refusal": refusal.sentence if refusal else None,
        "receipt": delivery.receipt,
        "cause": delivery.cause,
    }


def _delivery(row: RowMapping) -> Delivery:
    values = dict(row)
    key, sha256 = values.pop("prepared_key"), values.pop("prepared_sha256")
    code, sentence = values.pop("refusal_code"), values.pop("refusal")
    return Delivery(
        **{
            **values,
            "state": DeliveryState(values["state"]),
            "prepared": Prepared(key=key, sha256=sha256) if key else None,
            "refusal": Refusal(code, sentence) if code else None,
        }
    )

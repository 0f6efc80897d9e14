"""Acts on deliveries and notices; each takes the open transaction and never commits."""

from collections.abc import Collection, Iterable

from health_record import store
from health_record.delivery import Delivery, DeliveryState, delivery_id, replayed
from health_record.notice import Notice
from kernel.facts import CaseSigned
from kernel.people import ENGINE, Actor
from storage import audit
from storage.engine import Transaction

MAX_LISTED = 500


def schedule(tx: Transaction, fact: CaseSigned, destinations: Iterable[str]) -> list[Delivery]:
    """Plan one delivery of a signed report for each destination; those planned before stay."""
    return [_scheduled(tx, fact, destination) for destination in destinations]


def replay(tx: Transaction, delivery: str, *, actor: Actor) -> Delivery:
    """Take up a parked or rejected delivery again, with a new horizon.

    Raises
    ------
    DeliveryUnknown
        No delivery has this id.
    DeliveryMoveRefused
        It is neither parked nor rejected.
    """
    store.locked(tx, delivery, wait=True)
    again = replayed(store.get(tx, delivery), at=tx.at)
    store.save(tx, again)
    _record(tx, again, "delivery.replayed", actor)
    return again


def list_deliveries(
    tx: Transaction,
    *,
    case_id: str | None = None,
    states: Collection[DeliveryState] = (),
    limit: int = 100,
) -> list[Delivery]:
    """Return deliveries with their last refusal, those moved last first."""
    return store.listed(tx, case_id=case_id, states=states, limit=min(limit, MAX_LISTED))


def notices_for(
    tx: Transaction, organisation_id: str, *, unseen_only: bool = False, limit: int = 100
) -> list[Notice]:
    """Return the inbox of a requesting organisation, the newest notice first."""
    return store.notices(tx, organisation_id, unseen_only=unseen_only, limit=min(limit, MAX_LISTED))


def mark_seen(tx: Transaction, organisation_id: str, notice: str, *, actor: Actor) -> Notice:
    """Record that somebody of the organisation saw a notice; only the first one counts.

    Raises
    ------
    NoticeUnknown
        The organisation has no such notice.
    """
    found = store.notice(tx, organisation_id, notice)
    if store.see_notice(tx, notice, actor.ref):
        audit.record(tx, actor=actor, action="notice.seen", subject=notice, case_id=found.case_id)
    return store.notice(tx, organisation_id, notice)


def _scheduled(tx: Transaction, fact: CaseSigned, destination: str) -> Delivery:
    delivery = Delivery(
        id=delivery_id(fact.report_id, fact.report_version, destination),
        case_id=fact.case_id,
        request_id=fact.request_id,
        report_id=fact.report_id,
        report_version=fact.report_version,
        document_digest=fact.document_digest,
        destination=destination,
        state=DeliveryState.PENDING,
        attempts=0,
        since=tx.at,
        moved_at=tx.at,
        next_at=tx.at,
        cause=fact.id,
    )
    if store.add(tx, delivery):
        _record(tx, delivery, "delivery.scheduled", ENGINE)
    return store.get(tx, delivery.id)


def _record(tx: Transaction, delivery: Delivery, action: str, actor: Actor) -> None:
    audit.record(
        tx,
        actor=actor,
        action=action,
        subject=delivery.id,
        case_id=delivery.case_id,
        detail={"destination": delivery.destination, "report_version": delivery.report_version},
    )

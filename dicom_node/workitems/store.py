"""Rows of the workitems."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, bindparam, delete, exists, func, or_, select, update

from dicom_node.data_sets import Attributes
from dicom_node.workitems.events import Event
from dicom_node.workitems.model import from_model, to_model
from dicom_node.workitems.subscriber import Breadth, Channel, Subscriber
from dicom_node.workitems.workitem import FINAL, StepState, Workitem
from kernel.errors import Transient
from storage import claims
from storage.engine import Transaction
from storage.insertion import insert_into
from storage.signs import Sign, due_by
from storage.tables.workitems import (
    REPORTS,
    SUBSCRIBERS,
    SUBSCRIPTIONS,
    WORKITEM_VIEWS,
    WORKITEMS,
)

PAGE = 200
_LIST = 0x55505300
"""The key of the lock on the list of workitems."""
WAITS, TOLD = "waits", "told"


class MovedMeanwhile(Transient):
    """Another transaction changed the workitem first; load it again and decide again."""

    code = "workitems.moved_meanwhile"


@dataclass(frozen=True, slots=True)
class Report:
    """One event that one subscriber is to be told."""

    seq: int
    uid: str
    event_type: int
    information: Attributes
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Narrowing:
    """What the index can sort out; `organisation_id` None sees everything."""

    organisation_id: str | None
    uids: tuple[str, ...] = ()
    states: tuple[str, ...] = ()


def add(tx: Transaction, item: Workitem, *, seen_by: Iterable[str] = ()) -> bool:
    """Keep a new workitem; False if its UID is taken."""
    values = {**_values(item), "uid": item.uid, "created_at": tx.at, "changed_at": tx.at}
    added = tx.execute(
        insert_into(tx, WORKITEMS)
        .values(**values)
        .on_conflict_do_nothing()
        .returning(WORKITEMS.c.uid)
    ).first()
    if added is None:
        return False
    show_to(tx, item.uid, seen_by)
    return True


def save(tx: Transaction, before: Workitem, after: Workitem) -> None:
    """Keep a change.

    Raises
    ------
    MovedMeanwhile
        Somebody else changed it first.
    """
    changed = tx.execute(
        update(WORKITEMS)
        .where(WORKITEMS.c.uid == before.uid, WORKITEMS.c.revision == before.revision)
        .values(**_values(after), changed_at=tx.at)
    )
    if not changed.rowcount:
        raise MovedMeanwhile("the workitem was changed by somebody else", uid=before.uid)


def show_to(tx: Transaction, uid: str, organisations: Iterable[str]) -> None:
    """Let organisations see a workitem beside the one that created it."""
    for organisation_id in sorted(set(organisations)):
        tx.execute(
            insert_into(tx, WORKITEM_VIEWS)
            .values(organisation_id=organisation_id, uid=uid)
            .on_conflict_do_nothing()
        )


def find(
    tx: Transaction, uid: str, *, organisation_id: str | None = None, lock: bool = False
) -> Workitem | None:
    """Return a workitem, None if there is none that the organisation sees."""
    query = select(WORKITEMS).where(WORKITEMS.c.uid == uid)
    if organisation_id is not None:
        query = query.where(_seen_by(organisation_id))
    row = tx.execute(query.with_for_update() if lock else query).mappings().first()
    return None if row is None else _workitem(row)


def open_of_case(tx: Transaction, case_id: str) -> Workitem | None:
    """Return the workitem of a case that has not ended, locked."""
    query = select(WORKITEMS).where(
        WORKITEMS.c.case_id == case_id, WORKITEMS.c.state.not_in([each.value for each in FINAL])
    )
    row = tx.execute(query.with_for_update()).mappings().first()
    return None if row is None else _workitem(row)


def page(
    tx: Transaction, wanted: Narrowing, *, after: str = "", limit: int = PAGE
) -> list[Workitem]:
    """Return the next workitems in the order of their UIDs."""
    query = select(WORKITEMS).where(WORKITEMS.c.uid > after)
    if wanted.organisation_id is not None:
        query = query.where(_seen_by(wanted.organisation_id))
    if wanted.uids:
        query = query.where(WORKITEMS.c.uid.in_(wanted.uids))
    if wanted.states:
        query = query.where(WORKITEMS.c.state.in_(wanted.states))
    rows = tx.execute(query.order_by(WORKITEMS.c.uid).limit(limit)).mappings()
    return [_workitem(row) for row in rows]


def hold_list(tx: Transaction, *, alone: bool) -> None:
    """Keep new workitems and new broad subscriptions from passing each other unseen.

    SQLite has one writer at a time; on PostgreSQL who creates shares the lock, who subscribes
    to all has it alone.
    """
    if tx.dialect != "sqlite":
        kind = func.pg_advisory_xact_lock if alone else func.pg_advisory_xact_lock_shared
        tx.execute(select(kind(_LIST)))


def find_subscriber(
    tx: Transaction, subscriber_id: str, *, lock: bool = False
) -> Subscriber | None:
    """Return a subscriber, None if there is none."""
    query = select(SUBSCRIBERS).where(SUBSCRIBERS.c.id == subscriber_id)
    row = tx.execute(query.with_for_update() if lock else query).mappings().first()
    return None if row is None else _subscriber(row)


def broad_subscribers(tx: Transaction) -> list[Subscriber]:
    """Return those who are told of new workitems."""
    query = select(SUBSCRIBERS).where(SUBSCRIBERS.c.breadth != Breadth.NONE.value)
    return [_subscriber(row) for row in tx.execute(query.order_by(SUBSCRIBERS.c.id)).mappings()]


def count_subscribers(tx: Transaction, *, owner: str | None = None) -> int:
    """Return how many subscribers there are, or how many of them are an owner's."""
    query = select(func.count()).select_from(SUBSCRIBERS)
    query = query if owner is None else query.where(SUBSCRIBERS.c.owner == owner)
    return int(tx.execute(query).scalar_one())


def forget_idle(tx: Transaction, owner: str) -> int:
    """Forget subscribers of an owner that are told of nothing any more; return how many."""
    subscription = exists().where(SUBSCRIPTIONS.c.subscriber_id == SUBSCRIBERS.c.id)
    report = exists().where(REPORTS.c.subscriber_id == SUBSCRIBERS.c.id)
    idle = (SUBSCRIBERS.c.breadth == Breadth.NONE.value, ~subscription, ~report)
    query = select(SUBSCRIBERS.c.id).where(SUBSCRIBERS.c.owner == owner, *idle)
    found = list(tx.execute(query.order_by(SUBSCRIBERS.c.id).with_for_update()).scalars())
    tx.execute(delete(SUBSCRIBERS).where(SUBSCRIBERS.c.id.in_(found)))
    return len(found)


def forget_subscriber(tx: Transaction, subscriber_id: str) -> int:
    """Forget a subscriber and what waits for it; return how many reports that was."""
    found = select(SUBSCRIBERS.c.id).where(SUBSCRIBERS.c.id == subscriber_id).with_for_update()
    if tx.execute(found).first() is None:
        return 0
    tx.execute(delete(SUBSCRIPTIONS).where(SUBSCRIPTIONS.c.subscriber_id == subscriber_id))
    gone = tx.execute(delete(REPORTS).where(REPORTS.c.subscriber_id == subscriber_id))
    tx.execute(delete(SUBSCRIBERS).where(SUBSCRIBERS.c.id == subscriber_id))
    return gone.rowcount


def save_subscriber(tx: Transaction, subscriber: Subscriber) -> None:
    """Keep a subscriber, or change the one with its title."""
    values = {
        "owner": subscriber.owner,
        "organisation_id": subscriber.organisation_id,
        "sees_all": subscriber.sees_all,
        "breadth": subscriber.breadth.value,
        "lock": subscriber.lock,
        "filter": None if subscriber.filter is None else to_model(subscriber.filter),
    }
    tx.execute(
        insert_into(tx, SUBSCRIBERS)
        .values(id=subscriber.id, attempts=0, since=tx.at, due_at=None, **values)
        .on_conflict_do_update(index_elements=[SUBSCRIBERS.c.id], set_=values)
    )


def subscribe(tx: Transaction, subscriber_id: str, uid: str, *, lock: bool) -> None:
    """Have a subscriber told of a workitem; asked again, only the lock may change."""
    tx.execute(
        insert_into(tx, SUBSCRIPTIONS)
        .values(subscriber_id=subscriber_id, uid=uid, lock=lock)
        .on_conflict_do_update(
            index_elements=[SUBSCRIPTIONS.c.uid, SUBSCRIPTIONS.c.subscriber_id],
            set_={"lock": lock},
        )
    )


def unsubscribe(tx: Transaction, subscriber_id: str, uid: str | None = None) -> None:
    """Tell a subscriber no more of a workitem, or of any."""
    query = delete(SUBSCRIPTIONS).where(SUBSCRIPTIONS.c.subscriber_id == subscriber_id)
    tx.execute(query if uid is None else query.where(SUBSCRIPTIONS.c.uid == uid))


def subscribed(tx: Transaction, uid: str) -> list[str]:
    """Return the ids of those who are told of a workitem."""
    query = select(SUBSCRIPTIONS.c.subscriber_id).where(SUBSCRIPTIONS.c.uid == uid)
    return list(tx.execute(query.order_by(SUBSCRIPTIONS.c.subscriber_id)).scalars())


def let_go(tx: Transaction, uid: str) -> None:
    """End the subscriptions of a workitem that has ended, but for those that lock it."""
    tx.execute(
        delete(SUBSCRIPTIONS).where(SUBSCRIPTIONS.c.uid == uid, SUBSCRIPTIONS.c.lock.is_(False))
    )


def add_reports(
    tx: Transaction, subscriber_ids: Sequence[str], uid: str, events: Sequence[Event]
) -> None:
    """Have subscribers told of events, in order.

    Each subscriber's row is written as well, so that who is just done with telling it cannot pass
    over what is added now.
    """
    told = [
        {
            "uid": uid,
            "event_type": int(event.type),
            "information": to_model(Attributes({e.tag: e for e in event.information})),
            "state": WAITS,
            "at": tx.at,
        }
        for event in events
    ]
    if not told or not subscriber_ids:
        return
    rows = [{"subscriber_id": each, **event} for each in subscriber_ids for event in told]
    tx.execute(REPORTS.insert(), rows)
    due = func.coalesce(SUBSCRIBERS.c.due_at, tx.at)
    waits = update(SUBSCRIBERS).where(SUBSCRIBERS.c.id == bindparam("whose")).values(due_at=due)
    tx.execute(waits, [{"whose": each} for each in subscriber_ids])


def waiting_status(tx: Transaction, subscriber_id: str, event_type: int) -> bool:
    """Say whether an event of a type waits for a subscriber already."""
    query = select(
        exists().where(
            REPORTS.c.subscriber_id == subscriber_id,
            REPORTS.c.event_type == event_type,
            REPORTS.c.state == WAITS,
        )
    )
    return bool(tx.execute(query).scalar_one())


def waiting(tx: Transaction, subscriber_id: str, *, limit: int = PAGE) -> list[Report]:
    """Return what a subscriber is to be told next, in order."""
    query = (
        select(REPORTS)
        .where(REPORTS.c.subscriber_id == subscriber_id, REPORTS.c.state == WAITS)
        .order_by(REPORTS.c.seq)
        .limit(limit)
    )
    return [_report(row) for row in tx.execute(query).mappings()]


def open_channel(tx: Transaction, subscriber_id: str, channel: str) -> None:
    """Have a connection told from now on, whichever was, at whatever process that is.

    It is told again what may have been lost with the one before.
    """
    tx.execute(update(SUBSCRIBERS).where(SUBSCRIBERS.c.id == subscriber_id).values(channel=channel))
    tx.execute(
        update(REPORTS)
        .where(REPORTS.c.subscriber_id == subscriber_id, REPORTS.c.state == TOLD)
        .values(state=WAITS, told_at=None)
    )


def look(tx: Transaction, subscriber_id: str, channel: str) -> bool:
    """Say whether something waits for a connection, or it is told nothing any more."""
    waits = exists().where(REPORTS.c.subscriber_id == subscriber_id, REPORTS.c.state == WAITS)
    query = select(SUBSCRIBERS.c.channel, waits.label("waits"))
    row = tx.execute(query.where(SUBSCRIBERS.c.id == subscriber_id)).first()
    return row is None or row.channel != channel or bool(row.waits)


def take(tx: Transaction, subscriber_id: str, channel: str) -> list[Report] | None:
    """Take what a connection is to be told next, in order; None if another one is told by now.

    Nobody else gets it: it counts as told, and is told again only to a connection opened later.
    """
    held = select(SUBSCRIBERS.c.channel).where(SUBSCRIBERS.c.id == subscriber_id)
    if tx.execute(held.with_for_update()).scalar() != channel:
        return None
    reports = waiting(tx, subscriber_id)
    told_now = REPORTS.c.seq.in_([report.seq for report in reports])
    tx.execute(update(REPORTS).where(told_now).values(state=TOLD, told_at=tx.at))
    return reports


def taken(tx: Transaction, seqs: Sequence[int]) -> None:
    """Forget what a subscriber has surely been told."""
    tx.execute(delete(REPORTS).where(REPORTS.c.seq.in_(seqs)))


def surely_told(tx: Transaction, subscriber_id: str, channel: str, *, before: datetime) -> None:
    """Forget what was sent over a connection before a moment, for it lives on."""
    held = select(SUBSCRIBERS.c.channel).where(SUBSCRIBERS.c.id == subscriber_id)
    tx.execute(
        delete(REPORTS).where(
            REPORTS.c.subscriber_id == subscriber_id,
            REPORTS.c.state == TOLD,
            REPORTS.c.told_at < before,
            held.scalar_subquery() == channel,
        )
    )


SUBSCRIBER_SIGNS = (due_by(SUBSCRIBERS.c.due_at),)


def old_reports(age: timedelta) -> Sign:
    """Return the sign of something that has waited for a subscriber for so long."""
    return Sign(lambda at: select(1).where(REPORTS.c.at < at), age)


def due_subscribers(tx: Transaction) -> list[str]:
    """Return the application entities that are to be told something now."""
    return claims.due(tx, SUBSCRIBERS.c.id, SUBSCRIBERS.c.id.like(f"{Channel.AE}:%"))


def claim_subscriber(tx: Transaction, subscriber_id: str, *, until: datetime) -> Subscriber | None:
    """Take a subscriber that is due, until a moment; None if another has it or nothing waits."""
    row = claims.claim(tx, SUBSCRIBERS.c.id, subscriber_id, until=until)
    return None if row is None else _subscriber(row)


def extend_claim(tx: Transaction, subscriber_id: str, *, until: datetime) -> None:
    """Keep a claimed subscriber for longer: it is told one thing after the other."""
    tx.execute(update(SUBSCRIBERS).where(SUBSCRIBERS.c.id == subscriber_id).values(due_at=until))


def release_subscriber(
    tx: Transaction, subscriber_id: str, *, due_at: datetime | None = None
) -> None:
    """Let a subscriber go: due again at a moment or, told all, when something new waits."""
    tx.execute(select(SUBSCRIBERS.c.id).where(SUBSCRIBERS.c.id == subscriber_id).with_for_update())
    if due_at is not None:
        values: dict[str, Any] = {"due_at": due_at}
    else:
        values = {"due_at": tx.at if waiting(tx, subscriber_id, limit=1) else None, "attempts": 0}
    tx.execute(update(SUBSCRIBERS).where(SUBSCRIBERS.c.id == subscriber_id).values(**values))


def subscribers_with_old(tx: Transaction, *, before: datetime, limit: int = 50) -> list[str]:
    """Return the subscribers for whom something has waited since before a moment."""
    query = select(REPORTS.c.subscriber_id).where(REPORTS.c.at < before).distinct().limit(limit)
    return list(tx.execute(query).scalars())


def expire(tx: Transaction, subscriber_id: str, *, before: datetime) -> int:
    """Give up what has waited since before a moment; return how much that was."""
    gone = tx.execute(
        delete(REPORTS).where(REPORTS.c.subscriber_id == subscriber_id, REPORTS.c.at < before)
    )
    return gone.rowcount


def _seen_by(organisation_id: str) -> ColumnElement[bool]:
    shown: Select[tuple[str]] = select(WORKITEM_VIEWS.c.uid).where(
        WORKITEM_VIEWS.c.organisation_id == organisation_id,
        WORKITEM_VIEWS.c.uid == WORKITEMS.c.uid,
    )
    return or_(WORKITEMS.c.organisation_id == organisation_id, shown.exists())


def _values(item: Workitem) -> dict[str, Any]:
    return {
        "state": item.state.value,
        "transaction_uid": item.transaction_uid,
        "organisation_id": item.organisation_id,
        "case_id": item.case_id,
        "patient_ref": item.patient_ref,
        "attributes": to_model(item.attributes),
        "revision": item.revision,
    }


def _workitem(row: Mapping[Any, Any]) -> Workitem:
    return Workitem(
        uid=row["uid"],
        state=StepState(row["state"]),
        attributes=from_model(row["attributes"]),
        organisation_id=row["organisation_id"],
        transaction_uid=row["transaction_uid"],
        case_id=row["case_id"],
        patient_ref=row["patient_ref"],
        revision=row["revision"],
    )


def _subscriber(row: Mapping[Any, Any]) -> Subscriber:
    channel, _, title = str(row["id"]).partition(":")
    return Subscriber(
        channel=Channel(channel),
        title=title,
        owner=row["owner"],
        organisation_id=row["organisation_id"],
        sees_all=row["sees_all"],
        breadth=Breadth(row["breadth"]),
        lock=row["lock"],
        filter=None if row["filter"] is None else from_model(row["filter"]),
        attempts=row["attempts"],
    )


def _report(row: Mapping[Any, Any]) -> Report:
    return Report(
        seq=row["seq"],
        uid=row["uid"],
        event_type=row["event_type"],
        information=from_model(row["information"]),
        at=row["at"],
    )

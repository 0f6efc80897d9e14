"""What is done with workitems: load, decide by the pure rules, save, have subscribers told.

Every command takes the caller's transaction and never commits.  A workitem is locked before its
subscribers, and these in the order of their ids.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from dicom_node.data_sets import Attributes
from dicom_node.errors import AeTitleInvalid
from dicom_node.peers import ae_title
from dicom_node.workitems import events, identity, requirements, search, store, workitem
from dicom_node.workitems.errors import (
    ActionInappropriate,
    AttributeFixed,
    FinalStateUnmet,
    PerformerDeclines,
    PerformerRefused,
    ReceiverForeign,
    ReceiverUnknown,
    SubscriberUnknown,
    TooMany,
    ValueInvalid,
    WorkitemExists,
    WorkitemUnknown,
)
from dicom_node.workitems.events import Event, EventType
from dicom_node.workitems.model import require_storable
from dicom_node.workitems.subscriber import (
    FILTERED,
    GLOBAL,
    WELL_KNOWN,
    Asker,
    Breadth,
    Channel,
    Subscriber,
    subscriber_id,
)
from dicom_node.workitems.workitem import FINAL, Moved, Remark, StepState, Workitem
from kernel.ids import derived_uid, fresh, is_uid
from kernel.people import ENGINE, Actor
from storage import audit
from storage.engine import Transaction

MAX_SUBSCRIBERS = 500
MAX_OWN_SUBSCRIBERS = MAX_SUBSCRIBERS // 2
"""Of one web client, or of the devices of one organisation: the others are to find room as well."""
MAX_FILTER = 200
"""Keys of one filter, at every depth."""


class Performing(Protocol):
    """Who decides whether a reading may be begun or given back through its workitem."""

    def begin(self, tx: Transaction, item: Workitem, asker: Asker) -> None:
        """Claim the case for the asker, or refuse."""

    def give_up(self, tx: Transaction, item: Workitem, asker: Asker) -> None:
        """Put the case back, or refuse."""


class NoReadings:
    """Where the worklist is not at hand, readings are looked at and not performed."""

    def begin(self, tx: Transaction, item: Workitem, asker: Asker) -> None:
        """See `Performing`."""
        raise PerformerRefused("readings are not claimed at this node", uid=item.uid)

    def give_up(self, tx: Transaction, item: Workitem, asker: Asker) -> None:
        """See `Performing`."""
        raise PerformerRefused("readings are not given back at this node", uid=item.uid)


@dataclass(frozen=True, slots=True)
class Done:
    """A workitem after what was done with it, and what is worth a word of that."""

    item: Workitem
    remark: Remark


def create(tx: Transaction, asker: Asker, uid: str, given: Attributes) -> Done:
    """Keep a workitem that an outside client describes; an empty `uid` gets one.

    Raises
    ------
    WorkitemExists, NotScheduled, AttributeMissing, ValueInvalid
        The UID is taken or cannot be one, or the description lacks something.
    """
    if uid and not is_uid(uid):
        raise ValueInvalid("the UID of a workitem is no UID")
    made, told, remark = workitem.create(
        uid or derived_uid("workitem", fresh()),
        given,
        organisation_id=asker.organisation_id,
        at=tx.at,
        patient_ref=identity.named(given, asker),
    )
    require_storable(made.attributes)
    keep_new(tx, made, told)
    _note(tx, asker.actor, "workitem.created", made)
    return Done(made, remark)


def keep_new(
    tx: Transaction, item: Workitem, told: Sequence[Event], *, seen_by: Iterable[str] = ()
) -> None:
    """Keep a new workitem and tell those who want to hear of each.

    Raises
    ------
    WorkitemExists
        The UID is taken.
    """
    store.hold_list(tx, alone=False)
    seen = frozenset({*seen_by, *filter(None, [item.organisation_id])})
    if not store.add(tx, item, seen_by=seen):
        raise WorkitemExists("the UID of the workitem is taken", uid=item.uid)
    (shown,) = identity.shown(tx, [item])
    for subscriber in store.broad_subscribers(tx):
        sees = subscriber.sees_all or subscriber.organisation_id in seen
        if sees and subscriber.wants(shown):
            store.subscribe(tx, subscriber.id, item.uid, lock=subscriber.lock)
    tell(tx, item, told)


def get(tx: Transaction, asker: Asker, uid: str, *, lock: bool = False) -> Workitem:
    """Return a workitem that the asker sees.

    Raises
    ------
    WorkitemUnknown
        There is none, or it is not for the asker's eyes.
    """
    bound = None if asker.sees_all else (asker.organisation_id or "")
    found = store.find(tx, uid, organisation_id=bound, lock=lock) if is_uid(uid) else None
    if found is None:
        raise WorkitemUnknown("no workitem has this UID")
    return found


def view(tx: Transaction, asker: Asker, uid: str) -> Workitem:
    """Return a workitem that the asker sees as it is told: about who stands for its patient.

    Raises
    ------
    WorkitemUnknown
        There is none, or it is not for the asker's eyes.
    """
    (shown,) = identity.shown(tx, [get(tx, asker, uid)])
    return shown


def change_state(
    tx: Transaction,
    asker: Asker,
    uid: str,
    *,
    state: str,
    transaction_uid: str,
    performing: Performing,
) -> Done:
    """Move a workitem to another state; that of a reading by the rules of the worklist as well.

    Raises
    ------
    WorkitemUnknown, PerformerRefused, Refused
        See `workitem.change_state`.
    """
    item = get(tx, asker, uid, lock=True)
    if item.case_id is not None and state == StepState.COMPLETED and item.state not in FINAL:
        workitem.require_performer(item, transaction_uid)
        raise FinalStateUnmet("a reading is COMPLETED by the signature of its report")
    moved = workitem.change_state(item, state, transaction_uid, at=tx.at)
    after = moved[0]
    if item.case_id is not None and after.state is not item.state:
        if after.state is StepState.IN_PROGRESS:
            performing.begin(tx, item, asker)
        else:
            performing.give_up(tx, item, asker)
    return _keep(tx, asker.actor, "workitem.state_changed", item, moved)


def update(
    tx: Transaction, asker: Asker, uid: str, given: Attributes, *, transaction_uid: str
) -> Done:
    """Set attributes of a workitem.

    Raises
    ------
    WorkitemUnknown, Refused
        See `workitem.update`.
    """
    item = get(tx, asker, uid, lock=True)
    moved = workitem.update(item, given, transaction_uid, at=tx.at)
    require_storable(moved[0].attributes)
    if item.case_id is not None and item.state is StepState.SCHEDULED:
        raise AttributeFixed("a reading is scheduled by the worklist and by nobody else")
    return _keep(tx, asker.actor, "workitem.updated", item, moved)


def request_cancel(tx: Transaction, asker: Asker, uid: str, why: Attributes) -> Done:
    """Ask that a workitem be canceled.

    Raises
    ------
    WorkitemUnknown, AlreadyCompleted, PerformerUnreachable, PerformerDeclines
        See `workitem.request_cancel`; a reading is called off by the site that asked for it.
    """
    item = get(tx, asker, uid, lock=True)
    if item.case_id is not None and item.state is StepState.SCHEDULED:
        raise PerformerDeclines("a reading is called off by the site that asked for it")
    require_storable(why)
    requirements.require_reason(why)
    own = {subscriber_id(channel, asker.title) for channel in Channel}
    heard = bool(set(store.subscribed(tx, uid)) - own)
    moved = workitem.request_cancel(item, why, asking=asker.title, heard=heard, at=tx.at)
    return _keep(tx, asker.actor, "workitem.cancel_requested", item, moved)


def subscribe(
    tx: Transaction,
    asker: Asker,
    uid: str,
    receiver: Subscriber,
    *,
    lock: bool,
    keys: Attributes | None = None,
) -> Remark:
    """Have a receiver told of one workitem, of all, or of those that match.

    Raises
    ------
    WorkitemUnknown, ActionInappropriate, TooMany, ReceiverForeign
        There is no such workitem to be seen, or the receiver cannot be told.
    """
    item = get(tx, asker, uid, lock=True) if uid not in WELL_KNOWN else None
    if item is None:
        store.hold_list(tx, alone=True)
    subscriber = _enrolled(tx, receiver)
    if item is None:
        _subscribe_broadly(tx, subscriber, uid, lock, keys)
    else:
        if not subscriber.sees_all:
            watcher = replace(asker, organisation_id=subscriber.organisation_id, sees_all=False)
            get(tx, watcher, uid)
        store.subscribe(tx, subscriber.id, uid, lock=lock)
        store.add_reports(tx, [subscriber.id], uid, [workitem.reported(item)])
    audit.record(
        tx,
        actor=asker.actor,
        action="workitem.subscribed",
        subject=f"workitem:{uid}",
        detail={"subscriber": subscriber.id, "lock": lock},
    )
    return Remark.NONE


def unsubscribe(tx: Transaction, asker: Asker, uid: str, channel: Channel, title: str) -> None:
    """Tell a receiver no more of a workitem or, by the well-known UIDs, of any.

    Raises
    ------
    WorkitemUnknown, SubscriberUnknown, ReceiverForeign
        There is no such workitem or subscriber.
    """
    if uid not in WELL_KNOWN:
        get(tx, asker, uid)
    subscriber = require_own(tx, asker, channel, title)
    if uid in WELL_KNOWN:
        store.save_subscriber(tx, replace(subscriber, breadth=Breadth.NONE, filter=None))
        store.unsubscribe(tx, subscriber.id)
    else:
        store.unsubscribe(tx, subscriber.id, uid)
    audit.record(
        tx,
        actor=asker.actor,
        action="workitem.unsubscribed",
        subject=f"workitem:{uid}",
        detail={"subscriber": subscriber.id},
    )


def suspend(tx: Transaction, asker: Asker, uid: str, channel: Channel, title: str) -> None:
    """Tell a receiver of no further workitem; those it is told of already stay.

    Raises
    ------
    ActionInappropriate
        One workitem is named: suspending is of the global subscription.
    SubscriberUnknown, ReceiverForeign
        There is no such subscriber.
    """
    if uid not in WELL_KNOWN:
        raise ActionInappropriate("a global subscription is suspended, not that of one workitem")
    subscriber = require_own(tx, asker, channel, title)
    store.save_subscriber(tx, replace(subscriber, breadth=Breadth.NONE, filter=None))
    audit.record(
        tx,
        actor=asker.actor,
        action="workitem.suspended",
        subject=f"workitem:{uid}",
        detail={"subscriber": subscriber.id},
    )


def require_own(tx: Transaction, asker: Asker, channel: Channel, title: str) -> Subscriber:
    """Return a subscriber that the asker may change.

    Raises
    ------
    SubscriberUnknown, ReceiverForeign
        There is none, or it is somebody else's.
    """
    found = store.find_subscriber(tx, subscriber_id(channel, receiving_title(title)), lock=True)
    if found is None:
        raise SubscriberUnknown("nobody is subscribed under this title")
    _require_same_owner(found, _owner(asker, channel))
    return found


def web_receiver(asker: Asker, title: str) -> Subscriber:
    """Return the receiver that a web client makes itself by a title."""
    return Subscriber(
        channel=Channel.WEB,
        title=receiving_title(title),
        owner=_owner(asker, Channel.WEB),
        organisation_id=asker.organisation_id,
        sees_all=asker.sees_all,
    )


def receiving_title(title: str) -> str:
    """Return a title under which events are received.

    Raises
    ------
    ReceiverUnknown
        It is no AE title.
    """
    try:
        return ae_title(title)
    except AeTitleInvalid as error:
        raise ReceiverUnknown(error.sentence) from error


def tell(tx: Transaction, item: Workitem, told: Sequence[Event]) -> None:
    """Have those who are subscribed to a workitem told; its end ends what is not locked."""
    if told:
        store.add_reports(tx, store.subscribed(tx, item.uid), item.uid, told)
    if item.state in FINAL:
        store.let_go(tx, item.uid)


def keep(tx: Transaction, action: str, before: Workitem, moved: Moved) -> Done:
    """Keep a change that the engine itself made."""
    return _keep(tx, ENGINE, action, before, moved)


def tell_of_restart(tx: Transaction) -> None:
    """Tell global subscribers that this node was started anew; once, however often it was."""
    for subscriber in store.broad_subscribers(tx):
        if not store.waiting_status(tx, subscriber.id, EventType.STATUS_CHANGE):
            store.add_reports(tx, [subscriber.id], GLOBAL, [events.restarted()])


def _keep(tx: Transaction, actor: Actor, action: str, before: Workitem, moved: Moved) -> Done:
    after, told, remark = moved
    if after != before:
        store.save(tx, before, after)
    tell(tx, after, told)
    _note(tx, actor, action, after)
    return Done(after, remark)


def _subscribe_broadly(
    tx: Transaction, subscriber: Subscriber, uid: str, lock: bool, keys: Attributes | None
) -> None:
    filtered = uid == FILTERED
    if filtered and (keys is None or not keys.by_tag):
        raise ActionInappropriate("a filtered global subscription names what must match")
    if keys is not None and requirements.size(keys) > MAX_FILTER:
        raise TooMany(f"a filter has at most {MAX_FILTER} keys")
    if keys is not None:
        require_storable(keys)
        search.require_keys(keys)
    broad = replace(
        subscriber,
        breadth=Breadth.FILTERED if filtered else Breadth.ALL,
        filter=keys if filtered else None,
        lock=lock,
    )
    store.save_subscriber(tx, broad)
    bound = None if broad.sees_all else (broad.organisation_id or "")
    open_ones = store.Narrowing(
        organisation_id=bound, states=tuple(s.value for s in StepState if s not in FINAL)
    )
    after = ""
    while items := store.page(tx, open_ones, after=after):
        for item in identity.shown(tx, items):
            if broad.wants(item):
                store.subscribe(tx, broad.id, item.uid, lock=lock)
        after = items[-1].uid


def _enrolled(tx: Transaction, receiver: Subscriber) -> Subscriber:
    found = store.find_subscriber(tx, receiver.id, lock=True)
    if found is None:
        own = store.count_subscribers(tx, owner=receiver.owner)
        if own >= MAX_OWN_SUBSCRIBERS and not store.forget_idle(tx, receiver.owner):
            raise TooMany(f"you have {MAX_OWN_SUBSCRIBERS} subscribers already")
        if store.count_subscribers(tx) >= MAX_SUBSCRIBERS:
            raise TooMany(f"there are {MAX_SUBSCRIBERS} subscribers already")
        store.save_subscriber(tx, receiver)
        return receiver
    _require_same_owner(found, receiver.owner)
    known = replace(found, organisation_id=receiver.organisation_id, sees_all=receiver.sees_all)
    if known != found:
        store.save_subscriber(tx, known)
    return known


def _require_same_owner(found: Subscriber, owner: str) -> None:
    if found.owner != owner:
        raise ReceiverForeign("somebody else subscribed under this title")


def _owner(asker: Asker, channel: Channel) -> str:
    """Return who may change a subscriber: a web client itself, a site's devices together."""
    if channel is Channel.AE:
        return ae_owner(asker.organisation_id or "")
    return asker.actor.ref


def ae_owner(organisation_id: str) -> str:
    """Return who may change the subscriptions of the devices of an organisation."""
    return f"organisation:{organisation_id}"


def _note(tx: Transaction, actor: Actor, action: str, item: Workitem) -> None:
    audit.record(
        tx,
        actor=actor,
        action=action,
        subject=f"workitem:{item.uid}",
        case_id=item.case_id,
        detail={"state": item.state.value, "revision": item.revision},
    )

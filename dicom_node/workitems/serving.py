"""Workitems served over DIMSE: created, found, read, set, moved, watched.

References
----------
DICOM PS3.4 section CC.2; table CC.2-1 says which class takes which operation.
"""

from collections.abc import Callable, Iterator

from dicom_node import store as peers
from dicom_node import views as sights
from dicom_node.answering import Answering, Match
from dicom_node.data_sets import Attributes
from dicom_node.dictionary import tag_of
from dicom_node.dimse import Command
from dicom_node.exchange import Exchange, Offer, Operation
from dicom_node.peers import Peer
from dicom_node.statuses import Status
from dicom_node.uids import UPS_PULL, UPS_PUSH, UPS_QUERY, UPS_WATCH
from dicom_node.views import Views
from dicom_node.workitems import commands, identity, search, store
from dicom_node.workitems.commands import Performing
from dicom_node.workitems.errors import ReceiverUnknown, ValueInvalid
from dicom_node.workitems.subscriber import Asker, Channel, Subscriber
from dicom_node.workitems.words import word_for, word_of
from dicom_node.workitems.workitem import Remark, Workitem
from kernel.errors import EngineError
from storage import audit
from storage.archive_find import MAX_LISTED
from storage.engine import Database, Transaction

CHANGE_STATE, REQUEST_CANCEL, SUBSCRIBE, UNSUBSCRIBE, SUSPEND = range(1, 6)
"""Action types (PS3.4 tables CC.2.1-1, CC.2.2-1, CC.2.3-1)."""

ACTIONS = {
    UPS_PUSH: frozenset({REQUEST_CANCEL}),
    UPS_PULL: frozenset({CHANGE_STATE}),
    UPS_WATCH: frozenset({REQUEST_CANCEL, SUBSCRIBE, UNSUBSCRIBE, SUSPEND}),
}
OPERATIONS = {
    UPS_PUSH: (Command.N_CREATE_RQ, Command.N_GET_RQ, Command.N_ACTION_RQ),
    UPS_PULL: (Command.C_FIND_RQ, Command.N_GET_RQ, Command.N_SET_RQ, Command.N_ACTION_RQ),
    UPS_WATCH: (Command.N_ACTION_RQ, Command.N_GET_RQ, Command.C_FIND_RQ),
    UPS_QUERY: (Command.C_FIND_RQ,),
}
_LOCKS = {"TRUE": True, "FALSE": False, "": False}

Perform = Callable[[Transaction, Asker, Attributes], commands.Done | Remark]
"""Does what an exchange asks for, of which it is given the data set."""


class WorkitemDesk:
    """Serves the UPS classes.

    Parameters
    ----------
    performing
        Who decides on the claim of a reading.
    max_matches
        A query that matches more is ended there, and says so.
    """

    def __init__(
        self, database: Database, *, views: Views, performing: Performing, max_matches: int
    ) -> None:
        self._database = database
        self._views = views
        self._performing = performing
        self._answering = Answering(database, "workitems.searched", max_matches)

    def offers(self) -> dict[str, Offer]:
        """Return what is served, by SOP class."""
        performed: dict[Command, Operation] = {
            Command.N_CREATE_RQ: self.create,
            Command.N_SET_RQ: self.set,
            Command.N_GET_RQ: self.get,
            Command.N_ACTION_RQ: self.act,
            Command.C_FIND_RQ: self.find,
        }
        return {
            uid: Offer(first, performed[first], besides={each: performed[each] for each in others})
            for uid, (first, *others) in OPERATIONS.items()
        }

    def create(self, exchange: Exchange) -> None:
        """Answer one N-CREATE."""

        def perform(tx: Transaction, asker: Asker, given: Attributes) -> commands.Done:
            return commands.create(tx, asker, exchange.request.sop_instance_uid, given)

        self._performed(exchange, perform)

    def set(self, exchange: Exchange) -> None:
        """Answer one N-SET."""

        def perform(tx: Transaction, asker: Asker, given: Attributes) -> commands.Done:
            return commands.update(
                tx,
                asker,
                exchange.request.sop_instance_uid,
                given,
                transaction_uid=given.value("TransactionUID"),
            )

        self._performed(exchange, perform)

    def get(self, exchange: Exchange) -> None:
        """Answer one N-GET with what was asked for, or with all."""
        request = exchange.request
        if not _names_class(exchange):
            return
        try:
            with self._database.transaction() as tx:
                asker = self._asker(exchange.terms.peer)
                held = commands.view(tx, asker, request.sop_instance_uid).shown()
                audit.record(
                    tx,
                    actor=asker.actor,
                    action="workitem.viewed",
                    subject=f"workitem:{request.sop_instance_uid}",
                )
        except EngineError as error:
            exchange.answer(word_for(error), comment=error.sentence)
            return
        wanted = request.attribute_tags
        told = {tag: each for tag, each in held.by_tag.items() if not wanted or tag in wanted}
        lacking = set(wanted) - set(held.by_tag) - {tag_of("TransactionUID")}
        remark = Remark.NOT_ALL_SUPPORTED if lacking else Remark.NONE
        attributes = list(search.explained(told, held).values())
        exchange.answer(word_of(remark), attributes=attributes)

    def act(self, exchange: Exchange) -> None:
        """Answer one N-ACTION."""
        request = exchange.request
        action, uid = request.action_type, request.sop_instance_uid
        if action not in ACTIONS[exchange.context.abstract_syntax]:
            exchange.answer(Status.NO_SUCH_ACTION, comment="this class does not take this action")
            return

        def perform(tx: Transaction, asker: Asker, told: Attributes) -> commands.Done | Remark:
            if action == CHANGE_STATE:
                return commands.change_state(
                    tx,
                    asker,
                    uid,
                    state=told.value("ProcedureStepState"),
                    transaction_uid=told.value("TransactionUID"),
                    performing=self._performing,
                )
            if action == REQUEST_CANCEL:
                return commands.request_cancel(tx, asker, uid, told)
            return self._watch(tx, asker, action, uid, told)

        self._performed(exchange, perform)

    def find(self, exchange: Exchange) -> None:
        """Answer one C-FIND with the workitems that match and that the peer sees."""
        keys, asker = exchange.identifier(), self._asker(exchange.terms.peer)
        try:
            items = matching_items(self._database, asker, keys)
        except ValueInvalid as refusal:
            exchange.answer(Status.DATA_SET_DOES_NOT_MATCH, comment=refusal.sentence)
            return
        told = (search.answer(keys, item.shown()) for item in items)
        self._answering.answer(exchange, map(Match, told))

    def _watch(
        self, tx: Transaction, asker: Asker, action: int, uid: str, told: Attributes
    ) -> Remark:
        receiver = self._receiver(tx, asker, told.value("ReceivingAE"))
        # Whose devices they are is who may change what they hear.
        own = Asker(
            actor=asker.actor,
            title=asker.title,
            organisation_id=receiver.organisation_id if asker.sees_all else asker.organisation_id,
            sees_all=asker.sees_all,
        )
        if action == UNSUBSCRIBE:
            commands.unsubscribe(tx, own, uid, Channel.AE, receiver.title)
        elif action == SUSPEND:
            commands.suspend(tx, own, uid, Channel.AE, receiver.title)
        else:
            lock = _LOCKS.get(told.value("DeletionLock"))
            if lock is None:
                raise ValueInvalid("DeletionLock is TRUE or FALSE")
            return commands.subscribe(tx, asker, uid, receiver, lock=lock, keys=_keys(told))
        return Remark.NONE

    def _receiver(self, tx: Transaction, asker: Asker, title: str) -> Subscriber:
        peer = peers.find_peer(tx, commands.receiving_title(title))
        if peer is None or not (asker.sees_all or asker.organisation_id == peer.organisation_id):
            raise ReceiverUnknown("no registered device of yours has this AE title")
        return Subscriber(
            channel=Channel.AE,
            title=peer.ae_title,
            owner=commands.ae_owner(peer.organisation_id),
            organisation_id=peer.organisation_id,
            sees_all=self._sees_all(peer),
        )

    def _performed(self, exchange: Exchange, perform: Perform) -> None:
        """Answer once what was done is durable; a refusal undoes all of it.

        What was told is read before: others wait to write while a transaction is open.
        """
        if not _names_class(exchange):
            return
        try:
            told = exchange.identifier()
            with self._database.transaction() as tx:
                done = perform(tx, self._asker(exchange.terms.peer), told)
        except EngineError as error:
            exchange.answer(word_for(error), comment=error.sentence)
            return
        if isinstance(done, Remark):
            exchange.answer(word_of(done))
        else:
            exchange.answer(word_of(done.remark), sop_instance_uid=done.item.uid)

    def _asker(self, peer: Peer) -> Asker:
        return Asker(
            actor=peer.actor,
            title=peer.ae_title,
            organisation_id=peer.organisation_id or None,
            sees_all=self._sees_all(peer),
            reader_id=peer.reader_id or None,
            issuer=peer.issuer,
        )

    def _sees_all(self, peer: Peer) -> bool:
        return sights.scope_of(peer, self._views) is None


def matching_items(database: Database, asker: Asker, keys: Attributes) -> Iterator[Workitem]:
    """Return what matches, which is read a page at a time.

    Raises
    ------
    ValueInvalid
        A key cannot be matched: before anything is asked for.
    """
    search.require_keys(keys)
    return _matching(database, asker, keys)


def _matching(database: Database, asker: Asker, keys: Attributes) -> Iterator[Workitem]:
    narrowing = store.Narrowing(
        organisation_id=None if asker.sees_all else (asker.organisation_id or ""),
        uids=_listed(keys.values("SOPInstanceUID")),
        states=_plain(keys.values("ProcedureStepState")),
    )
    after = ""
    while True:
        with database.reading() as tx:
            items = identity.shown(tx, store.page(tx, narrowing, after=after))
        yield from (item for item in items if search.matches(keys, item.shown()))
        if len(items) < store.PAGE:
            return
        after = items[-1].uid


def _listed(values: tuple[str, ...]) -> tuple[str, ...]:
    """Return what the index looks for; a longer list is matched one by one."""
    given = tuple(filter(None, values))
    return given if len(given) <= MAX_LISTED else ()


def _plain(values: tuple[str, ...]) -> tuple[str, ...]:
    given = tuple(filter(None, values))
    return () if any(set(value) & {"*", "?"} for value in given) else given


def _keys(told: Attributes) -> Attributes:
    own = {tag_of("ReceivingAE"), tag_of("DeletionLock"), tag_of("SpecificCharacterSet")}
    return Attributes({tag: each for tag, each in told.by_tag.items() if tag not in own})


def _names_class(exchange: Exchange) -> bool:
    """Answer what names another class; every workitem is one of UPS Push (CC.3.1)."""
    if exchange.request.sop_class_uid in {UPS_PUSH, exchange.context.abstract_syntax}:
        return True
    exchange.answer(Status.NO_SUCH_CLASS, comment="a workitem is an instance of UPS Push")
    return False

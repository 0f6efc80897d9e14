"""Storage commitment asked: a peer is to answer for what we sent it, and says so in its own time.

The answer comes on the association of the request, or on one that the peer opens; it is matched by
its transaction.  A transaction that stays unanswered is asked again until the horizon.

References
----------
DICOM PS3.4 Annex J.3 (push model).
"""

from collections.abc import Sequence
from datetime import timedelta

import structlog

from dicom_node import data_sets, errands, store
from dicom_node.asking import Asking, asking
from dicom_node.commitments import INSTANCE, REQUEST_ACTION, next_attempt
from dicom_node.data_sets import Attribute, Attributes, attribute, sequence
from dicom_node.dimse import Command, Question
from dicom_node.errands import ASKED, COMMITTED, FAILED, GIVEN_UP, CommitmentAsked
from dicom_node.errors import DataSetUnreadable, PeerUnknown, PeerUnreachable, ServiceLacking
from dicom_node.exchange import Exchange
from dicom_node.send import SendSettings
from dicom_node.statuses import Status
from dicom_node.uids import STORAGE_COMMITMENT
from kernel.errors import Transient
from kernel.ids import derived_uid, fresh
from kernel.people import ENGINE
from storage import audit
from storage.engine import Database, Transaction
from storage.work import DueWork

MAX_ASKED = 20_000
"""Instances of one transaction; more go into another."""

_LEASE = timedelta(minutes=5)
_OUTCOMES = {
    COMMITTED: audit.Outcome.SUCCESS,
    FAILED: audit.Outcome.FAILED,
    GIVEN_UP: audit.Outcome.GIVEN_UP,
}
_REPORT_WITHIN = timedelta(hours=1)
_LINGER = timedelta(seconds=3)
_TAKEN = frozenset({Status.SUCCESS, Status.DUPLICATE_TRANSACTION})

log = structlog.get_logger()


def ask(tx: Transaction, ae_title: str, pairs: Sequence[tuple[str, str]]) -> list[str]:
    """Keep that a peer is to be asked for pairs of SOP class and instance; return the transactions.

    The relay asks; the answer is found by `errands.find_asked`.
    """
    made = []
    for at in range(0, len(pairs), MAX_ASKED):
        transaction_uid = derived_uid("commitment", fresh())
        asked = CommitmentAsked(
            transaction_uid=transaction_uid,
            ae_title=ae_title,
            asked=tuple(pairs[at : at + MAX_ASKED]),
            failed=(),
            state=ASKED,
            attempts=0,
            asked_at=tx.at,
        )
        errands.add_asked(tx, asked)
        made.append(transaction_uid)
    return made


class CommitmentRequests:
    """Asks peers for what is kept to be asked.

    Parameters
    ----------
    send
        How peers are called.
    linger
        How long an answer on the same association is waited for.
    """

    def __init__(
        self, database: Database, send: SendSettings, *, linger: timedelta = _LINGER
    ) -> None:
        self._database = database
        self._send = send
        self._linger = linger

    def due_work(self) -> Sequence[DueWork]:
        """Return what the relay drives."""
        return [
            DueWork(
                name="dicom_node.ask_commitments",
                queue="outward",
                due=errands.asked_due,
                run=self.request,
                signs=errands.ASKED_SIGNS,
            )
        ]

    def request(self, transaction_uid: str) -> None:
        """Ask for one commitment if it is due."""
        with self._database.transaction() as tx:
            asked = errands.claim_asked(tx, transaction_uid, until=tx.at + _LEASE)
        if asked is None:
            return
        wait: timedelta | None = _REPORT_WITHIN
        try:
            self._request(asked)
        except PeerUnknown as refusal:
            with self._database.transaction() as tx:
                self._give_up(tx, asked, why=refusal.code)
            return
        except (Transient, ServiceLacking) as failure:
            log.warning("commitment.not_asked", transaction=transaction_uid, code=failure.code)
            wait = None
        with self._database.transaction() as tx:
            self._postpone(tx, asked, wait)

    def _request(self, asked: CommitmentAsked) -> None:
        with self._database.reading() as tx:
            peer = store.find_peer(tx, asked.ae_title)
        if peer is None:
            raise PeerUnknown("the device to be asked is not registered any more")
        question = Question(
            command=Command.N_ACTION_RQ,
            sop_class_uid=STORAGE_COMMITMENT,
            sop_instance_uid=INSTANCE,
            action_type=REQUEST_ACTION,
        )
        with asking(peer, STORAGE_COMMITMENT, self._send) as receiver:
            answer = receiver.answer(question, _information(asked))
            if answer.status not in _TAKEN:
                raise PeerUnreachable(
                    f"the peer answered {answer.status:04X}", ae_title=peer.ae_title
                )
            self._hear_at_once(receiver, asked.ae_title)

    def _hear_at_once(self, receiver: Asking, ae_title: str) -> None:
        """Take an answer that comes on the same association, if one does."""
        heard = receiver.call.hear(self._linger)
        if heard is None or heard[1].command != Command.N_EVENT_REPORT_RQ:
            return
        context_id, request, data = heard
        known = False
        try:
            told = data_sets.decode(data, receiver.context[1])
            with self._database.transaction() as tx:
                known = answered(tx, told, ae_title=ae_title)
        except DataSetUnreadable as refusal:  # asked again, it may say it better
            log.warning("commitment.answer_unreadable", ae_title=ae_title, code=refusal.code)
        status = Status.SUCCESS if known else Status.PROCESSING_FAILURE
        receiver.call.reply(context_id, request, status)

    def _postpone(self, tx: Transaction, asked: CommitmentAsked, wait: timedelta | None) -> None:
        again = next_attempt(asked.attempts, begun_at=asked.asked_at, at=tx.at)
        if again is not None:
            due_at = again if wait is None else tx.at + wait
            errands.postpone_asked(tx, asked.transaction_uid, due_at=due_at)
        else:
            self._give_up(tx, asked)

    def _give_up(self, tx: Transaction, asked: CommitmentAsked, **detail: str) -> None:
        kept = errands.find_asked(tx, asked.transaction_uid)
        if kept is not None and kept.state == ASKED:
            uids = tuple(uid for _, uid in asked.asked)
            errands.end_asked(tx, asked.transaction_uid, GIVEN_UP, failed=uids)
            _note(tx, asked, GIVEN_UP, failed=len(uids), **detail)


class CommitmentAnswers:
    """Hears what peers answer on associations of their own."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def hear(self, exchange: Exchange) -> None:
        """Answer one N-EVENT-REPORT: success means that it is kept what the peer answers for."""
        try:
            told = exchange.identifier()
            with self._database.transaction() as tx:
                known = answered(tx, told, ae_title=exchange.terms.peer.ae_title)
        except (DataSetUnreadable, Transient) as failure:
            exchange.answer(Status.PROCESSING_FAILURE, comment=failure.sentence)
            return
        if known:
            exchange.answer(Status.SUCCESS)
        else:
            exchange.answer(
                Status.PROCESSING_FAILURE, comment="this transaction was not asked of this peer"
            )


def answered(tx: Transaction, told: Attributes, *, ae_title: str) -> bool:
    """Keep what a peer answers for; say whether it was asked.

    What it does not name as committed is not, whatever the event says.
    """
    asked = errands.find_asked(tx, told.value("TransactionUID"))
    if asked is None or asked.ae_title != ae_title:
        return False
    if asked.state == COMMITTED:
        return True
    committed = {
        item.value("ReferencedSOPInstanceUID") for item in told.items("ReferencedSOPSequence")
    }
    failed = tuple(uid for _, uid in asked.asked if uid not in committed)
    state = FAILED if failed else COMMITTED
    errands.end_asked(tx, asked.transaction_uid, state, failed=failed)
    _note(tx, asked, state, failed=len(failed))
    return True


def _information(asked: CommitmentAsked) -> list[Attribute]:
    references = (
        [
            attribute("ReferencedSOPClassUID", sop_class),
            attribute("ReferencedSOPInstanceUID", uid),
        ]
        for sop_class, uid in asked.asked
    )
    return [
        attribute("TransactionUID", asked.transaction_uid),
        sequence("ReferencedSOPSequence", *references),
    ]


def _note(
    tx: Transaction, asked: CommitmentAsked, state: str, *, failed: int, **detail: str
) -> None:
    audit.record(
        tx,
        actor=ENGINE,
        action="commitment.answered",
        subject=f"commitment:{asked.transaction_uid}",
        outcome=_OUTCOMES[state],
        detail={
            "ae_title": asked.ae_title,
            "instances": len(asked.asked),
            "failed": failed,
            "attempts": asked.attempts,
            **detail,
        },
    )

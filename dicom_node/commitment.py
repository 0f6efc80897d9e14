"""Storage commitment served: kept durably when asked, reported on an association of its own.

A device deletes its images once we commit, so what was asked survives us, and the report is tried
until the device takes it.

References
----------
DICOM PS3.4 Annex J.3 (push model).
"""

from collections.abc import Sequence
from datetime import timedelta

import structlog

from dicom_node import commitments, evidence, store
from dicom_node.announcements import Announcement, Kind
from dicom_node.commitments import GIVEN_UP, INSTANCE, REPORTED, REQUEST_ACTION, Commitment
from dicom_node.errors import CommitmentInvalid, DataSetUnreadable, PeerUnknown
from dicom_node.exchange import Exchange
from dicom_node.peers import Peer
from dicom_node.send import SendSettings, report_event
from dicom_node.statuses import Status
from dicom_node.uids import STORAGE_COMMITMENT
from kernel.errors import Transient
from kernel.people import ENGINE
from storage import archive_find, audit, held
from storage.engine import Database, Transaction
from storage.work import DueWork

_LEASE = timedelta(minutes=5)

log = structlog.get_logger()


class CommitmentDesk:
    """Takes requests for storage commitment."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def ask(self, exchange: Exchange) -> None:
        """Answer one N-ACTION: success means that the request is kept and will be reported on."""
        request = exchange.request
        if request.sop_instance_uid != INSTANCE:
            exchange.answer(Status.NO_SUCH_INSTANCE)
            return
        if request.action_type != REQUEST_ACTION:
            exchange.answer(Status.NO_SUCH_ACTION)
            return
        try:
            status = self._kept(exchange)
        except (CommitmentInvalid, DataSetUnreadable) as refusal:
            exchange.answer(Status.MISSING_ATTRIBUTE, comment=refusal.sentence)
        except Transient as failure:
            exchange.answer(Status.PROCESSING_FAILURE, comment=failure.sentence)
        else:
            exchange.answer(status)

    def _kept(self, exchange: Exchange) -> Status:
        peer = exchange.terms.peer
        information = exchange.identifier()
        with self._database.transaction() as tx:
            asked = commitments.read(information, ae_title=peer.ae_title, at=tx.at)
            kept = store.add_commitment(tx, asked)
            if kept.asked != asked.asked:
                return Status.DUPLICATE_TRANSACTION
            _announce(tx, kept, peer)
            if kept.id != asked.id:  # asked again: the device has not heard us
                store.postpone_commitment(tx, kept.id, due_at=tx.at)
            audit.record(
                tx,
                actor=peer.actor,
                action="commitment.asked",
                subject=f"commitment:{kept.id}",
                detail={"transaction_uid": kept.transaction_uid, "instances": len(kept.asked)},
            )
        return Status.SUCCESS


class CommitmentReports:
    """Reports what was asked to be committed.

    Parameters
    ----------
    send
        How devices are called.
    """

    def __init__(self, database: Database, send: SendSettings) -> None:
        self._database = database
        self._send = send

    def due_work(self) -> Sequence[DueWork]:
        """Return what the relay drives."""
        return [
            DueWork(
                name="dicom_node.report_commitments",
                queue="outward",
                due=store.commitments_due,
                run=self.report,
                signs=store.COMMITMENT_SIGNS,
            )
        ]

    def report(self, commitment_id: str) -> None:
        """Report on one commitment if it is due; done twice, it is done once."""
        with self._database.transaction() as tx:
            commitment = store.claim_commitment(tx, commitment_id, until=tx.at + _LEASE)
        if commitment is None:
            return
        try:
            failed = self._tell(commitment)
        except PeerUnknown as refusal:
            with self._database.transaction() as tx:
                self._give_up(tx, commitment, why=refusal.code)
            return
        except Transient as failure:
            with self._database.transaction() as tx:
                self._postpone(tx, commitment, failure)
            return
        with self._database.transaction() as tx:
            store.end_commitment(tx, commitment.id, REPORTED)
            _note(tx, commitment, audit.Outcome.SUCCESS, failed=failed)

    def _tell(self, commitment: Commitment) -> int:
        """Judge and report; return how many instances are not committed."""
        with self._database.reading() as tx:
            peer = store.find_peer(tx, commitment.ae_title)
            classes = archive_find.classes_of(tx, [uid for _, uid in commitment.asked])
        if peer is None:
            raise PeerUnknown("the device that asked is not registered any more")
        judgement = commitments.judge(commitment, classes)
        report_event(
            peer,
            self._send,
            sop_class_uid=STORAGE_COMMITMENT,
            sop_instance_uid=INSTANCE,
            event_type=judgement.event_type,
            attributes=judgement.attributes(commitment, ae_title=self._send.ae_title),
        )
        return len(judgement.failed)

    def _postpone(self, tx: Transaction, commitment: Commitment, failure: Transient) -> None:
        due_at = commitment.next_attempt(tx.at)
        log.warning("commitment.waits", commitment=commitment.id, code=failure.code)
        if due_at is None:
            self._give_up(tx, commitment)
        else:
            store.postpone_commitment(tx, commitment.id, due_at=due_at)

    def _give_up(self, tx: Transaction, commitment: Commitment, **detail: str) -> None:
        store.end_commitment(tx, commitment.id, GIVEN_UP)
        failed = len(commitment.asked)
        _note(tx, commitment, audit.Outcome.GIVEN_UP, failed=failed, **detail)


def _announce(tx: Transaction, commitment: Commitment, peer: Peer) -> None:
    """Take what a device asks about as what it has sent, where it is of one study that came.

    Some devices ask for each image by itself, so it never means that there is no more.
    """
    uids = [uid for _, uid in commitment.asked]
    studies = held.studies_of(tx, uids)
    if len(studies) == 1:
        told = Announcement(
            study_uid=next(iter(studies)),
            kind=Kind.COMMITMENT,
            source=commitment.transaction_uid,
            organisation_id=peer.organisation_id,
            whole=False,
            instances=tuple(dict.fromkeys(uids)),
        )
        evidence.announce(tx, told)


def _note(
    tx: Transaction,
    commitment: Commitment,
    outcome: audit.Outcome,
    *,
    failed: int,
    **detail: str,
) -> None:
    audit.record(
        tx,
        actor=ENGINE,
        action="commitment.reported",
        subject=f"commitment:{commitment.id}",
        outcome=outcome,
        detail={
            "ae_title": commitment.ae_title,
            "instances": len(commitment.asked),
            "failed": failed,
            "attempts": commitment.attempts,
            **detail,
        },
    )

"""Instance availability told: peers that want it hear of each manifest of what they may see.

They hear as well that something of it was withdrawn or restored; the notice says how it is then.

References
----------
DICOM PS3.4 Annex R.
"""

from collections.abc import Container, Iterable, Sequence
from datetime import timedelta
from itertools import groupby
from operator import itemgetter

import structlog

from dicom_node import errands, store, views
from dicom_node.asking import asking
from dicom_node.commitments import next_attempt
from dicom_node.data_sets import Attribute, attribute, sequence
from dicom_node.dimse import Command, Question
from dicom_node.errands import GIVEN_UP, TAKEN, UNWANTED, Notice
from dicom_node.errors import PeerUnreachable, ServiceLacking
from dicom_node.peers import Peer
from dicom_node.send import SendSettings
from dicom_node.statuses import Status
from dicom_node.uids import AVAILABILITY
from dicom_node.views import Views
from kernel.errors import EngineError, Transient
from kernel.facts import Fact, StudyAmended, StudyCompleted, StudyRestored, StudyWithdrawn
from kernel.ids import derived, derived_uid
from kernel.people import ENGINE
from storage import archive, archive_find, audit, hidden
from storage.engine import Database, Transaction
from storage.work import DueWork, Reactions

CONSUMER = "dicom_node.notices"
_LEASE = timedelta(minutes=5)
_OUTCOMES = {
    TAKEN: audit.Outcome.SUCCESS,
    UNWANTED: audit.Outcome.UNWANTED,
    GIVEN_UP: audit.Outcome.GIVEN_UP,
}

Listed = tuple[str, str, str]
"""Series UID, instance UID, SOP class UID."""

log = structlog.get_logger()


def reactions(views: Views) -> Reactions:
    """Return what is done on a manifest or withdrawal: a notice for each peer that wants one."""

    def manifested(tx: Transaction, fact: Fact) -> None:
        assert isinstance(fact, StudyCompleted | StudyAmended)
        _tell(tx, views, fact.study_uid, fact.manifest_version)

    def changed(tx: Transaction, fact: Fact) -> None:
        assert isinstance(fact, StudyWithdrawn | StudyRestored)
        version = archive.latest_version(tx, fact.study_uid)
        if version:  # else nobody was told that it is here
            _tell(tx, views, fact.study_uid, version, fact.kind, fact.withdrawal)

    return {
        CONSUMER: {
            StudyCompleted: manifested,
            StudyAmended: manifested,
            StudyWithdrawn: changed,
            StudyRestored: changed,
        }
    }


class Notices:
    """Tells peers what is here.

    Parameters
    ----------
    send
        How peers are called.
    """

    def __init__(self, database: Database, send: SendSettings) -> None:
        self._database = database
        self._send = send

    def due_work(self) -> Sequence[DueWork]:
        """Return what the relay drives."""
        return [
            DueWork(
                name="dicom_node.tell_availability",
                queue="outward",
                due=errands.notices_due,
                run=self.tell,
                signs=errands.NOTICE_SIGNS,
            )
        ]

    def tell(self, notice_id: str) -> None:
        """Tell one notice if it is due; done twice, it is done once."""
        with self._database.transaction() as tx:
            notice = errands.claim_notice(tx, notice_id, until=tx.at + _LEASE)
        if notice is None:
            return
        try:
            state = self._told(notice)
        except (Transient, ServiceLacking) as failure:
            with self._database.transaction() as tx:
                self._postpone(tx, notice, failure)
            return
        with self._database.transaction() as tx:
            errands.end_notice(tx, notice.id, state)
            _note(tx, notice, state)

    def _told(self, notice: Notice) -> str:
        """Tell the peer; return how it ended."""
        with self._database.reading() as tx:
            peer = store.find_peer(tx, notice.ae_title)
            manifest = archive.manifest(tx, notice.study_uid, notice.manifest_version)
            listed = {(e.series_uid, e.instance_uid, e.sop_class_uid) for e in manifest.entries}
            listed.update(hidden.withdrawn_of(tx, notice.study_uid))
            shown = archive_find.classes_of(tx, [uid for _, uid, _ in listed]).keys()
        if peer is None or not peer.notify:
            return UNWANTED
        question = Question(
            command=Command.N_CREATE_RQ,
            sop_class_uid=AVAILABILITY,
            sop_instance_uid=derived_uid("availability-notice", notice.id),
        )
        with asking(peer, AVAILABILITY, self._send) as receiver:
            told = described(notice.study_uid, listed, shown, self._send.ae_title)
            answer = receiver.answer(question, told)
        # A notice that was taken and whose answer was lost is a duplicate: the peer has it.
        if answer.status not in (Status.SUCCESS, Status.DUPLICATE_INSTANCE):
            raise PeerUnreachable("the peer did not take the notice", ae_title=peer.ae_title)
        return TAKEN

    def _postpone(self, tx: Transaction, notice: Notice, failure: EngineError) -> None:
        due_at = next_attempt(notice.attempts, begun_at=notice.made_at, at=tx.at)
        log.warning("notice.waits", notice=notice.id, code=failure.code)
        if due_at is None:
            errands.end_notice(tx, notice.id, GIVEN_UP)
            _note(tx, notice, GIVEN_UP)
        else:
            errands.postpone_notice(tx, notice.id, due_at=due_at)


def described(
    study_uid: str, listed: Iterable[Listed], shown: Container[str], ae_title: str
) -> list[Attribute]:
    """Return the notice of a study (table R.3.2-1): what of it is shown can be retrieved.

    What was withdrawn is among it, and UNAVAILABLE (PS3.3 section C.4.23.1.1): who was told that it
    is here would else not hear that it is not any more.
    """
    series = [
        [
            attribute("SeriesInstanceUID", series_uid),
            sequence(
                "ReferencedSOPSequence",
                *(
                    [
                        attribute("ReferencedSOPClassUID", sop_class_uid),
                        attribute("ReferencedSOPInstanceUID", instance_uid),
                        attribute(
                            "InstanceAvailability",
                            "ONLINE" if instance_uid in shown else "UNAVAILABLE",
                        ),
                        attribute("RetrieveAETitle", ae_title),
                    ]
                    for _, instance_uid, sop_class_uid in group
                ),
            ),
        ]
        for series_uid, group in groupby(sorted(listed), key=itemgetter(0))
    ]
    return [
        sequence("ReferencedPerformedProcedureStepSequence"),
        attribute("StudyInstanceUID", study_uid),
        sequence("ReferencedSeriesSequence", *series),
    ]


def _tell(tx: Transaction, known: Views, study_uid: str, version: int, *why: str | int) -> None:
    for peer in store.peers(tx):
        if peer.notify and _may_see(tx, peer, study_uid, known):
            notice = Notice(
                id=derived("availability", peer.ae_title, study_uid, version, *why),
                ae_title=peer.ae_title,
                study_uid=study_uid,
                manifest_version=version,
                attempts=0,
                made_at=tx.at,
            )
            errands.add_notice(tx, notice)


def _may_see(tx: Transaction, peer: Peer, study_uid: str, known: Views) -> bool:
    return archive_find.sees(tx, study_uid, views.scope_of(peer, known), withdrawn=True)


def _note(tx: Transaction, notice: Notice, state: str) -> None:
    audit.record(
        tx,
        actor=ENGINE,
        action="study.availability_told",
        subject=f"study:{notice.study_uid}",
        outcome=_OUTCOMES[state],
        detail={
            "ae_title": notice.ae_title,
            "manifest_version": notice.manifest_version,
            "attempts": notice.attempts,
        },
    )

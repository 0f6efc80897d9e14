"""Instance availability told: peers that want it hear of each manifest of what they may see.

References
----------
DICOM PS3.4 Annex R.
"""

from collections.abc import Container, Sequence
from datetime import timedelta
from itertools import groupby

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
from kernel.facts import Fact, StudyAmended, StudyCompleted
from kernel.ids import derived, derived_uid
from kernel.people import ENGINE
from storage import archive, archive_find, audit
from storage.archive import Manifest
from storage.archive_find import Level, Narrowing
from storage.engine import Database, Transaction
from storage.work import DueWork, Reactions

CONSUMER = "dicom_node.notices"
_LEASE = timedelta(minutes=5)
_OUTCOMES = {
    TAKEN: audit.Outcome.SUCCESS,
    UNWANTED: audit.Outcome.UNWANTED,
    GIVEN_UP: audit.Outcome.GIVEN_UP,
}

log = structlog.get_logger()


def reactions(views: Views) -> Reactions:
    """Return what is done on a manifest: a notice for each peer that wants one."""

    def tell(tx: Transaction, fact: Fact) -> None:
        assert isinstance(fact, StudyCompleted | StudyAmended)
        for peer in store.peers(tx):
            if peer.notify and _may_see(tx, peer, fact.study_uid, views):
                errands.add_notice(tx, _notice(tx, peer, fact))

    return {CONSUMER: {StudyCompleted: tell, StudyAmended: tell}}


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
            listed = [entry.instance_uid for entry in manifest.entries]
            shown = archive_find.classes_of(tx, listed).keys()
        if peer is None or not peer.notify:
            return UNWANTED
        question = Question(
            command=Command.N_CREATE_RQ,
            sop_class_uid=AVAILABILITY,
            sop_instance_uid=derived_uid("availability-notice", notice.id),
        )
        with asking(peer, AVAILABILITY, self._send) as receiver:
            answer = receiver.answer(question, described(manifest, shown, self._send.ae_title))
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


def described(manifest: Manifest, shown: Container[str], ae_title: str) -> list[Attribute]:
    """Return the notice of a manifest (table R.3.2-1): all of it that is shown can be retrieved.

    A notice may be told long after its manifest was frozen, and after one that came later.
    """
    entries = sorted(manifest.entries, key=lambda entry: (entry.series_uid, entry.instance_uid))
    series = [
        [
            attribute("SeriesInstanceUID", series_uid),
            sequence(
                "ReferencedSOPSequence",
                *(
                    [
                        attribute("ReferencedSOPClassUID", entry.sop_class_uid),
                        attribute("ReferencedSOPInstanceUID", entry.instance_uid),
                        attribute(
                            "InstanceAvailability",
                            "ONLINE" if entry.instance_uid in shown else "UNAVAILABLE",
                        ),
                        attribute("RetrieveAETitle", ae_title),
                    ]
                    for entry in group
                ),
            ),
        ]
        for series_uid, group in groupby(entries, key=lambda entry: entry.series_uid)
    ]
    return [
        sequence("ReferencedPerformedProcedureStepSequence"),
        attribute("StudyInstanceUID", manifest.study_uid),
        sequence("ReferencedSeriesSequence", *series),
    ]


def _may_see(tx: Transaction, peer: Peer, study_uid: str, known: Views) -> bool:
    wanted = Narrowing(study_uids=(study_uid,))
    return bool(archive_find.page(tx, Level.STUDY, wanted, views.scope_of(peer, known), limit=1))


def _notice(tx: Transaction, peer: Peer, fact: StudyCompleted | StudyAmended) -> Notice:
    return Notice(
        id=derived("availability", peer.ae_title, fact.study_uid, fact.manifest_version),
        ae_title=peer.ae_title,
        study_uid=fact.study_uid,
        manifest_version=fact.manifest_version,
        attempts=0,
        made_at=tx.at,
    )


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

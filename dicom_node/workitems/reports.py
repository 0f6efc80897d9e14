"""Events told to application entities: in order, each at least once, for as long as is of use.

References
----------
DICOM PS3.4 section CC.2.4.
"""

from collections.abc import Sequence
from datetime import timedelta

import structlog

from dicom_node import send
from dicom_node import store as peers
from dicom_node.data_sets import UTF_8, attribute
from dicom_node.errors import PeerUnknown
from dicom_node.send import Reporter, SendSettings
from dicom_node.uids import UPS_EVENT, UPS_PUSH
from dicom_node.workitems import store
from dicom_node.workitems.commands import ae_owner
from dicom_node.workitems.store import Report
from dicom_node.workitems.subscriber import HORIZON, Subscriber
from kernel.errors import Transient
from kernel.people import ENGINE
from storage import audit
from storage.engine import Database, Transaction
from storage.work import DueWork

_LEASE = timedelta(minutes=5)

log = structlog.get_logger()


class WorkitemReports:
    """Tells subscribers of events.

    Parameters
    ----------
    settings
        How devices are called.
    """

    def __init__(self, database: Database, settings: SendSettings) -> None:
        self._database = database
        self._settings = settings

    def due_work(self) -> Sequence[DueWork]:
        """Return what the relay drives."""
        return [
            DueWork(
                name="dicom_node.report_workitems",
                queue="outward",
                due=store.due_subscribers,
                run=self.report,
                signs=store.SUBSCRIBER_SIGNS,
            ),
            DueWork(
                name="dicom_node.expire_workitem_reports",
                queue="default",
                due=_with_old,
                run=self.expire,
                signs=(store.old_reports(HORIZON),),
            ),
        ]

    def report(self, subscriber_id: str) -> None:
        """Tell one subscriber all that waits for it; what it did not take waits on."""
        with self._database.transaction() as tx:
            subscriber = store.claim_subscriber(tx, subscriber_id, until=tx.at + _LEASE)
        if subscriber is None:
            return
        try:
            self._tell_all(subscriber)
        except PeerUnknown as refusal:
            with self._database.transaction() as tx:
                gone = store.forget_subscriber(tx, subscriber_id)
                _given_up(tx, subscriber_id, gone, refusal.sentence)
            return
        except Transient as failure:
            log.warning("workitem.report_waits", subscriber=subscriber_id, code=failure.code)
            with self._database.transaction() as tx:
                due_at = subscriber.next_attempt(tx.at)
                store.release_subscriber(tx, subscriber_id, due_at=due_at)
            return
        with self._database.transaction() as tx:
            store.release_subscriber(tx, subscriber_id)

    def expire(self, subscriber_id: str) -> None:
        """Give up what has waited for longer than it is of use, and say so."""
        with self._database.transaction() as tx:
            gone = store.expire(tx, subscriber_id, before=tx.at - HORIZON)
            if gone:
                _given_up(tx, subscriber_id, gone, f"not told for {HORIZON.days} days")

    def _tell_all(self, subscriber: Subscriber) -> None:
        with self._database.reading() as tx:
            peer = peers.find_peer(tx, subscriber.title)
            waiting = store.waiting(tx, subscriber.id)
        if not waiting:
            return
        if peer is None or ae_owner(peer.organisation_id) != subscriber.owner:
            raise PeerUnknown("the subscribed device is not registered at its site any more")
        with send.reporting(peer, self._settings, UPS_EVENT) as reporter:
            while waiting:
                for report in waiting:
                    _told(reporter, report)
                    with self._database.transaction() as tx:
                        store.taken(tx, [report.seq])
                        store.extend_claim(tx, subscriber.id, until=tx.at + _LEASE)
                with self._database.reading() as tx:
                    waiting = store.waiting(tx, subscriber.id)


def _told(reporter: Reporter, report: Report) -> None:
    reporter.tell(
        sop_class_uid=UPS_PUSH,
        sop_instance_uid=report.uid,
        event_type=report.event_type,
        attributes=[
            *report.information.by_tag.values(),
            attribute("SpecificCharacterSet", UTF_8),
        ],
    )


def _given_up(tx: Transaction, subscriber_id: str, reports: int, why: str) -> None:
    audit.record(
        tx,
        actor=ENGINE,
        action="workitem.reports_given_up",
        subject=f"subscriber:{subscriber_id}",
        outcome=audit.Outcome.GIVEN_UP,
        detail={"reports": reports, "why": why},
    )


def _with_old(tx: Transaction) -> list[str]:
    return store.subscribers_with_old(tx, before=tx.at - HORIZON)

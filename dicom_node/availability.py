"""Instance availability: what peers say that they have, taken as what a study consists of.

References
----------
DICOM PS3.4 Annex R.
"""

from dicom_node import announcements, evidence
from dicom_node.announcements import Announcement
from dicom_node.errors import AnnouncementInvalid, DataSetUnreadable
from dicom_node.exchange import Exchange
from dicom_node.statuses import Status
from kernel.errors import Transient
from kernel.people import Actor, Role
from storage import audit
from storage.engine import Database, Transaction


class AvailabilityDesk:
    """Takes notices of what peers have."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, exchange: Exchange) -> None:
        """Answer one N-CREATE; the last notice of a peer about a study is the one that counts."""
        peer = exchange.terms.peer
        try:
            told = announcements.of_notice(
                exchange.identifier(),
                ae_title=peer.ae_title,
                organisation_id=peer.organisation_id,
            )
            with self._database.transaction() as tx:
                evidence.announce(tx, told)
                _note(tx, told)
        except (AnnouncementInvalid, DataSetUnreadable) as refusal:
            exchange.answer(Status.MISSING_ATTRIBUTE, comment=refusal.sentence)
        except Transient as failure:
            exchange.answer(Status.PROCESSING_FAILURE, comment=failure.sentence)
        else:
            exchange.answer(Status.SUCCESS)


def _note(tx: Transaction, told: Announcement) -> None:
    audit.record(
        tx,
        actor=Actor(f"ae:{told.source}", Role.DEVICE, told.organisation_id or None),
        action="study.announced",
        subject=f"study:{told.study_uid}",
        detail={"instances": len(told.instances), "whole": told.whole},
    )

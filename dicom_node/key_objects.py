"""Key objects: read once, as soon as they have come.

Some are their sender's manifest of a study, others take back what it sent before.

References
----------
DICOM PS3.3 section A.35.4; IHE RAD TF-2, 4.68 (the manifest of imaging information);
TF-3, 4.66 (rejection notes).
"""

from collections.abc import Sequence
from datetime import timedelta

import structlog

from dicom_node import announcements, data_sets, evidence, part10
from dicom_node.announcements import Announcement, Kind
from dicom_node.data_sets import Attributes
from dicom_node.rejection import Rejection, of_key_object
from dicom_node.uids import DEFLATED_LITTLE
from kernel.errors import Corrupt, Refused
from kernel.people import Actor, Role
from storage import audit, rejections
from storage.archive import Archive
from storage.engine import Transaction
from storage.rejections import KeyObject
from storage.work import DueWork

_LEASE = timedelta(minutes=1)
MAX_LENGTH = 16 << 20
"""Bytes of the longest that is read; it lists more than fifty thousand instances."""
_MAX_PARTS = 400_000  # elements, items and values of as many instances

log = structlog.get_logger()


class ManifestReading:
    """Reads the key objects among what arrives."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    def due_work(self) -> Sequence[DueWork]:
        """Return what the relay drives."""
        return [
            DueWork(
                name="dicom_node.read_manifests",
                queue="default",
                due=self.due,
                run=self.read,
                signs=rejections.UNREAD_SIGNS,
            )
        ]

    def due(self, tx: Transaction) -> list[str]:
        """Return the key objects that nobody has read yet."""
        return rejections.unread(tx)

    def read(self, instance_uid: str) -> None:
        """Keep what key objects announce or reject; others say nothing."""
        with self._archive.database.transaction() as tx:
            found = rejections.claim(tx, instance_uid, until=tx.at + _LEASE)
        if found is None or found.read:
            return
        try:
            told, rejection = self._told(instance_uid)
        except (Refused, Corrupt) as refusal:
            told, rejection = (), None
            self._note_unreadable(found, refusal.code)
        with self._archive.database.transaction() as tx:
            reason = None if rejection is None else rejection.reason.value
            named = {} if rejection is None else rejection.instances
            rejections.note_read(tx, instance_uid, reason, named)
            evidence.announce(
                tx,
                Announcement(
                    study_uid=found.study_uid,
                    kind=Kind.MANIFEST,
                    source=instance_uid,
                    organisation_id=found.organisation_id,
                    whole=bool(told),
                    instances=told,
                ),
            )

    def _told(self, instance_uid: str) -> tuple[tuple[str, ...], Rejection | None]:
        told = _decoded(self._archive.read(instance_uid))
        if told is None:
            return (), None
        return announcements.of_manifest(told), of_key_object(told)

    def _note_unreadable(self, found: KeyObject, code: str) -> None:
        """Note what says nothing: it might have been meant to take something back."""
        log.warning("key_objects.unreadable", instance_uid=found.instance_uid, code=code)
        with self._archive.database.transaction() as tx:
            audit.record(
                tx,
                actor=Actor(found.actor, Role.DEVICE, found.organisation_id or None),
                action="key_objects.unreadable",
                subject=f"instance:{found.instance_uid}",
                outcome=audit.Outcome.REFUSED,
                detail={"code": code},
            )


def _decoded(file: bytes) -> Attributes | None:
    found = part10.split(file)
    if len(file) > MAX_LENGTH or found.transfer_syntax_uid == DEFLATED_LITTLE:
        return None
    return data_sets.decode(
        file[found.data_set_offset :], found.transfer_syntax_uid, most=_MAX_PARTS
    )

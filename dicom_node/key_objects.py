"""Key objects that are their sender's manifest of a study: read once, as soon as they have come.

References
----------
DICOM PS3.3 section A.35.4; IHE RAD TF-2, 4.68 (the manifest of imaging information).
"""

from collections.abc import Sequence

import structlog

from dicom_node import announcements, data_sets, evidence, part10, store
from dicom_node.announcements import Announcement, Kind
from dicom_node.uids import DEFLATED_LITTLE
from kernel.errors import Refused
from storage import archive, held
from storage.archive import Archive
from storage.engine import Transaction
from storage.work import DueWork

KEY_OBJECTS = "1.2.840.10008.5.1.4.1.1.88.59"
MAX_LENGTH = 16 << 20
"""Bytes of the longest that is read; it lists more than fifty thousand instances."""

log = structlog.get_logger()


class ManifestReading:
    """Reads the manifests among what arrives."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    def due_work(self) -> Sequence[DueWork]:
        """Return what the relay drives."""
        return [
            DueWork(name="dicom_node.read_manifests", queue="default", due=self.due, run=self.read)
        ]

    def due(self, tx: Transaction) -> list[str]:
        """Return the key objects of arriving studies that nobody has read yet."""
        studies = [study.study_uid for study in archive.unsettled(tx, arrived_before=tx.at)]
        came = held.of_class(tx, KEY_OBJECTS, studies) if studies else {}
        return sorted(came.keys() - evidence.manifests_read(tx, list(came))) if came else []

    def read(self, instance_uid: str) -> None:
        """Keep what key objects announce; what is no manifest announces nothing."""
        told = self._announced(instance_uid)
        with self._archive.database.transaction() as tx:
            found = held.of_instance(tx, instance_uid)
            if found is None:
                return
            study_uid, ae_title = found
            sender = store.find_peer(tx, ae_title)
            evidence.announce(
                tx,
                Announcement(
                    study_uid=study_uid,
                    kind=Kind.MANIFEST,
                    source=instance_uid,
                    organisation_id=sender.organisation_id if sender else "",
                    whole=bool(told),
                    instances=told,
                ),
            )

    def _announced(self, instance_uid: str) -> tuple[str, ...]:
        try:
            return _listed(self._archive.read(instance_uid))
        except Refused as refusal:
            log.warning("manifest.unreadable", instance_uid=instance_uid, code=refusal.code)
            return ()


def _listed(file: bytes) -> tuple[str, ...]:
    found = part10.split(file)
    if len(file) > MAX_LENGTH or found.transfer_syntax_uid == DEFLATED_LITTLE:
        return ()
    data = file[found.data_set_offset :]
    return announcements.of_manifest(data_sets.decode(data, found.transfer_syntax_uid))

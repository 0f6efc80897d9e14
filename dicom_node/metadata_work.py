"""The metadata of a study prepared once it is complete, so that the first to ask need not wait."""

from collections.abc import Sequence
from datetime import timedelta

import structlog

from dicom_node import store
from kernel.errors import EngineError
from storage.archive import Archive
from storage.work import DueWork

LEASE = timedelta(minutes=2)
"""After so long another may try: whoever had it was killed, or could not read the study yet."""

MAX_ATTEMPTS = 20
"""Whoever asks later has them made then, so giving up loses time and nothing else."""

log = structlog.get_logger()


class MetadataWork:
    """Prepares the metadata of studies that are complete."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    def due_work(self) -> Sequence[DueWork]:
        """Return what the relay drives."""
        return [
            DueWork(
                name="dicom_node.prepare_metadata",
                queue="default",
                due=store.metadata_due,
                run=self.prepare,
                can_wait=True,
                signs=store.METADATA_SIGNS,
            )
        ]

    def prepare(self, study_uid: str) -> None:
        """Prepare one study if it is due; done twice, it is done once."""
        from dicom_node.series_metadata import prepare

        database = self._archive.database
        with database.transaction() as tx:
            claimed = store.claim_metadata(tx, study_uid, until=tx.at + LEASE)
        if claimed is None:
            return
        version, attempt = claimed
        try:
            prepare(self._archive, study_uid)
        except EngineError as error:
            log.warning("metadata.not_prepared", attempt=attempt, code=error.code)
            if attempt < MAX_ATTEMPTS:
                return
        with database.transaction() as tx:
            store.end_metadata(tx, study_uid, version)

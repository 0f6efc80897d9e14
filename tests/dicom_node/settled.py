"""Every open study judged, whatever is known of it: what settling is compared with."""

from dicom_node.completeness import WaitUntil
from dicom_node.tasks import Settling
from dicom_node.verdicts import verdict_of
from storage import archive
from storage.engine import Transaction


def waited_for(settling: Settling, tx: Transaction) -> list[tuple[str, WaitUntil]]:
    """Return the studies that are waited for, and why."""
    return [
        (study.study_uid, verdict)
        for study in archive.unsettled(tx, arrived_before=tx.at)
        if isinstance(verdict := verdict_of(tx, study, settling._policy), WaitUntil)
    ]

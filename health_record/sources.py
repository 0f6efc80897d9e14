"""Where the evidence of a document is asked for: one floor down, and in storage."""

from health_record.delivery import Delivery
from health_record.evidence import Evidence
from reporting import sealed
from storage import archive, patients
from storage.engine import Transaction


def collect(tx: Transaction, delivery: Delivery) -> Evidence:
    """Gather the evidence of a delivery: document version → manifest version → instances."""
    document = sealed(tx, delivery.report_id, delivery.report_version)
    return Evidence(
        sealed=document,
        patient=patients.get(tx, document.patient_ref),
        manifest=archive.manifest(tx, document.study_uid, document.manifest_version),
    )

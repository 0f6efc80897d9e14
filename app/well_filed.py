"""What leaves of a signed report: nothing while its study is another patient's."""

import worklist
from health_record import sources
from health_record.delivery import Delivery
from health_record.errors import StudyMisfiled
from health_record.evidence import Evidence
from storage.engine import Transaction


def collect(tx: Transaction, delivery: Delivery) -> Evidence:
    """Gather the evidence of a delivery.

    Raises
    ------
    StudyMisfiled
        By a correction in force the images are not of the patient whom the report names.
    """
    if worklist.get_case(tx, delivery.case_id).misfiled_by is not None:
        raise StudyMisfiled(
            "the study was found to be another patient's: what was signed of it goes nowhere",
            case_id=delivery.case_id,
        )
    return sources.collect(tx, delivery)

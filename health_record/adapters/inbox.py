"""The inbox of the requesting organisation: a destination inside our own database.

The notice is how the requester is given access and told so (KZ §21).  It stands in the same
transaction as the state of its delivery, so there is nothing to send and nothing to double.
"""

from health_record import store
from health_record.delivery import Delivery
from health_record.notice import Notice, notice_id
from health_record.port import Receipt
from storage.engine import Transaction


def leave_notice(tx: Transaction, delivery: Delivery, organisation_id: str) -> Receipt:
    """Put one notice of the report version into the organisation's inbox."""
    notice = Notice(
        id=notice_id(organisation_id, delivery.report_id, delivery.report_version),
        organisation_id=organisation_id,
        case_id=delivery.case_id,
        report_id=delivery.report_id,
        report_version=delivery.report_version,
        created_at=tx.at,
    )
    store.add_notice(tx, notice)
    return Receipt(f"notice:{notice.id}")

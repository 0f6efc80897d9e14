"""What an attempt leaves behind: the fact for the others, the audit row, the log line."""

import structlog

from health_record.delivery import Delivery, DeliveryState
from kernel.facts import DocumentFiled, Fact, FilingRejected, RequesterNotified
from kernel.people import ENGINE
from storage import audit
from storage.engine import Transaction

REQUESTER = "requester"

_log = structlog.get_logger(__name__)


def success(tx: Transaction, delivery: Delivery) -> Fact:
    """Return the fact that a delivery arrived: filed in a record, or told to the requester."""
    assert delivery.receipt is not None
    if delivery.destination == REQUESTER:
        return RequesterNotified(
            subject=delivery.case_id,
            at=tx.at,
            actor=ENGINE.ref,
            cause=delivery.cause,
            case_id=delivery.case_id,
            delivery_id=delivery.id,
            report_id=delivery.report_id,
            report_version=delivery.report_version,
            receipt=delivery.receipt,
        )
    return DocumentFiled(
        subject=delivery.case_id,
        at=tx.at,
        actor=ENGINE.ref,
        cause=delivery.cause,
        case_id=delivery.case_id,
        delivery_id=delivery.id,
        destination=delivery.destination,
        report_id=delivery.report_id,
        report_version=delivery.report_version,
        receipt=delivery.receipt,
    )


def rejection(tx: Transaction, delivery: Delivery, code: str) -> Fact:
    """Return the fact that a destination refused the document for good."""
    return FilingRejected(
        subject=delivery.case_id,
        at=tx.at,
        actor=ENGINE.ref,
        cause=delivery.cause,
        case_id=delivery.case_id,
        delivery_id=delivery.id,
        destination=delivery.destination,
        code=code,
    )


def record(tx: Transaction, delivery: Delivery, action: str) -> None:
    """Write the audit row: codes and ids; a destination's sentence could name a patient."""
    failed = delivery.state in (DeliveryState.REJECTED, DeliveryState.PARKED)
    audit.record(
        tx,
        actor=ENGINE,
        action=action,
        subject=delivery.id,
        case_id=delivery.case_id,
        outcome=audit.Outcome.FAILED if failed else audit.Outcome.SUCCESS,
        detail={
            "destination": delivery.destination,
            "report_version": delivery.report_version,
            "attempt": delivery.attempts,
            "code": delivery.refusal.code if delivery.refusal else None,
            "receipt": delivery.receipt,
            "document_sha256": delivery.prepared.sha256 if delivery.prepared else None,
        },
    )


def log(delivery: Delivery, action: str) -> None:
    """Write the log line: ids and codes only."""
    _log.info(
        action,
        delivery_id=delivery.id,
        case_id=delivery.case_id,
        destination=delivery.destination,
        attempt=delivery.attempts,
        code=delivery.refusal.code if delivery.refusal else None,
    )

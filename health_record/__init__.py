"""Delivering signed documents outward, keeping receipts, telling the requester (KZ §21, §37)."""

from health_record.commands import list_deliveries, mark_seen, notices_for, replay, schedule
from health_record.delivery import Delivery, DeliveryState, Refusal, RetryPolicy
from health_record.identifiers import Naming
from health_record.notice import Notice
from health_record.port import Form, OutgoingDocument, Receipt, RecordAdapter, Rejected

__all__ = [
    "Delivery",
    "DeliveryState",
    "Form",
    "Naming",
    "Notice",
    "OutgoingDocument",
    "Receipt",
    "RecordAdapter",
    "Refusal",
    "Rejected",
    "RetryPolicy",
    "list_deliveries",
    "mark_seen",
    "notices_for",
    "replay",
    "schedule",
]

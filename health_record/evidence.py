"""What a document is made from: the sealed report, its patient, and the study it was read from."""

from collections.abc import Callable
from dataclasses import dataclass

from health_record.delivery import Delivery
from reporting import SealedDocument
from storage.archive import Manifest
from storage.engine import Transaction
from storage.patients import Patient


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything durable that one document is built from."""

    sealed: SealedDocument
    patient: Patient
    manifest: Manifest


Collect = Callable[[Transaction, Delivery], Evidence]

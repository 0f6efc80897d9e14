"""What a destination outside must be able to do, and what travels to it."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from health_record.identifiers import Identifier


class Form(StrEnum):
    """How a signed report can leave: as one of two FHIR R4 Bundles, or as DICOM objects."""

    DOCUMENT = "document"
    TRANSACTION = "transaction"
    DICOM = "dicom"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingDocument:
    """The exact bytes that leave for one destination, and what is needed to recognise them.

    `body` is a FHIR Bundle in the form that the adapter asked for, or the PDF as a DICOM object,
    with `sr` as the structured report beside it; `report` is the identifier under which a record
    can be asked whether it holds the report.
    """

    delivery_id: str
    destination: str
    case_id: str
    report_id: str
    report_version: int
    form: Form
    body: bytes
    body_sha256: str
    pdf: bytes
    pdf_sha256: str
    report: Identifier
    sr: bytes = b""


@dataclass(frozen=True, slots=True)
class Receipt:
    """The destination has the document durably; `reference` is where it can be found there."""

    reference: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """The destination judged the document and refused it; the same bytes change nothing."""

    code: str
    sentence: str


class RecordAdapter(Protocol):
    """One kind of health record.

    Every implementation passes ``tests/contracts/test_record_adapters.py``.
    """

    form: Form

    def submit(self, document: OutgoingDocument) -> Receipt | Rejected:
        """Bring a document to the record and make sure that it is there.

        Idempotent: the same document again gives the same receipt and leaves no second copy,
        also when two workers submit it at once.

        Raises
        ------
        Transient
            Nothing is known of the outcome, or the record is not to be reached now.
        """

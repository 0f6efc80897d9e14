"""What the floors above may ask about reports."""

from reporting import store
from reporting.document import SealedDocument
from reporting.errors import ReportUnknown
from reporting.report import Report, Version
from storage.engine import Transaction


def sealed(tx: Transaction, report_id: str, version: int) -> SealedDocument:
    """Return the sealed document of a version.

    Raises
    ------
    ReportUnknown
        There is no such version, or it is not sealed.
    """
    document = store.sealed(tx, report_id, version)
    if document is None:
        raise ReportUnknown(
            f"the report has no sealed version {version}", report_id=report_id, version=version
        )
    return document


def report_for_case(tx: Transaction, case_id: str, author: str | None = None) -> Report | None:
    """Return the report of a case, None if none was begun.

    An unsigned text is for its author's eyes: name the `author` to get theirs.  Without, the
    signed report is meant, or else the one that was touched last.
    """
    if author is not None:
        return store.find(tx, case_id=case_id, author=author)
    reports = store.of_case(tx, case_id)
    return next((report for report in reports if report.sealed), reports[0] if reports else None)


def sealed_for_case(tx: Transaction, case_id: str) -> list[SealedDocument]:
    """Return every sealed document of a case, oldest first."""
    documents = [
        sealed(tx, report.id, version.number)
        for report in store.of_case(tx, case_id)
        for version in report.sealed
    ]
    return sorted(documents, key=lambda document: (document.signed_at, document.version))


def versions_of(tx: Transaction, report_id: str) -> tuple[Version, ...]:
    """Return all versions of a report, oldest first.

    Raises
    ------
    ReportUnknown
        There is no such report.
    """
    return store.get(tx, report_id).versions

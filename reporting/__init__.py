"""Reports: written, finalised, sealed with their author's signature.

This face is names and types; what renders and signs is imported where it is wired
(`reporting.sign.Signing`, `reporting.commands`, `reporting.inspection.verify_all`).
"""

from reporting.document import SealedDocument
from reporting.errors import (
    AlreadySealed,
    DraftConflict,
    NewerVersionExists,
    NotTheAuthor,
    ReportMoveRefused,
    ReportUnknown,
    SealBroken,
    SectionRefused,
    SigningRefused,
)
from reporting.questions import report_for_case, sealed, sealed_for_case, versions_of
from reporting.report import Report, Version, VersionKind, VersionState
from reporting.sections import WRITTEN, Section

__all__ = [
    "WRITTEN",
    "AlreadySealed",
    "DraftConflict",
    "NewerVersionExists",
    "NotTheAuthor",
    "Report",
    "ReportMoveRefused",
    "ReportUnknown",
    "SealBroken",
    "SealedDocument",
    "Section",
    "SectionRefused",
    "SigningRefused",
    "Version",
    "VersionKind",
    "VersionState",
    "report_for_case",
    "sealed",
    "sealed_for_case",
    "versions_of",
]

"""What a requesting organisation is told: that a conclusion is there to be read (KZ §21)."""

from dataclasses import dataclass
from datetime import datetime

from kernel.ids import derived


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One notice in the inbox of an organisation: ids only, never a name."""

    id: str
    organisation_id: str
    case_id: str
    report_id: str
    report_version: int
    created_at: datetime
    seen_at: datetime | None = None
    seen_by: str | None = None


def notice_id(organisation_id: str, report_id: str, report_version: int) -> str:
    """Return the id that this notice always has, so that telling twice makes one."""
    return derived("notice", organisation_id, report_id, report_version)

"""Deliveries of signed documents, and the notices in the inboxes of requesting organisations."""

from sqlalchemy import CheckConstraint, Column, Index, Integer, String, Table, UniqueConstraint

from storage.tables import METADATA, UtcDateTime

DELIVERIES = Table(
    "deliveries",
    METADATA,
    Column("id", String(36), primary_key=True, comment="derived from report, version, destination"),
    Column("case_id", String(64), nullable=False),
    Column("request_id", String(64), nullable=False),
    Column("report_id", String(36), nullable=False),
    Column("report_version", Integer, nullable=False),
    Column("document_digest", String(64), nullable=False, comment="as the signature's fact says"),
    Column("destination", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False, comment="since the start or the last replay"),
    Column("since", UtcDateTime, nullable=False, comment="the horizon runs from here"),
    Column("moved_at", UtcDateTime, nullable=False),
    Column(
        "next_at", UtcDateTime, nullable=True, comment="next attempt or end of lease; null at rest"
    ),
    Column("lease", String(36), nullable=True, comment="token of the worker that holds it"),
    Column("prepared_key", String(200), nullable=True, comment="object key of the exact bytes"),
    Column("prepared_sha256", String(64), nullable=True),
    Column("refusal_code", String(80), nullable=True),
    Column("refusal", String(500), nullable=True, comment="a sentence for a person"),
    Column("receipt", String(400), nullable=True),
    Column("cause", String(36), nullable=True, comment="the fact that asked for it"),
    UniqueConstraint("report_id", "report_version", "destination"),
    CheckConstraint(
        "state IN ('pending', 'attempting', 'filed', 'rejected', 'parked')", name="state"
    ),
    CheckConstraint("(state = 'filed') = (receipt IS NOT NULL)", name="filed_has_receipt"),
    CheckConstraint(
        "(state IN ('pending', 'attempting')) = (next_at IS NOT NULL)", name="open_has_next_at"
    ),
    Index("ix_deliveries_due", "destination", "state", "next_at"),
    Index("ix_deliveries_state", "state", "moved_at"),
    Index("ix_deliveries_case_id", "case_id"),
)

NOTICES = Table(
    "notices",
    METADATA,
    Column("id", String(36), primary_key=True, comment="derived: telling twice makes one"),
    Column("organisation_id", String(64), nullable=False),
    Column("case_id", String(64), nullable=False),
    Column("report_id", String(36), nullable=False),
    Column("report_version", Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("seen_at", UtcDateTime, nullable=True),
    Column("seen_by", String(120), nullable=True, comment="reference of the person, not a name"),
    Index("ix_notices_inbox", "organisation_id", "seen_at", "created_at"),
    Index("ix_notices_case_id", "case_id"),
)

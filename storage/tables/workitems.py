"""Tables of the workitems: what they say, who sees them, who is told, and what waits to be told."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    text,
)

from storage.tables import METADATA, JsonValue, UtcDateTime

_Sequence = BigInteger().with_variant(Integer(), "sqlite")

WORKITEMS = Table(
    "workitems",
    METADATA,
    Column("uid", String(64), primary_key=True),
    Column("state", String(16), nullable=False),
    Column("transaction_uid", String(64), nullable=False, comment="of who performs it; secret"),
    Column("organisation_id", String(64), nullable=True, comment="of who created it"),
    Column("case_id", String(64), nullable=True, comment="where it stands for a claim"),
    Column("patient_ref", String(36), nullable=True, comment="whom it is about, as it was told"),
    Column("attributes", JsonValue, nullable=False, comment="in the DICOM JSON model"),
    Column("revision", Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("changed_at", UtcDateTime, nullable=False),
    Index("ix_workitems_state_uid", "state", "uid"),
    Index("ix_workitems_case_id", "case_id"),
)

WORKITEM_VIEWS = Table(
    "workitem_views",
    METADATA,
    Column("organisation_id", String(64), primary_key=True),
    Column("uid", String(64), ForeignKey("workitems.uid"), primary_key=True),
)

SUBSCRIBERS = Table(
    "workitem_subscribers",
    METADATA,
    Column("id", String(24), primary_key=True, comment="ae:TITLE or web:TITLE"),
    Column("owner", String(128), nullable=False, comment="who opened it, and may change it"),
    Column("organisation_id", String(64), nullable=True),
    Column("sees_all", Boolean, nullable=False),
    Column("breadth", String(8), nullable=False, comment="of new ones: none, all, filtered"),
    Column("lock", Boolean, nullable=False, comment="of new ones"),
    Column("filter", JsonValue, nullable=True),
    Column("attempts", Integer, nullable=False),
    Column("since", UtcDateTime, nullable=False),
    Column("due_at", UtcDateTime, nullable=True, comment="of the next attempt; null: nothing"),
    Column("channel", String(36), nullable=True, comment="the connection that is told, of web"),
    Index(
        "ix_workitem_subscribers_due_at",
        "due_at",
        sqlite_where=text("due_at IS NOT NULL"),
        postgresql_where=text("due_at IS NOT NULL"),
    ),
)

SUBSCRIPTIONS = Table(
    "workitem_subscriptions",
    METADATA,
    Column("uid", String(64), ForeignKey("workitems.uid"), primary_key=True),
    Column("subscriber_id", String(24), ForeignKey("workitem_subscribers.id"), primary_key=True),
    Column("lock", Boolean, nullable=False, comment="keeps the workitem from being deleted"),
    Index("ix_workitem_subscriptions_subscriber_id", "subscriber_id"),
)

REPORTS = Table(
    "workitem_reports",
    METADATA,
    Column("seq", _Sequence, primary_key=True, autoincrement=True),
    Column("subscriber_id", String(24), nullable=False),
    Column("uid", String(64), nullable=False),
    Column("event_type", Integer, nullable=False),
    Column("information", JsonValue, nullable=False),
    Column("state", String(8), nullable=False, comment="waits, told"),
    Column("at", UtcDateTime, nullable=False),
    Column("told_at", UtcDateTime, nullable=True),
    Index("ix_workitem_reports_subscriber_id_seq", "subscriber_id", "seq"),
    Index("ix_workitem_reports_at", "at"),
    sqlite_autoincrement=True,
)

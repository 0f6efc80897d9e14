"""What was taken out of sight and why, what may not be, and objects whose turn to go has come."""

from sqlalchemy import Column, Index, Integer, String, Table, text

from storage.tables import METADATA, UtcDateTime

WITHDRAWALS = Table(
    "withdrawals",
    METADATA,
    Column("number", Integer, primary_key=True),
    Column("study_uid", String(64), nullable=False),
    Column("series_uid", String(64), nullable=True, comment="null: the whole study"),
    Column("instance_uid", String(64), nullable=True, comment="null: a whole series or more"),
    Column("instances", Integer, nullable=False, comment="that it took out of sight"),
    Column("reason", String(16), nullable=False, comment="code value, scheme DCM"),
    Column("actor", String(80), nullable=False),
    Column("withdrawn_at", UtcDateTime, nullable=False),
    Column("purge_at", UtcDateTime, nullable=False, comment="not before, and later while refused"),
    Column("restored_at", UtcDateTime, nullable=True),
    Column("restored_by", String(80), nullable=True),
    Column("purged_at", UtcDateTime, nullable=True, comment="its bytes are gone from all packs"),
    Index("ix_withdrawals_study_uid", "study_uid"),
    Index(
        "ix_withdrawals_purge_at",
        "purge_at",
        sqlite_where=text("purged_at IS NULL AND restored_at IS NULL"),
        postgresql_where=text("purged_at IS NULL AND restored_at IS NULL"),
    ),
    sqlite_autoincrement=True,
)

HOLDS = Table(
    "legal_holds",
    METADATA,
    Column("number", Integer, primary_key=True),
    Column("study_uid", String(64), nullable=False),
    Column("reason", String(300), nullable=False),
    Column("placed_by", String(80), nullable=False),
    Column("placed_at", UtcDateTime, nullable=False),
    Column("released_at", UtcDateTime, nullable=True),
    Column("released_by", String(80), nullable=True),
    Column("released_reason", String(300), nullable=True),
    Index(
        "uq_legal_holds_in_force",
        "study_uid",
        unique=True,
        sqlite_where=text("released_at IS NULL"),
        postgresql_where=text("released_at IS NULL"),
    ),
)

REMOVALS = Table(
    "removals",
    METADATA,
    Column("object_key", String(200), primary_key=True),
    Column("due_at", UtcDateTime, nullable=False),
    Index("ix_removals_due_at", "due_at"),
)

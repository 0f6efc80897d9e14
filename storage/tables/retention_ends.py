"""Studies that are as old as retention can be short, and what became of each."""

from sqlalchemy import Column, Index, Integer, String, Table, text

from storage.tables import METADATA, UtcDateTime

RETENTION_ENDS = Table(
    "retention_ends",
    METADATA,
    Column("study_uid", String(64), primary_key=True),
    Column("first_arrival_at", UtcDateTime, nullable=False, comment="of the study"),
    Column(
        "state",
        String(12),
        nullable=False,
        comment="kept, proposed, held_back, prolonged, restored, over",
    ),
    Column("code", String(60), nullable=False, comment="constant, of the sentence"),
    Column("sentence", String(300), nullable=False, comment="what keeps it"),
    Column("owner", String(64), nullable=False, comment="the organisation that sent it"),
    Column("modalities", String(64), nullable=False, comment="with slashes"),
    Column("kept_until", UtcDateTime, nullable=False),
    Column("proposed_at", UtcDateTime, nullable=True, comment="when it was first found over"),
    Column("due_at", UtcDateTime, nullable=False, comment="of the next look"),
    Column("withdrawal", Integer, nullable=True, comment="the number it led to"),
    Column("decided_by", String(80), nullable=True),
    Column("decided_at", UtcDateTime, nullable=True),
    Column("decided_reason", String(300), nullable=True),
    Index("ix_retention_ends_first_arrival_at", "first_arrival_at"),
    Index("ix_retention_ends_due_at", "due_at"),
    Index(
        "ix_retention_ends_kept_until",
        "kept_until",
        sqlite_where=text("state IN ('proposed', 'held_back', 'restored')"),
        postgresql_where=text("state IN ('proposed', 'held_back', 'restored')"),
    ),
)

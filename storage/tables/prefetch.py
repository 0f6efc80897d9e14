"""Earlier studies whose packs are to be at hand when a case is read."""

from sqlalchemy import Column, Index, Integer, String, Table

from storage.tables import METADATA, UtcDateTime

PREFETCHES = Table(
    "prefetches",
    METADATA,
    Column("study_uid", String(64), primary_key=True),
    Column("attempts", Integer, nullable=False),
    Column("due_at", UtcDateTime, nullable=False),
    Index("ix_prefetches_due_at", "due_at"),
)

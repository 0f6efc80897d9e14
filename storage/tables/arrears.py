"""What an earlier version did not write down and is read from the stored headers again."""

from sqlalchemy import Column, Index, Integer, String, Table, text

from storage.tables import METADATA, UtcDateTime

ARREARS = Table(
    "arrears",
    METADATA,
    Column("id", String(160), primary_key=True, comment="study:UID or arrival:SEGMENT:OFFSET"),
    Column(
        "after",
        String(64),
        nullable=False,
        server_default=text("''"),
        comment="the last instance of the study that was read",
    ),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("due_at", UtcDateTime, nullable=False),
    Index("ix_arrears_due_at", "due_at"),
)

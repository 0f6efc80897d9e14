"""Rejection notes: key objects by which a sender takes back instances, and what it names."""

from sqlalchemy import Boolean, Column, Index, Integer, String, Table, text

from storage.tables import METADATA, UtcDateTime

KEY_OBJECTS = Table(
    "key_objects",
    METADATA,
    Column("instance_uid", String(64), primary_key=True),
    Column("study_uid", String(64), nullable=False),
    Column("actor", String(80), nullable=False, comment="who sent it, as the audit chain says"),
    Column("organisation_id", String(64), nullable=False, comment="of who sent it; may be empty"),
    Column("reason", String(16), nullable=True, comment="code value, scheme DCM; null: no note"),
    Column("code", String(60), nullable=False, comment="of what refused it last; may be empty"),
    Column("sentence", String(300), nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
    Column("read", Boolean, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("due_at", UtcDateTime, nullable=True, comment="to be read or applied; null: done"),
    Index(
        "ix_key_objects_due_at",
        "due_at",
        sqlite_where=text("due_at IS NOT NULL"),
        postgresql_where=text("due_at IS NOT NULL"),
    ),
    Index(
        "ix_key_objects_refused",
        "received_at",
        sqlite_where=text("code <> ''"),
        postgresql_where=text("code <> ''"),
    ),
)

REJECTED_INSTANCES = Table(
    "rejected_instances",
    METADATA,
    Column("note_uid", String(64), primary_key=True),
    Column("instance_uid", String(64), primary_key=True),
    Column("study_uid", String(64), nullable=False, comment="that the note says"),
    Column("state", String(12), nullable=False, comment="waiting, withdrawn, refused, shown"),
    Index("ix_rejected_instances_study_uid", "study_uid", "state"),
    Index(
        "ix_rejected_instances_shown",
        "note_uid",
        sqlite_where=text("state = 'shown'"),
        postgresql_where=text("state = 'shown'"),
    ),
)

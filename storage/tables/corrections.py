"""Corrections of patients and studies, with those that were withdrawn."""

from sqlalchemy import Column, Index, Integer, String, Table

from storage.tables import METADATA, JsonValue, UtcDateTime

CORRECTIONS = Table(
    "corrections",
    METADATA,
    Column("number", Integer, primary_key=True),
    Column("kind", String(20), nullable=False),
    Column("subject", String(64), nullable=False, comment="patient reference or study UID"),
    Column("target", String(64), nullable=False, comment="patient reference, accession number"),
    Column("values", JsonValue, nullable=False, comment="demographics that are right"),
    Column("reason", String(300), nullable=False),
    Column("actor", String(80), nullable=False),
    Column("made_at", UtcDateTime, nullable=False),
    Column("withdrawn_at", UtcDateTime, nullable=True),
    Column("withdrawn_by", String(80), nullable=True),
    Column("withdrawn_reason", String(300), nullable=True),
    Index("ix_corrections_subject", "subject"),
    Index("ix_corrections_target", "target"),
)

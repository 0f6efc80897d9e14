"""Reports, their versions, and the sealed documents made from them."""

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    String,
    Table,
    UniqueConstraint,
)

from storage.tables import METADATA, JsonValue, UtcDateTime

REPORTS = Table(
    "reports",
    METADATA,
    Column("id", String(36), primary_key=True),
    Column("case_id", String(64), nullable=False),
    Column("author", String(64), nullable=False, comment="reader; one report a case and author"),
    Column("revision", Integer, nullable=False, comment="grows with each change of any version"),
    Column("subject", JsonValue, nullable=False, comment="what it is about, settled at its start"),
    Column("begun_at", UtcDateTime, nullable=False),
    Column("moved_at", UtcDateTime, nullable=False),
    UniqueConstraint("case_id", "author"),
)

REPORT_VERSIONS = Table(
    "report_versions",
    METADATA,
    Column("report_id", String(36), ForeignKey("reports.id"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("sections", JsonValue, nullable=False, comment="[code, scheme, meaning, text] in order"),
    Column("content", JsonValue, nullable=True, comment="what is signed, frozen when finalised"),
    Column("content_digest", String(64), nullable=True, comment="SHA-256 of its canonical form"),
    Column("moved_at", UtcDateTime, nullable=False),
    CheckConstraint("state IN ('draft', 'finalised', 'superseded', 'sealed')", name="state"),
    CheckConstraint("kind IN ('original', 'addendum')", name="kind"),
    CheckConstraint(
        "(state = 'draft') = (content_digest IS NULL)", name="content_frozen_when_finalised"
    ),
)

SEALED_DOCUMENTS = Table(
    "sealed_documents",
    METADATA,
    Column("report_id", String(36), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("case_id", String(64), nullable=False),
    Column("pdf_key", String(200), nullable=False),
    Column("pdf_sha256", String(64), nullable=False),
    Column("sr_key", String(200), nullable=False),
    Column("sr_sha256", String(64), nullable=False),
    Column("sr_series_uid", String(64), nullable=False),
    Column("sr_instance_uid", String(64), nullable=False),
    Column("signer_subject", String(500), nullable=False, comment="as the certificate names them"),
    Column("demo_signature", Boolean, nullable=False, comment="by a demo authority: not qualified"),
    Column("signed_at", UtcDateTime, nullable=False),
    ForeignKeyConstraint(
        ["report_id", "number"], ["report_versions.report_id", "report_versions.number"]
    ),
    Index("ix_sealed_documents_case_id", "case_id"),
)

"""The audit chain: append-only rows, each holding the hash of the one before."""

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table

from storage.tables import METADATA, JsonValue, UtcDateTime

_BigKey = BigInteger().with_variant(Integer(), "sqlite")

AUDIT = Table(
    "audit",
    METADATA,
    Column("seq", _BigKey, primary_key=True, autoincrement=False),
    Column("at", UtcDateTime, nullable=False),
    Column("actor", String(80), nullable=False),
    Column("role", String(20), nullable=False),
    Column("organisation", String(64), nullable=True),
    Column("action", String(60), nullable=False),
    Column("subject", String(120), nullable=False),
    Column("case_id", String(36), nullable=True),
    Column("outcome", String(20), nullable=False),
    Column("detail", JsonValue, nullable=False),
    Column("previous", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    Index("ix_audit_case_id", "case_id"),
    Index("ix_audit_subject", "subject"),
)

AUDIT_HEAD = Table(
    "audit_head",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False, comment="always 1"),
    Column("seq", _BigKey, nullable=False),
    Column("hash", String(64), nullable=False),
)

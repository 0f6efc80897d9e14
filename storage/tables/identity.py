"""People who sign in, their sessions, failed attempts, and the tokens of machines."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    UniqueConstraint,
)

from storage.tables import METADATA, JsonValue, UtcDateTime

USERS = Table(
    "users",
    METADATA,
    Column("id", String(36), primary_key=True),
    Column("login", String(120), nullable=False, comment="folded to lower case"),
    Column("password_hash", String(200), nullable=False, comment="argon2id, with its parameters"),
    Column("name", String(200), nullable=False),
    Column("roles", JsonValue, nullable=False),
    Column("organisation_id", String(64), nullable=True),
    Column("reader_id", String(64), nullable=True, comment="the consultant this person is"),
    Column("patient_ref", String(36), nullable=True, comment="the patient this person is"),
    Column("active", Boolean, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    UniqueConstraint("login"),
    Index("ix_users_reader_id", "reader_id"),
)

SESSIONS = Table(
    "sessions",
    METADATA,
    Column("token_sha256", String(64), primary_key=True, comment="the token itself is not kept"),
    Column("user_id", String(36), ForeignKey("users.id"), nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("seen_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Index("ix_sessions_user_id", "user_id"),
    Index("ix_sessions_expires_at", "expires_at"),
)

SIGN_IN_FAILURES = Table(
    "sign_in_failures",
    METADATA,
    Column(
        "seq", BigInteger().with_variant(Integer(), "sqlite"), primary_key=True, autoincrement=True
    ),
    Column("login_sha256", String(64), nullable=False, comment="people type passwords here too"),
    Column("source", String(64), nullable=False, comment="network address"),
    Column("at", UtcDateTime, nullable=False),
    Index("ix_sign_in_failures_login_sha256", "login_sha256", "at"),
    Index("ix_sign_in_failures_source", "source", "at"),
    Index("ix_sign_in_failures_at", "at"),
)

API_TOKENS = Table(
    "api_tokens",
    METADATA,
    Column("id", String(36), primary_key=True),
    Column("name", String(120), nullable=False),
    Column("token_sha256", String(64), nullable=False),
    Column("scopes", JsonValue, nullable=False),
    Column("organisation_id", String(64), nullable=True, comment="whose view it has; null is all"),
    Column("created_at", UtcDateTime, nullable=False),
    Column("revoked_at", UtcDateTime, nullable=True),
    UniqueConstraint("token_sha256"),
)

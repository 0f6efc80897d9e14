"""Facts, who still has to hear them, and who heard them."""

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
    text,
)

from storage.tables import METADATA, JsonValue, UtcDateTime

_BigKey = BigInteger().with_variant(Integer(), "sqlite")

FACTS = Table(
    "facts",
    METADATA,
    Column("seq", _BigKey, primary_key=True, autoincrement=True),
    Column("id", String(36), nullable=False),
    Column("kind", String(40), nullable=False),
    Column("version", Integer, nullable=False),
    Column("subject", String(64), nullable=False, comment="ordering key"),
    Column("at", UtcDateTime, nullable=False),
    Column("actor", String(80), nullable=False),
    Column("cause", String(36), nullable=True, comment="the fact that led to this one"),
    Column("body", JsonValue, nullable=False),
    Column("fanned_out", Boolean, nullable=False, comment="one row a consumer was written"),
    UniqueConstraint("id"),
    Index("ix_facts_subject", "subject"),
    # Only the few rows the relay still has to fan out are in this index.
    Index(
        "ix_facts_waiting",
        "seq",
        sqlite_where=text("fanned_out = 0"),
        postgresql_where=text("NOT fanned_out"),
    ),
)

TELLINGS = Table(
    "tellings",
    METADATA,
    Column("fact_seq", _BigKey, ForeignKey("facts.seq"), primary_key=True),
    Column("consumer", String(60), primary_key=True),
    Column("subject", String(64), nullable=False),
    Column("state", String(8), nullable=False, comment="due, done, parked"),
    Column("attempts", Integer, nullable=False),
    Column("next_at", UtcDateTime, nullable=False),
    Column("leased_until", UtcDateTime, nullable=True),
    Column("refusal_code", String(60), nullable=True),
    Column("refusal", String(500), nullable=True),
    Column("moved_at", UtcDateTime, nullable=False),
    Index(
        "ix_tellings_open",
        "consumer",
        "subject",
        "fact_seq",
        sqlite_where=text("state <> 'done'"),
        postgresql_where=text("state <> 'done'"),
    ),
    Index(
        "ix_tellings_due",
        "next_at",
        sqlite_where=text("state = 'due'"),
        postgresql_where=text("state = 'due'"),
    ),
)

REACTED = Table(
    "reacted",
    METADATA,
    Column("consumer", String(60), primary_key=True),
    Column("fact_id", String(36), primary_key=True),
    Column("at", UtcDateTime, nullable=False),
)

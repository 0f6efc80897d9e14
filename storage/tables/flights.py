"""Which studies come in just now, by node: what nodes tell each other while they receive."""

from sqlalchemy import Column, Index, String, Table

from storage.tables import METADATA, UtcDateTime

RECEIVERS = Table(
    "receivers",
    METADATA,
    Column("node", String(40), primary_key=True),
    Column("seen_at", UtcDateTime, nullable=False, comment="it lived, and had associations open"),
    Column("brought_at", UtcDateTime, nullable=False, comment="the last instance came"),
)

FLIGHTS = Table(
    "flights",
    METADATA,
    Column("node", String(40), primary_key=True),
    Column("study_uid", String(64), primary_key=True, comment="an open association brought of it"),
    Index("ix_flights_study_uid", "study_uid"),
)
"""They count as long as their receiver is seen: those of a node that was killed expire."""

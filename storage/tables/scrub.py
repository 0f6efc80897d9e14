"""How far each node has re-read what it keeps, and what it found not to be what was stored."""

from sqlalchemy import BigInteger, Column, String, Table

from storage.tables import METADATA, UtcDateTime

SCRUBS = Table(
    "scrubs",
    METADATA,
    Column("node", String(40), primary_key=True),
    Column("position", String(200), nullable=False, comment="the last key that was read"),
    Column("began_at", UtcDateTime, nullable=False, comment="this pass"),
    Column("ended_at", UtcDateTime, nullable=True, comment="the last whole pass"),
    Column("bytes", BigInteger, nullable=False, comment="read in this pass"),
)

DAMAGES = Table(
    "damages",
    METADATA,
    Column("name", String(260), primary_key=True, comment="of a pack or instance"),
    Column("node", String(40), nullable=False),
    Column("sentence", String(300), nullable=False),
    Column("found_at", UtcDateTime, nullable=False),
)

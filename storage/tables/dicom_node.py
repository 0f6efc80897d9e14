"""Tables of the DICOM node: registered peers, scheduled steps."""

from sqlalchemy import CheckConstraint, Column, Index, Integer, String, Table

from storage.tables import METADATA, UtcDateTime

PEERS = Table(
    "peers",
    METADATA,
    Column("ae_title", String(16), primary_key=True),
    Column("host", String(253), nullable=False),
    Column("port", Integer, nullable=False),
    Column("organisation_id", String(64), nullable=False, comment="the site it belongs to"),
    Column("issuer", String(64), nullable=False, comment="of patient ids sent without one"),
    Column("character_set", String(32), nullable=False, comment="where (0008,0005) is absent"),
    Column("added_at", UtcDateTime, nullable=False),
    CheckConstraint("port BETWEEN 1 AND 65535", name="port_is_one"),
)

SCHEDULED_STEPS = Table(
    "scheduled_steps",
    METADATA,
    Column("request_id", String(64), primary_key=True),
    Column("organisation_id", String(64), nullable=False),
    Column("patient_ref", String(36), nullable=False),
    Column("accession", String(64), nullable=False),
    Column("study_uid", String(64), nullable=True),
    Column("modality", String(16), nullable=False),
    Column("station_ae_title", String(16), nullable=False),
    Column("procedure", String(200), nullable=False),
    Column("scheduled_at", UtcDateTime, nullable=True),
    Column("profile", String(64), nullable=True),
    Column("form", String(32), nullable=False),
    Column("state", String(32), nullable=False, comment="of the request, as last told"),
    Column("changed_at", UtcDateTime, nullable=False),
    Index("ix_scheduled_steps_accession", "accession"),
    Index("ix_scheduled_steps_study_uid", "study_uid"),
    Index("ix_scheduled_steps_scheduled_at", "scheduled_at"),
)

"""What speaks for a study being whole: performed steps, what senders announced, learnt pauses."""

from sqlalchemy import Boolean, Column, ForeignKey, Index, Integer, String, Table

from storage.tables import METADATA, JsonValue, UtcDateTime

UID = String(64)

PERFORMED_STEPS = Table(
    "performed_steps",
    METADATA,
    Column("uid", UID, primary_key=True, comment="SOP Instance UID of the MPPS"),
    Column("ae_title", String(16), nullable=False, comment="who created it"),
    Column("organisation_id", String(64), nullable=False, comment="whose devices may change it"),
    Column("state", String(12), nullable=False, comment="IN PROGRESS, COMPLETED, DISCONTINUED"),
    Column("digest", String(64), nullable=False, comment="of what created it"),
    Column("body", JsonValue, nullable=False, comment="its attributes by tag"),
    Column("created_at", UtcDateTime, nullable=False),
    Column("changed_at", UtcDateTime, nullable=False),
)

PERFORMED_STUDIES = Table(
    "performed_studies",
    METADATA,
    Column("step_uid", UID, ForeignKey("performed_steps.uid"), primary_key=True),
    Column("study_uid", UID, primary_key=True),
    Column("accession", String(64), primary_key=True),
    Index("ix_performed_studies_study_uid", "study_uid"),
    Index("ix_performed_studies_accession", "accession"),
)

ANNOUNCED = Table(
    "announced",
    METADATA,
    Column("study_uid", UID, primary_key=True),
    Column("kind", String(12), primary_key=True, comment="mpps, notice, commitment, manifest"),
    Column("source", UID, primary_key=True, comment="what told it: a UID, or an AE title"),
    Column("organisation_id", String(64), nullable=False),
    Column("whole", Boolean, nullable=False, comment="the study has no other instances"),
    Column("number", Integer, nullable=False),
    Column("instances", JsonValue, nullable=False, comment="SOP Instance UIDs"),
    Column("told_at", UtcDateTime, nullable=False),
)

PAUSES = Table(
    "pauses",
    METADATA,
    Column("ae_title", String(80), primary_key=True),
    Column("counts", JsonValue, nullable=False, comment="studies by their longest pause"),
    Column("changed_at", UtcDateTime, nullable=False),
)

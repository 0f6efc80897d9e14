"""Priors at peers: who is asked for a patient's earlier studies, and which of them are fetched."""

from sqlalchemy import Column, Index, Integer, String, Table, text

from storage.tables import METADATA, UtcDateTime

PRIOR_SEARCHES = Table(
    "prior_searches",
    METADATA,
    Column("id", String(36), primary_key=True, comment="of patient and peer"),
    Column("patient_ref", String(36), nullable=False),
    Column("ae_title", String(16), nullable=False, comment="who is asked"),
    Column("study_uid", String(64), nullable=False, comment="whose priors are looked for"),
    Column("state", String(12), nullable=False, comment="waiting, coming, done, refused, given_up"),
    Column("code", String(60), nullable=False, comment="constant, of the sentence"),
    Column("sentence", String(300), nullable=False, comment="how it stands and why"),
    Column("attempts", Integer, nullable=False),
    Column("asked_at", UtcDateTime, nullable=False),
    Column("due_at", UtcDateTime, nullable=True, comment="of the next attempt; null when over"),
    Column("ended_at", UtcDateTime, nullable=True),
    Index("ix_prior_searches_patient_ref", "patient_ref"),
    Index(
        "ix_prior_searches_due_at",
        "due_at",
        sqlite_where=text("due_at IS NOT NULL"),
        postgresql_where=text("due_at IS NOT NULL"),
    ),
)

PRIOR_STUDIES = Table(
    "prior_studies",
    METADATA,
    Column("study_uid", String(64), primary_key=True),
    Column("patient_ref", String(36), nullable=False),
    Column("ae_title", String(16), nullable=False, comment="who has it"),
    Column("study_date", String(8), nullable=False, comment="as the peer says, DICOM DA"),
    Column("modalities", String(64), nullable=False, comment="as the peer says, with slashes"),
    Column("instances", Integer, nullable=True, comment="as the peer says; null: it does not"),
    Column("state", String(12), nullable=False, comment="waiting, coming, came, refused, given_up"),
    Column("code", String(60), nullable=False, comment="constant, of the sentence"),
    Column("sentence", String(300), nullable=False, comment="how it stands and why"),
    Column("attempts", Integer, nullable=False),
    Column("asked_at", UtcDateTime, nullable=False),
    Column("due_at", UtcDateTime, nullable=True, comment="of the next attempt; null when over"),
    Column("ended_at", UtcDateTime, nullable=True),
    Index("ix_prior_studies_patient_ref", "patient_ref"),
    Index(
        "ix_prior_studies_due_at",
        "due_at",
        sqlite_where=text("due_at IS NOT NULL"),
        postgresql_where=text("due_at IS NOT NULL"),
    ),
)

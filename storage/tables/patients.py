"""Patients, unique by (issuer, id)."""

from sqlalchemy import Column, Date, Index, String, Table, UniqueConstraint

from storage.tables import METADATA, UtcDateTime

PATIENTS = Table(
    "patients",
    METADATA,
    Column("ref", String(36), primary_key=True, comment="the engine's own name of the patient"),
    Column("issuer", String(64), nullable=False, comment="(0010,0021) or the site's default"),
    Column("patient_id", String(64), nullable=False, comment="(0010,0020)"),
    Column("name", String(400), nullable=False, comment="(0010,0010), component groups kept"),
    Column("sex", String(16), nullable=False),
    Column("birth_date", Date, nullable=True),
    Column("registered_at", UtcDateTime, nullable=False),
    UniqueConstraint("issuer", "patient_id"),
    Index("ix_patients_patient_id", "patient_id"),
)

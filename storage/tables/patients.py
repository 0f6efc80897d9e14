"""Patients, unique by (issuer, id), and the keys that their names are found by."""

from sqlalchemy import Column, Date, ForeignKey, Index, String, Table, UniqueConstraint, text

from storage.tables import METADATA, JsonValue, UtcDateTime

BY_BYTES = "varchar_pattern_ops"

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
    Column("survivor", String(36), nullable=True, comment="who stands for it, if merged"),
    Column("registered", JsonValue, nullable=True, comment="as first sent, if corrected"),
    UniqueConstraint("issuer", "patient_id"),
    # By bytes, so that beginnings are found in it whatever the collation of the database.
    Index("ix_patients_patient_id", "patient_id", postgresql_ops={"patient_id": BY_BYTES}),
    Index(
        "ix_patients_survivor",
        "survivor",
        sqlite_where=text("survivor IS NOT NULL"),
        postgresql_where=text("survivor IS NOT NULL"),
    ),
)

PATIENT_NAME_KEYS = Table(
    "patient_name_keys",
    METADATA,
    Column("kind", String(4), primary_key=True, comment="name: of a whole name; word: of a word"),
    Column(
        "name_key",
        String(400).with_variant(String(400, collation="C"), "postgresql"),
        primary_key=True,
    ),
    Column("patient_ref", String(36), ForeignKey("patients.ref"), primary_key=True),
    Index("ix_patient_name_keys_patient_ref", "patient_ref"),
    comment="derived from patients.name by kernel.name_key",
    sqlite_with_rowid=False,
)

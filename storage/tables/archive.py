"""The archive index: studies, series, instances, their manifests and packs, and every arrival."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    text,
)

from storage.tables import DIGEST, METADATA, JsonValue, UtcDateTime
from storage.tables.patients import BY_BYTES

UID = String(64)

STUDIES = Table(
    "studies",
    METADATA,
    Column("study_uid", UID, primary_key=True),
    Column("patient_ref", String(36), ForeignKey("patients.ref"), nullable=False),
    Column("accession", String(64), nullable=False),
    Column("description", String(200), nullable=False),
    Column("study_date", String(8), nullable=False, comment="as sent, DICOM DA"),
    Column("study_time", String(16), nullable=False, comment="as sent, DICOM TM"),
    Column("study_id", String(16), nullable=False, server_default=text("''")),
    Column(
        "referring_physician",
        String(400),
        nullable=False,
        server_default=text("''"),
        comment="as sent, DICOM PN",
    ),
    Column("station_ae_title", String(16), nullable=False, comment="who sent the first instance"),
    Column(
        "sender_organisation",
        String(64),
        nullable=False,
        server_default=text("''"),
        comment="of who sent the first instance, where that was no registered device",
    ),
    Column("first_arrival_at", UtcDateTime, nullable=False),
    Column("last_arrival_at", UtcDateTime, nullable=False),
    Column("unsettled", Boolean, nullable=False, comment="instances came since the last manifest"),
    Column("manifest_version", Integer, nullable=False, comment="0 before the first"),
    Index("ix_studies_accession", "accession", postgresql_ops={"accession": BY_BYTES}),
    Column("received_patient_ref", String(36), nullable=True, comment="null: never corrected"),
    Column("received_accession", String(64), nullable=True, comment="null: never corrected"),
    Column("corrected_at", UtcDateTime, nullable=True, comment="null: shown as received"),
    Index("ix_studies_patient_ref", "patient_ref"),
    Index("ix_studies_study_date", "study_date", "study_uid"),
    # Never changes once it is there, unlike the last: it costs nothing while instances come.
    Index("ix_studies_first_arrival_at", "first_arrival_at"),
    Index(
        "ix_studies_received_patient_ref",
        "received_patient_ref",
        sqlite_where=text("received_patient_ref IS NOT NULL"),
        postgresql_where=text("received_patient_ref IS NOT NULL"),
    ),
    Index(
        "ix_studies_unsettled",
        "last_arrival_at",
        sqlite_where=text("unsettled = 1"),
        postgresql_where=text("unsettled"),
    ),
    Index(
        "ix_studies_begun",
        "first_arrival_at",
        sqlite_where=text("unsettled = 1"),
        postgresql_where=text("unsettled"),
    ),
)

SERIES = Table(
    "series",
    METADATA,
    Column("series_uid", UID, primary_key=True),
    Column("study_uid", UID, ForeignKey("studies.study_uid"), nullable=False),
    Column("modality", String(16), nullable=False),
    Column("number", String(16), nullable=False),
    Column("description", String(200), nullable=False),
    Column("body_part", String(16), nullable=False),
    Index("ix_series_study_uid", "study_uid", "modality"),
)

INSTANCES = Table(
    "instances",
    METADATA,
    Column("instance_uid", UID, primary_key=True),
    Column("series_uid", UID, ForeignKey("series.series_uid"), nullable=False),
    Column("study_uid", UID, ForeignKey("studies.study_uid"), nullable=False),
    Column("sop_class_uid", UID, nullable=False),
    Column("transfer_syntax_uid", UID, nullable=False),
    Column("number", String(16), nullable=False),
    Column("rows", Integer, nullable=True),
    Column("columns", Integer, nullable=True),
    Column("frames", Integer, nullable=True),
    Column("digest", DIGEST, nullable=False, comment="of the whole Part 10 file"),
    Column("length", BigInteger, nullable=False, comment="bytes"),
    Column("segment", String(120), nullable=True, comment="journal segment, null once packed"),
    Column("pack_key", String(200), nullable=True),
    Column("offset", BigInteger, nullable=False, comment="bytes, in the segment or pack"),
    Column("received_at", UtcDateTime, nullable=False),
    Column("withdrawn", Integer, nullable=True, comment="number of the withdrawal; null: shown"),
    # With what is counted, so that counting reads nothing else.
    Index("ix_instances_study_uid", "study_uid", "sop_class_uid"),
    Index("ix_instances_series_uid", "series_uid"),
    Index(
        "ix_instances_segment",
        "segment",
        sqlite_where=text("segment IS NOT NULL"),
        postgresql_where=text("segment IS NOT NULL"),
    ),
    # Almost empty, and no part of what is inserted: it says at once that nothing is withdrawn.
    Index(
        "ix_instances_withdrawn",
        "study_uid",
        "series_uid",
        sqlite_where=text("withdrawn IS NOT NULL"),
        postgresql_where=text("withdrawn IS NOT NULL"),
    ),
)

INSTANCE_PATIENTS = Table(
    "instance_patients",
    METADATA,
    Column("instance_uid", UID, ForeignKey("instances.instance_uid"), primary_key=True),
    Column("study_uid", UID, ForeignKey("studies.study_uid"), nullable=False),
    Column(
        "patient_ref",
        String(36),
        ForeignKey("patients.ref"),
        nullable=False,
        comment="whom it names; no row: the patient whom the first of its study named",
    ),
    Index("ix_instance_patients_study_uid", "study_uid", "patient_ref"),
    Index("ix_instance_patients_patient_ref", "patient_ref", "study_uid"),
)

ARRIVALS = Table(
    "arrivals",
    METADATA,
    Column("segment", String(120), primary_key=True),
    Column("offset", BigInteger, primary_key=True, autoincrement=False),
    Column("length", BigInteger, nullable=False),
    Column("digest", DIGEST, nullable=False),
    Column("outcome", String(12), nullable=False, comment="stored, duplicate, quarantined"),
    Column("instance_uid", String(64), nullable=True),
    Column("source", String(80), nullable=False, comment="calling AE title or user"),
    Column("code", String(60), nullable=True),
    Column("reason", String(300), nullable=True),
    Column("object_key", String(200), nullable=True, comment="of a quarantined one, once moved"),
    Column("received_at", UtcDateTime, nullable=False),
    Column("study_uid", UID, nullable=True, comment="of one that is another patient's so far"),
    Column("patient_ref", String(36), nullable=True, comment="whom such a one names"),
    Column("note", JsonValue, nullable=True, comment="of such a one: who sent it, and how"),
    Column("due_at", UtcDateTime, nullable=True, comment="to see whether the two are one by now"),
    Index(
        "ix_arrivals_due_at",
        "due_at",
        sqlite_where=text("due_at IS NOT NULL"),
        postgresql_where=text("due_at IS NOT NULL"),
    ),
    Index(
        "ix_arrivals_patient_ref",
        "patient_ref",
        sqlite_where=text("patient_ref IS NOT NULL"),
        postgresql_where=text("patient_ref IS NOT NULL"),
    ),
    Index(
        "ix_arrivals_study_uid",
        "study_uid",
        sqlite_where=text("study_uid IS NOT NULL"),
        postgresql_where=text("study_uid IS NOT NULL"),
    ),
    Index(
        "ix_arrivals_quarantined",
        "received_at",
        sqlite_where=text("outcome = 'quarantined'"),
        postgresql_where=text("outcome = 'quarantined'"),
    ),
)

MANIFESTS = Table(
    "manifests",
    METADATA,
    Column("study_uid", UID, ForeignKey("studies.study_uid"), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("digest", String(64), nullable=False),
    Column("body", JsonValue, nullable=False),
    Column("frozen_at", UtcDateTime, nullable=False),
    Column("last_received_at", UtcDateTime, nullable=False, comment="of its newest instance"),
)

PACKS = Table(
    "packs",
    METADATA,
    Column("pack_key", String(200), primary_key=True),
    Column("study_uid", UID, ForeignKey("studies.study_uid"), nullable=False),
    Column("node", String(40), nullable=False),
    Column("digest", DIGEST, nullable=False),
    Column("length", BigInteger, nullable=False),
    Column("instances", Integer, nullable=False),
    Column("packed_at", UtcDateTime, nullable=False),
    Index("ix_packs_study_uid", "study_uid"),
)

REMARKS = Table(
    "instance_remarks",
    METADATA,
    Column("instance_uid", UID, ForeignKey("instances.instance_uid"), primary_key=True),
    Column("code", String(40), primary_key=True),
    Column("noted_at", UtcDateTime, nullable=False),
)

EXAMINATIONS = Table(
    "examinations",
    METADATA,
    Column("study_uid", UID, ForeignKey("studies.study_uid"), primary_key=True),
    Column("asked_at", UtcDateTime, nullable=False),
    Column("due_at", UtcDateTime, nullable=False, comment="later while somebody has it"),
    Index("ix_examinations_due_at", "due_at"),
)

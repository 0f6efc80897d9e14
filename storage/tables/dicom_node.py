"""Tables of the DICOM node: peers, scheduled steps, storage commitments, availability notices."""

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

from storage.tables import METADATA, JsonValue, UtcDateTime

PEERS = Table(
    "peers",
    METADATA,
    Column("ae_title", String(16), primary_key=True),
    Column("host", String(253), nullable=False),
    Column("port", Integer, nullable=False),
    Column("organisation_id", String(64), nullable=False, comment="the site it belongs to"),
    Column("issuer", String(64), nullable=False, comment="of patient ids sent without one"),
    Column("character_set", String(32), nullable=False, comment="where (0008,0005) is absent"),
    Column(
        "notify",
        Boolean,
        nullable=False,
        server_default=false(),
        comment="tell it which studies are here",
    ),
    Column(
        "reader_id",
        String(64),
        nullable=False,
        server_default=text("''"),
        comment="the consultant whose workstation it is",
    ),
    Column(
        "priors",
        Boolean,
        nullable=False,
        server_default=false(),
        comment="ask it for earlier studies when a case opens",
    ),
    Column("added_at", UtcDateTime, nullable=False),
    Column("tls", Boolean, nullable=False, server_default=false(), comment="we call it over TLS"),
    Column(
        "tls_required",
        Boolean,
        nullable=False,
        server_default=false(),
        comment="it may call us over TLS alone",
    ),
    Column("removed_at", UtcDateTime, nullable=True, comment="null: it is registered"),
    CheckConstraint("port BETWEEN 1 AND 65535", name="port_is_one"),
)

PEER_CERTIFICATES = Table(
    "peer_certificates",
    METADATA,
    Column("fingerprint", String(64), primary_key=True, comment="SHA-256 of the DER form"),
    Column("ae_title", String(16), primary_key=True, comment="whom it stands for"),
    Column("organisation_id", String(64), nullable=False, comment="of the title when it was bound"),
    Column("subject", String(200), nullable=False),
    Column("not_before", UtcDateTime, nullable=False),
    Column("not_after", UtcDateTime, nullable=False),
    Column("pem", Text, nullable=False),
    Column("added_at", UtcDateTime, nullable=False),
    Column("revoked_at", UtcDateTime, nullable=True),
    Index("ix_peer_certificates_ae_title", "ae_title"),
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
    Column(
        "progress",
        String(12),
        nullable=False,
        server_default=text("''"),
        comment="empty, STARTED, COMPLETED, DISCONTINUED: what its performed steps say",
    ),
    Column(
        "reason",
        String(40),
        nullable=False,
        server_default=text("''"),
        comment="why discontinued, a code",
    ),
    Index("ix_scheduled_steps_accession", "accession"),
    Index("ix_scheduled_steps_study_uid", "study_uid"),
    Index("ix_scheduled_steps_scheduled_at", "scheduled_at"),
)

COMMITMENTS = Table(
    "commitments",
    METADATA,
    Column("id", String(36), primary_key=True),
    Column("ae_title", String(16), nullable=False, comment="who asked"),
    Column("transaction_uid", String(64), nullable=False),
    Column("asked", JsonValue, nullable=False, comment="pairs of SOP class and SOP instance"),
    Column("state", String(12), nullable=False, comment="asked, reported, given_up"),
    Column("attempts", Integer, nullable=False),
    Column("asked_at", UtcDateTime, nullable=False),
    Column("due_at", UtcDateTime, nullable=True, comment="of the next attempt; null when over"),
    Column("ended_at", UtcDateTime, nullable=True),
    UniqueConstraint("ae_title", "transaction_uid"),
    Index(
        "ix_commitments_due_at",
        "due_at",
        sqlite_where=text("due_at IS NOT NULL"),
        postgresql_where=text("due_at IS NOT NULL"),
    ),
)

COMMITMENTS_ASKED = Table(
    "commitments_asked",
    METADATA,
    Column("transaction_uid", String(64), primary_key=True),
    Column("ae_title", String(16), nullable=False, comment="whom we ask"),
    Column("asked", JsonValue, nullable=False, comment="pairs of SOP class and SOP instance"),
    Column("failed", JsonValue, nullable=False, comment="SOP instances that are not committed"),
    Column("state", String(12), nullable=False, comment="asked, committed, failed, given_up"),
    Column("attempts", Integer, nullable=False),
    Column("asked_at", UtcDateTime, nullable=False),
    Column("due_at", UtcDateTime, nullable=True, comment="of the next attempt; null when over"),
    Column("ended_at", UtcDateTime, nullable=True),
    Index(
        "ix_commitments_asked_due_at",
        "due_at",
        sqlite_where=text("due_at IS NOT NULL"),
        postgresql_where=text("due_at IS NOT NULL"),
    ),
)

NOTICES = Table(
    "availability_notices",
    METADATA,
    Column("id", String(36), primary_key=True),
    Column("ae_title", String(16), nullable=False, comment="who is told"),
    Column("study_uid", String(64), nullable=False),
    Column("manifest_version", Integer, nullable=False),
    Column("state", String(12), nullable=False, comment="waiting, taken, given_up, unwanted"),
    Column("attempts", Integer, nullable=False),
    Column("made_at", UtcDateTime, nullable=False),
    Column("due_at", UtcDateTime, nullable=True, comment="of the next attempt; null when over"),
    Column("ended_at", UtcDateTime, nullable=True),
    Index(
        "ix_availability_notices_due_at",
        "due_at",
        sqlite_where=text("due_at IS NOT NULL"),
        postgresql_where=text("due_at IS NOT NULL"),
    ),
)

METADATA_DUE = Table(
    "metadata_due",
    METADATA,
    Column("study_uid", String(64), primary_key=True),
    Column("manifest_version", Integer, nullable=False, comment="the last that was told of"),
    Column("attempts", Integer, nullable=False),
    Column("due_at", UtcDateTime, nullable=False, comment="of the next attempt"),
    Index("ix_metadata_due_due_at", "due_at"),
)

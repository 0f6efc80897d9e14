"""The first schema."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "api_tokens",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("token_sha256", sa.String(length=64), nullable=False),
        sa.Column(
            "scopes", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_tokens")),
        sa.UniqueConstraint("token_sha256", name=op.f("uq_api_tokens_token_sha256")),
    )
    op.create_table(
        "arrivals",
        sa.Column("segment", sa.String(length=120), nullable=False),
        sa.Column("offset", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("length", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column(
            "outcome",
            sa.String(length=12),
            nullable=False,
            comment="stored, duplicate, quarantined",
        ),
        sa.Column("instance_uid", sa.String(length=64), nullable=True),
        sa.Column(
            "source", sa.String(length=80), nullable=False, comment="calling AE title or user"
        ),
        sa.Column("code", sa.String(length=60), nullable=True),
        sa.Column("reason", sa.String(length=300), nullable=True),
        sa.Column(
            "object_key",
            sa.String(length=200),
            nullable=True,
            comment="of a quarantined one, once moved",
        ),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("segment", "offset", name=op.f("pk_arrivals")),
    )
    op.create_index(
        "ix_arrivals_quarantined",
        "arrivals",
        ["received_at"],
        unique=False,
        sqlite_where=sa.text("outcome = 'quarantined'"),
        postgresql_where=sa.text("outcome = 'quarantined'"),
    )
    op.create_table(
        "audit",
        sa.Column(
            "seq",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.String(length=80), nullable=False),
        sa.Column("role", sa.String(length=20), nullable=False),
        sa.Column("organisation", sa.String(length=64), nullable=True),
        sa.Column("action", sa.String(length=60), nullable=False),
        sa.Column("subject", sa.String(length=120), nullable=False),
        sa.Column("case_id", sa.String(length=36), nullable=True),
        sa.Column("outcome", sa.String(length=20), nullable=False),
        sa.Column(
            "detail", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column("previous", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_audit")),
    )
    op.create_index("ix_audit_case_id", "audit", ["case_id"], unique=False)
    op.create_index("ix_audit_subject", "audit", ["subject"], unique=False)
    op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False, comment="always 1"),
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_head")),
    )
    op.create_table(
        "deliveries",
        sa.Column(
            "id",
            sa.String(length=36),
            nullable=False,
            comment="derived from report, version, destination",
        ),
        sa.Column("case_id", sa.String(length=64), nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=False),
        sa.Column("report_id", sa.String(length=36), nullable=False),
        sa.Column("report_version", sa.Integer(), nullable=False),
        sa.Column(
            "document_digest",
            sa.String(length=64),
            nullable=False,
            comment="as the signature's fact says",
        ),
        sa.Column("destination", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column(
            "attempts", sa.Integer(), nullable=False, comment="since the start or the last replay"
        ),
        sa.Column(
            "since",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="the horizon runs from here",
        ),
        sa.Column("moved_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "next_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="next attempt or end of lease; null at rest",
        ),
        sa.Column(
            "lease",
            sa.String(length=36),
            nullable=True,
            comment="token of the worker that holds it",
        ),
        sa.Column(
            "prepared_key",
            sa.String(length=200),
            nullable=True,
            comment="object key of the exact bytes",
        ),
        sa.Column("prepared_sha256", sa.String(length=64), nullable=True),
        sa.Column("refusal_code", sa.String(length=80), nullable=True),
        sa.Column(
            "refusal", sa.String(length=500), nullable=True, comment="a sentence for a person"
        ),
        sa.Column("receipt", sa.String(length=400), nullable=True),
        sa.Column(
            "cause", sa.String(length=36), nullable=True, comment="the fact that asked for it"
        ),
        sa.CheckConstraint(
            "(state = 'filed') = (receipt IS NOT NULL)",
            name=op.f("ck_deliveries_filed_has_receipt"),
        ),
        sa.CheckConstraint(
            "(state IN ('pending', 'attempting')) = (next_at IS NOT NULL)",
            name=op.f("ck_deliveries_open_has_next_at"),
        ),
        sa.CheckConstraint(
            "state IN ('pending', 'attempting', 'filed', 'rejected', 'parked')",
            name=op.f("ck_deliveries_state"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deliveries")),
        sa.UniqueConstraint(
            "report_id",
            "report_version",
            "destination",
            name=op.f("uq_deliveries_report_id_report_version_destination"),
        ),
    )
    op.create_index("ix_deliveries_case_id", "deliveries", ["case_id"], unique=False)
    op.create_index(
        "ix_deliveries_due", "deliveries", ["destination", "state", "next_at"], unique=False
    )
    op.create_index("ix_deliveries_state", "deliveries", ["state", "moved_at"], unique=False)
    op.create_table(
        "desk_studies",
        sa.Column("study_uid", sa.String(length=64), nullable=False),
        sa.Column("manifest_version", sa.Integer(), nullable=False),
        sa.Column("accession", sa.String(length=64), nullable=False),
        sa.Column("patient_ref", sa.String(length=36), nullable=False),
        sa.Column(
            "request_id",
            sa.String(length=36),
            nullable=True,
            comment="the request that nearly fits",
        ),
        sa.Column("reason", sa.String(length=64), nullable=False),
        sa.Column("sentence", sa.Text(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("study_uid", name=op.f("pk_desk_studies")),
    )
    op.create_index("ix_desk_studies_accession", "desk_studies", ["accession"], unique=False)
    op.create_index("ix_desk_studies_since", "desk_studies", ["since"], unique=False)
    op.create_table(
        "facts",
        sa.Column(
            "seq",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False, comment="ordering key"),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.String(length=80), nullable=False),
        sa.Column(
            "cause", sa.String(length=36), nullable=True, comment="the fact that led to this one"
        ),
        sa.Column("body", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column(
            "fanned_out", sa.Boolean(), nullable=False, comment="one row a consumer was written"
        ),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_facts")),
        sa.UniqueConstraint("id", name=op.f("uq_facts_id")),
    )
    op.create_index("ix_facts_subject", "facts", ["subject"], unique=False)
    op.create_index(
        "ix_facts_waiting",
        "facts",
        ["seq"],
        unique=False,
        sqlite_where=sa.text("fanned_out = 0"),
        postgresql_where=sa.text("NOT fanned_out"),
    )
    op.create_table(
        "notices",
        sa.Column(
            "id", sa.String(length=36), nullable=False, comment="derived: telling twice makes one"
        ),
        sa.Column("organisation_id", sa.String(length=64), nullable=False),
        sa.Column("case_id", sa.String(length=64), nullable=False),
        sa.Column("report_id", sa.String(length=36), nullable=False),
        sa.Column("report_version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "seen_by",
            sa.String(length=120),
            nullable=True,
            comment="reference of the person, not a name",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notices")),
    )
    op.create_index("ix_notices_case_id", "notices", ["case_id"], unique=False)
    op.create_index(
        "ix_notices_inbox", "notices", ["organisation_id", "seen_at", "created_at"], unique=False
    )
    op.create_table(
        "organisations",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column(
            "kind",
            sa.String(length=16),
            nullable=False,
            comment="requesting or consulting (KZ §8, §11)",
        ),
        sa.Column(
            "zone",
            sa.String(length=64),
            nullable=False,
            comment="IANA time zone for showing moments",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_organisations")),
    )
    op.create_table(
        "patients",
        sa.Column(
            "ref",
            sa.String(length=36),
            nullable=False,
            comment="the engine's own name of the patient",
        ),
        sa.Column(
            "issuer",
            sa.String(length=64),
            nullable=False,
            comment="(0010,0021) or the site's default",
        ),
        sa.Column("patient_id", sa.String(length=64), nullable=False, comment="(0010,0020)"),
        sa.Column(
            "name",
            sa.String(length=400),
            nullable=False,
            comment="(0010,0010), component groups kept",
        ),
        sa.Column("sex", sa.String(length=16), nullable=False),
        sa.Column("birth_date", sa.Date(), nullable=True),
        sa.Column("registered_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("ref", name=op.f("pk_patients")),
        sa.UniqueConstraint("issuer", "patient_id", name=op.f("uq_patients_issuer_patient_id")),
    )
    op.create_index("ix_patients_patient_id", "patients", ["patient_id"], unique=False)
    op.create_table(
        "peers",
        sa.Column("ae_title", sa.String(length=16), nullable=False),
        sa.Column("host", sa.String(length=253), nullable=False),
        sa.Column("port", sa.Integer(), nullable=False),
        sa.Column(
            "organisation_id",
            sa.String(length=64),
            nullable=False,
            comment="the site it belongs to",
        ),
        sa.Column(
            "issuer",
            sa.String(length=64),
            nullable=False,
            comment="of patient ids sent without one",
        ),
        sa.Column(
            "character_set",
            sa.String(length=32),
            nullable=False,
            comment="where (0008,0005) is absent",
        ),
        sa.Column("added_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("port BETWEEN 1 AND 65535", name=op.f("ck_peers_port_is_one")),
        sa.PrimaryKeyConstraint("ae_title", name=op.f("pk_peers")),
    )
    op.create_table(
        "profiles",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column(
            "takes",
            sa.JSON().with_variant(postgresql.JSONB(), "postgresql"),
            nullable=False,
            comment="list of [modality, body part, default]",
        ),
        sa.Column(
            "last_turn", sa.Integer(), nullable=False, comment="the highest turn given on this list"
        ),
        sa.Column(
            "look_again_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="while cases wait for somebody",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_profiles")),
    )
    op.create_index("ix_profiles_look_again_at", "profiles", ["look_again_at"], unique=False)
    op.create_table(
        "reacted",
        sa.Column("consumer", sa.String(length=60), nullable=False),
        sa.Column("fact_id", sa.String(length=36), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("consumer", "fact_id", name=op.f("pk_reacted")),
    )
    op.create_table(
        "reports",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("case_id", sa.String(length=64), nullable=False),
        sa.Column(
            "author",
            sa.String(length=64),
            nullable=False,
            comment="reader; one report a case and author",
        ),
        sa.Column(
            "revision",
            sa.Integer(),
            nullable=False,
            comment="grows with each change of any version",
        ),
        sa.Column(
            "subject",
            sa.JSON().with_variant(postgresql.JSONB(), "postgresql"),
            nullable=False,
            comment="what it is about, settled at its start",
        ),
        sa.Column("begun_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("moved_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reports")),
        sa.UniqueConstraint("case_id", "author", name=op.f("uq_reports_case_id_author")),
    )
    op.create_table(
        "scheduled_steps",
        sa.Column("request_id", sa.String(length=64), nullable=False),
        sa.Column("organisation_id", sa.String(length=64), nullable=False),
        sa.Column("patient_ref", sa.String(length=36), nullable=False),
        sa.Column("accession", sa.String(length=64), nullable=False),
        sa.Column("study_uid", sa.String(length=64), nullable=True),
        sa.Column("modality", sa.String(length=16), nullable=False),
        sa.Column("station_ae_title", sa.String(length=16), nullable=False),
        sa.Column("procedure", sa.String(length=200), nullable=False),
        sa.Column("scheduled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("profile", sa.String(length=64), nullable=True),
        sa.Column("form", sa.String(length=32), nullable=False),
        sa.Column(
            "state", sa.String(length=32), nullable=False, comment="of the request, as last told"
        ),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("request_id", name=op.f("pk_scheduled_steps")),
    )
    op.create_index("ix_scheduled_steps_accession", "scheduled_steps", ["accession"], unique=False)
    op.create_index(
        "ix_scheduled_steps_scheduled_at", "scheduled_steps", ["scheduled_at"], unique=False
    )
    op.create_index("ix_scheduled_steps_study_uid", "scheduled_steps", ["study_uid"], unique=False)
    op.create_table(
        "sign_in_failures",
        sa.Column(
            "seq",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column(
            "login_sha256",
            sa.String(length=64),
            nullable=False,
            comment="people type passwords here too",
        ),
        sa.Column("source", sa.String(length=64), nullable=False, comment="network address"),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_sign_in_failures")),
    )
    op.create_index("ix_sign_in_failures_at", "sign_in_failures", ["at"], unique=False)
    op.create_index(
        "ix_sign_in_failures_login_sha256", "sign_in_failures", ["login_sha256", "at"], unique=False
    )
    op.create_index(
        "ix_sign_in_failures_source", "sign_in_failures", ["source", "at"], unique=False
    )
    op.create_table(
        "triage_plans",
        sa.Column("case_id", sa.String(length=36), nullable=False),
        sa.Column("study_uid", sa.String(length=64), nullable=False),
        sa.Column(
            "cause", sa.String(length=36), nullable=False, comment="the fact that opened the case"
        ),
        sa.Column("planned_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "settled_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="set with TriageSettled, once",
        ),
        sa.Column(
            "outcome", sa.String(length=10), nullable=True, comment="settled, skipped, failed"
        ),
        sa.Column("level", sa.String(length=10), nullable=True),
        sa.Column("reason", sa.String(length=60), nullable=True),
        sa.PrimaryKeyConstraint("case_id", name=op.f("pk_triage_plans")),
    )
    op.create_table(
        "users",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("login", sa.String(length=120), nullable=False, comment="folded to lower case"),
        sa.Column(
            "password_hash",
            sa.String(length=200),
            nullable=False,
            comment="argon2id, with its parameters",
        ),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column(
            "roles", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column("organisation_id", sa.String(length=64), nullable=True),
        sa.Column(
            "reader_id",
            sa.String(length=64),
            nullable=True,
            comment="the consultant this person is",
        ),
        sa.Column(
            "patient_ref", sa.String(length=36), nullable=True, comment="the patient this person is"
        ),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("login", name=op.f("uq_users_login")),
    )
    op.create_index("ix_users_reader_id", "users", ["reader_id"], unique=False)
    op.create_table(
        "profile_wakes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("profile", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["profile"], ["profiles.id"], name=op.f("fk_profile_wakes_profile_profiles")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_profile_wakes")),
        comment="inserted by whatever may let a case move; inserting never waits for a lock",
        sqlite_autoincrement=True,
    )
    op.create_index("ix_profile_wakes_profile", "profile_wakes", ["profile"], unique=False)
    op.create_table(
        "readers",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("organisation_id", sa.String(length=64), nullable=False),
        sa.Column(
            "max_open", sa.Integer(), nullable=False, comment="cases offered or held at once"
        ),
        sa.Column("present", sa.Boolean(), nullable=False),
        sa.Column(
            "present_until", sa.DateTime(timezone=True), nullable=True, comment="end of the shift"
        ),
        sa.Column(
            "unanswered", sa.Integer(), nullable=False, comment="offers in a row that ran out"
        ),
        sa.CheckConstraint("max_open >= 0", name=op.f("ck_readers_max_open_not_negative")),
        sa.ForeignKeyConstraint(
            ["organisation_id"],
            ["organisations.id"],
            name=op.f("fk_readers_organisation_id_organisations"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_readers")),
    )
    op.create_index("ix_readers_organisation_id", "readers", ["organisation_id"], unique=False)
    op.create_table(
        "report_versions",
        sa.Column("report_id", sa.String(length=36), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column(
            "sections",
            sa.JSON().with_variant(postgresql.JSONB(), "postgresql"),
            nullable=False,
            comment="[code, scheme, meaning, text] in order",
        ),
        sa.Column(
            "content",
            sa.JSON().with_variant(postgresql.JSONB(), "postgresql"),
            nullable=True,
            comment="what is signed, frozen when finalised",
        ),
        sa.Column(
            "content_digest",
            sa.String(length=64),
            nullable=True,
            comment="SHA-256 of its canonical form",
        ),
        sa.Column("moved_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "(state = 'draft') = (content_digest IS NULL)",
            name=op.f("ck_report_versions_content_frozen_when_finalised"),
        ),
        sa.CheckConstraint(
            "kind IN ('original', 'addendum')", name=op.f("ck_report_versions_kind")
        ),
        sa.CheckConstraint(
            "state IN ('draft', 'finalised', 'superseded', 'sealed')",
            name=op.f("ck_report_versions_state"),
        ),
        sa.ForeignKeyConstraint(
            ["report_id"], ["reports.id"], name=op.f("fk_report_versions_report_id_reports")
        ),
        sa.PrimaryKeyConstraint("report_id", "number", name=op.f("pk_report_versions")),
    )
    op.create_table(
        "sessions",
        sa.Column(
            "token_sha256",
            sa.String(length=64),
            nullable=False,
            comment="the token itself is not kept",
        ),
        sa.Column("user_id", sa.String(length=36), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_sessions_user_id_users")),
        sa.PrimaryKeyConstraint("token_sha256", name=op.f("pk_sessions")),
    )
    op.create_index("ix_sessions_expires_at", "sessions", ["expires_at"], unique=False)
    op.create_index("ix_sessions_user_id", "sessions", ["user_id"], unique=False)
    op.create_table(
        "studies",
        sa.Column("study_uid", sa.String(length=64), nullable=False),
        sa.Column("patient_ref", sa.String(length=36), nullable=False),
        sa.Column("accession", sa.String(length=64), nullable=False),
        sa.Column("description", sa.String(length=200), nullable=False),
        sa.Column("study_date", sa.String(length=8), nullable=False, comment="as sent, DICOM DA"),
        sa.Column("study_time", sa.String(length=16), nullable=False, comment="as sent, DICOM TM"),
        sa.Column(
            "station_ae_title",
            sa.String(length=16),
            nullable=False,
            comment="who sent the first instance",
        ),
        sa.Column("first_arrival_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_arrival_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "unsettled",
            sa.Boolean(),
            nullable=False,
            comment="instances came since the last manifest",
        ),
        sa.Column("manifest_version", sa.Integer(), nullable=False, comment="0 before the first"),
        sa.ForeignKeyConstraint(
            ["patient_ref"], ["patients.ref"], name=op.f("fk_studies_patient_ref_patients")
        ),
        sa.PrimaryKeyConstraint("study_uid", name=op.f("pk_studies")),
    )
    op.create_index("ix_studies_accession", "studies", ["accession"], unique=False)
    op.create_index("ix_studies_patient_ref", "studies", ["patient_ref"], unique=False)
    op.create_index("ix_studies_study_date", "studies", ["study_date"], unique=False)
    op.create_index(
        "ix_studies_unsettled",
        "studies",
        ["last_arrival_at"],
        unique=False,
        sqlite_where=sa.text("unsettled = 1"),
        postgresql_where=sa.text("unsettled"),
    )
    op.create_table(
        "tellings",
        sa.Column("fact_seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("consumer", sa.String(length=60), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False, comment="due, done, parked"),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("leased_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("refusal_code", sa.String(length=60), nullable=True),
        sa.Column("refusal", sa.String(length=500), nullable=True),
        sa.Column("moved_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["fact_seq"], ["facts.seq"], name=op.f("fk_tellings_fact_seq_facts")
        ),
        sa.PrimaryKeyConstraint("fact_seq", "consumer", name=op.f("pk_tellings")),
    )
    op.create_index(
        "ix_tellings_due",
        "tellings",
        ["next_at"],
        unique=False,
        sqlite_where=sa.text("state = 'due'"),
        postgresql_where=sa.text("state = 'due'"),
    )
    op.create_index(
        "ix_tellings_open",
        "tellings",
        ["consumer", "subject", "fact_seq"],
        unique=False,
        sqlite_where=sa.text("state <> 'done'"),
        postgresql_where=sa.text("state <> 'done'"),
    )
    op.create_table(
        "triage_runs",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("case_id", sa.String(length=36), nullable=False),
        sa.Column("study_uid", sa.String(length=64), nullable=False),
        sa.Column("manifest_version", sa.Integer(), nullable=False),
        sa.Column("manifest_digest", sa.String(length=64), nullable=False),
        sa.Column("model_id", sa.String(length=48), nullable=False),
        sa.Column("model_version", sa.String(length=32), nullable=False),
        sa.Column("weights_digest", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column(
            "reason",
            sa.String(length=60),
            nullable=False,
            comment="constant code; empty until it ended",
        ),
        sa.Column("level", sa.String(length=10), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "holder", sa.String(length=36), nullable=True, comment="the claim, not the machine"
        ),
        sa.Column("held_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("heartbeat_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("planned_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("moved_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "sr_key",
            sa.String(length=120),
            nullable=True,
            comment="structured report, object store key",
        ),
        sa.Column("sr_sha256", sa.String(length=64), nullable=True),
        sa.Column("sr_instance_uid", sa.String(length=64), nullable=True),
        sa.ForeignKeyConstraint(
            ["case_id"], ["triage_plans.case_id"], name=op.f("fk_triage_runs_case_id_triage_plans")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_triage_runs")),
    )
    op.create_index("ix_triage_runs_case_id", "triage_runs", ["case_id"], unique=False)
    op.create_index(
        "ix_triage_runs_open",
        "triage_runs",
        ["due_at"],
        unique=False,
        sqlite_where=sa.text("state IN ('planned', 'running')"),
        postgresql_where=sa.text("state IN ('planned', 'running')"),
    )
    op.create_table(
        "manifests",
        sa.Column("study_uid", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("body", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("frozen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "last_received_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="of its newest instance",
        ),
        sa.ForeignKeyConstraint(
            ["study_uid"], ["studies.study_uid"], name=op.f("fk_manifests_study_uid_studies")
        ),
        sa.PrimaryKeyConstraint("study_uid", "version", name=op.f("pk_manifests")),
    )
    op.create_table(
        "packs",
        sa.Column("pack_key", sa.String(length=200), nullable=False),
        sa.Column("study_uid", sa.String(length=64), nullable=False),
        sa.Column("node", sa.String(length=40), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("length", sa.BigInteger(), nullable=False),
        sa.Column("instances", sa.Integer(), nullable=False),
        sa.Column("packed_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["study_uid"], ["studies.study_uid"], name=op.f("fk_packs_study_uid_studies")
        ),
        sa.PrimaryKeyConstraint("pack_key", name=op.f("pk_packs")),
    )
    op.create_index("ix_packs_study_uid", "packs", ["study_uid"], unique=False)
    op.create_table(
        "reader_competences",
        sa.Column("profile", sa.String(length=64), nullable=False),
        sa.Column("reader_id", sa.String(length=64), nullable=False),
        sa.Column("valid_from", sa.DateTime(timezone=True), nullable=True),
        sa.Column("valid_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "listed", sa.Boolean(), nullable=False, comment="false: left the list, the turn is kept"
        ),
        sa.Column(
            "turn", sa.Integer(), nullable=False, comment="grows with every assignment on the list"
        ),
        sa.ForeignKeyConstraint(
            ["profile"], ["profiles.id"], name=op.f("fk_reader_competences_profile_profiles")
        ),
        sa.ForeignKeyConstraint(
            ["reader_id"], ["readers.id"], name=op.f("fk_reader_competences_reader_id_readers")
        ),
        sa.PrimaryKeyConstraint("profile", "reader_id", name=op.f("pk_reader_competences")),
        sa.UniqueConstraint("profile", "turn", name=op.f("uq_reader_competences_profile_turn")),
    )
    op.create_index(
        "ix_reader_competences_reader_id", "reader_competences", ["reader_id"], unique=False
    )
    op.create_table(
        "reader_conflicts",
        sa.Column("patient_ref", sa.String(length=36), nullable=False),
        sa.Column("reader_id", sa.String(length=64), nullable=False),
        sa.Column(
            "kind", sa.String(length=32), nullable=False, comment="treating doctor, relative, other"
        ),
        sa.ForeignKeyConstraint(
            ["reader_id"], ["readers.id"], name=op.f("fk_reader_conflicts_reader_id_readers")
        ),
        sa.PrimaryKeyConstraint("patient_ref", "reader_id", name=op.f("pk_reader_conflicts")),
    )
    op.create_table(
        "requests",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("organisation_id", sa.String(length=64), nullable=False),
        sa.Column(
            "patient_ref", sa.String(length=36), nullable=False, comment="empty: not identified"
        ),
        sa.Column(
            "accession", sa.String(length=64), nullable=False, comment="(0008,0050); empty: none"
        ),
        sa.Column(
            "study_uid",
            sa.String(length=64),
            nullable=True,
            comment="(0020,000D) if the site names it",
        ),
        sa.Column("modality", sa.String(length=16), nullable=False),
        sa.Column("station_ae_title", sa.String(length=16), nullable=False),
        sa.Column("procedure", sa.String(length=200), nullable=False),
        sa.Column("scheduled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("profile", sa.String(length=64), nullable=True),
        sa.Column(
            "form",
            sa.String(length=16),
            nullable=False,
            comment="emergent, urgent or planned (KZ §6)",
        ),
        sa.Column("named_reader", sa.String(length=64), nullable=True),
        sa.Column("payer", sa.String(length=32), nullable=True, comment="KZ §41-43"),
        sa.Column(
            "digest", sa.String(length=64), nullable=False, comment="of the content as submitted"
        ),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("state_reason", sa.String(length=64), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["named_reader"], ["readers.id"], name=op.f("fk_requests_named_reader_readers")
        ),
        sa.ForeignKeyConstraint(
            ["organisation_id"],
            ["organisations.id"],
            name=op.f("fk_requests_organisation_id_organisations"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_requests")),
    )
    op.create_index("ix_requests_accession", "requests", ["accession"], unique=False)
    op.create_index(
        "ix_requests_organisation_id_received_at",
        "requests",
        ["organisation_id", "received_at"],
        unique=False,
    )
    op.create_index(
        "ix_requests_state_received_at", "requests", ["state", "received_at"], unique=False
    )
    op.create_index("ix_requests_study_uid", "requests", ["study_uid"], unique=False)
    op.create_table(
        "sealed_documents",
        sa.Column("report_id", sa.String(length=36), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("case_id", sa.String(length=64), nullable=False),
        sa.Column("pdf_key", sa.String(length=200), nullable=False),
        sa.Column("pdf_sha256", sa.String(length=64), nullable=False),
        sa.Column("sr_key", sa.String(length=200), nullable=False),
        sa.Column("sr_sha256", sa.String(length=64), nullable=False),
        sa.Column("sr_series_uid", sa.String(length=64), nullable=False),
        sa.Column("sr_instance_uid", sa.String(length=64), nullable=False),
        sa.Column(
            "signer_subject",
            sa.String(length=500),
            nullable=False,
            comment="as the certificate names them",
        ),
        sa.Column(
            "demo_signature",
            sa.Boolean(),
            nullable=False,
            comment="by a demo authority: not qualified",
        ),
        sa.Column("signed_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["report_id", "number"],
            ["report_versions.report_id", "report_versions.number"],
            name=op.f("fk_sealed_documents_report_id_number_report_versions"),
        ),
        sa.PrimaryKeyConstraint("report_id", "number", name=op.f("pk_sealed_documents")),
    )
    op.create_index("ix_sealed_documents_case_id", "sealed_documents", ["case_id"], unique=False)
    op.create_table(
        "series",
        sa.Column("series_uid", sa.String(length=64), nullable=False),
        sa.Column("study_uid", sa.String(length=64), nullable=False),
        sa.Column("modality", sa.String(length=16), nullable=False),
        sa.Column("number", sa.String(length=16), nullable=False),
        sa.Column("description", sa.String(length=200), nullable=False),
        sa.Column("body_part", sa.String(length=16), nullable=False),
        sa.ForeignKeyConstraint(
            ["study_uid"], ["studies.study_uid"], name=op.f("fk_series_study_uid_studies")
        ),
        sa.PrimaryKeyConstraint("series_uid", name=op.f("pk_series")),
    )
    op.create_index("ix_series_study_uid", "series", ["study_uid"], unique=False)
    op.create_table(
        "triage_results",
        sa.Column("instance_uid", sa.String(length=64), nullable=False),
        sa.Column("model_id", sa.String(length=48), nullable=False),
        sa.Column("model_version", sa.String(length=32), nullable=False),
        sa.Column("run_id", sa.String(length=36), nullable=False, comment="the first"),
        sa.Column(
            "instance_sha256",
            sa.String(length=64),
            nullable=False,
            comment="of the Part 10 file scored",
        ),
        sa.Column("weights_digest", sa.String(length=64), nullable=False),
        sa.Column(
            "refusal",
            sa.String(length=60),
            nullable=True,
            comment="why it was not scored; else null",
        ),
        sa.Column(
            "scores",
            sa.JSON().with_variant(postgresql.JSONB(), "postgresql"),
            nullable=False,
            comment="score by name, each from 0 to 1",
        ),
        sa.Column(
            "latency_ms", sa.Float(), nullable=False, comment="reading, decoding and inference"
        ),
        sa.Column("scored_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"], ["triage_runs.id"], name=op.f("fk_triage_results_run_id_triage_runs")
        ),
        sa.PrimaryKeyConstraint(
            "instance_uid", "model_id", "model_version", name=op.f("pk_triage_results")
        ),
    )
    op.create_index("ix_triage_results_run_id", "triage_results", ["run_id"], unique=False)
    op.create_table(
        "case_arrivals",
        sa.Column(
            "number", sa.Integer(), nullable=False, comment="ties in the order go by this number"
        ),
        sa.Column("request_id", sa.String(length=36), nullable=False),
        sa.ForeignKeyConstraint(
            ["request_id"], ["requests.id"], name=op.f("fk_case_arrivals_request_id_requests")
        ),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_case_arrivals")),
        sa.UniqueConstraint("request_id", name=op.f("uq_case_arrivals_request_id")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "cases",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("request_id", sa.String(length=36), nullable=False),
        sa.Column("study_uid", sa.String(length=64), nullable=False),
        sa.Column("manifest_version", sa.Integer(), nullable=False, comment="what is to be read"),
        sa.Column("patient_ref", sa.String(length=36), nullable=False),
        sa.Column("accession", sa.String(length=64), nullable=False),
        sa.Column("site_id", sa.String(length=64), nullable=False),
        sa.Column("profile", sa.String(length=64), nullable=False),
        sa.Column("form", sa.String(length=16), nullable=False),
        sa.Column("modality", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("state_reason", sa.String(length=64), nullable=False),
        sa.Column(
            "legal_clock_start", sa.DateTime(timezone=True), nullable=False, comment="KZ §13"
        ),
        sa.Column(
            "patient_clock_start",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="first submission",
        ),
        sa.Column("due", sa.DateTime(timezone=True), nullable=False),
        sa.Column("arrival_number", sa.Integer(), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("moved_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("named_reader", sa.String(length=64), nullable=True, comment="KZ §20"),
        sa.Column("holder", sa.String(length=64), nullable=True),
        sa.Column("held_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("offered_to", sa.String(length=64), nullable=True),
        sa.Column("offered_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "triage_level", sa.String(length=16), nullable=True, comment="empty: not settled"
        ),
        sa.Column(
            "late_version",
            sa.Integer(),
            nullable=True,
            comment="images that came after reading began",
        ),
        sa.Column("signed_by", sa.String(length=64), nullable=True),
        sa.Column("report_id", sa.String(length=36), nullable=True),
        sa.Column("report_version", sa.Integer(), nullable=True),
        sa.Column("filed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("notified_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "asking", sa.Integer(), nullable=False, comment="how often the round of all was begun"
        ),
        sa.Column(
            "revision", sa.Integer(), nullable=False, comment="a change of an older one is refused"
        ),
        sa.Column(
            "queue_rank", sa.Integer(), nullable=False, comment="0: threat to life, before all else"
        ),
        sa.CheckConstraint(
            "(state = 'offered') = (offered_to IS NOT NULL)", name=op.f("ck_cases_offered_to_one")
        ),
        sa.CheckConstraint(
            "(state = 'reading') = (holder IS NOT NULL)", name=op.f("ck_cases_held_while_reading")
        ),
        sa.CheckConstraint(
            "(holder IS NULL) = (held_until IS NULL)", name=op.f("ck_cases_held_until_a_moment")
        ),
        sa.CheckConstraint(
            "(offered_to IS NULL) = (offered_until IS NULL)", name=op.f("ck_cases_offered_until")
        ),
        sa.ForeignKeyConstraint(["holder"], ["readers.id"], name=op.f("fk_cases_holder_readers")),
        sa.ForeignKeyConstraint(
            ["named_reader"], ["readers.id"], name=op.f("fk_cases_named_reader_readers")
        ),
        sa.ForeignKeyConstraint(
            ["offered_to"], ["readers.id"], name=op.f("fk_cases_offered_to_readers")
        ),
        sa.ForeignKeyConstraint(
            ["profile"], ["profiles.id"], name=op.f("fk_cases_profile_profiles")
        ),
        sa.ForeignKeyConstraint(
            ["request_id"], ["requests.id"], name=op.f("fk_cases_request_id_requests")
        ),
        sa.ForeignKeyConstraint(
            ["site_id"], ["organisations.id"], name=op.f("fk_cases_site_id_organisations")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cases")),
        sa.UniqueConstraint("arrival_number", name=op.f("uq_cases_arrival_number")),
        sa.UniqueConstraint("request_id", name=op.f("uq_cases_request_id")),
    )
    op.create_index(
        "ix_cases_awaiting_triage",
        "cases",
        ["opened_at"],
        unique=False,
        sqlite_where=sa.text("state = 'received'"),
        postgresql_where=sa.text("state = 'received'"),
    )
    op.create_index("ix_cases_holder", "cases", ["holder"], unique=False)
    op.create_index(
        "ix_cases_leases_running_out",
        "cases",
        ["held_until"],
        unique=False,
        sqlite_where=sa.text("state = 'reading'"),
        postgresql_where=sa.text("state = 'reading'"),
    )
    op.create_index("ix_cases_offered_to", "cases", ["offered_to"], unique=False)
    op.create_index(
        "ix_cases_offers_running_out",
        "cases",
        ["offered_until"],
        unique=False,
        sqlite_where=sa.text("state = 'offered'"),
        postgresql_where=sa.text("state = 'offered'"),
    )
    op.create_index("ix_cases_patient_ref", "cases", ["patient_ref"], unique=False)
    op.create_index(
        "ix_cases_profile_arrival_number", "cases", ["profile", "arrival_number"], unique=False
    )
    op.create_index(
        "ix_cases_queue",
        "cases",
        ["profile", "queue_rank", "due", "arrival_number"],
        unique=False,
        sqlite_where=sa.text("state = 'queued'"),
        postgresql_where=sa.text("state = 'queued'"),
    )
    op.create_index(
        "ix_cases_signed_by_arrival_number", "cases", ["signed_by", "arrival_number"], unique=False
    )
    op.create_index(
        "ix_cases_site_id_arrival_number", "cases", ["site_id", "arrival_number"], unique=False
    )
    op.create_index(
        "ix_cases_state_arrival_number", "cases", ["state", "arrival_number"], unique=False
    )
    op.create_index(
        "ix_cases_state_reason_arrival_number",
        "cases",
        ["state_reason", "arrival_number"],
        unique=False,
    )
    op.create_index("ix_cases_study_uid", "cases", ["study_uid"], unique=False)
    op.create_table(
        "instances",
        sa.Column("instance_uid", sa.String(length=64), nullable=False),
        sa.Column("series_uid", sa.String(length=64), nullable=False),
        sa.Column("study_uid", sa.String(length=64), nullable=False),
        sa.Column("sop_class_uid", sa.String(length=64), nullable=False),
        sa.Column("transfer_syntax_uid", sa.String(length=64), nullable=False),
        sa.Column("number", sa.String(length=16), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=True),
        sa.Column("columns", sa.Integer(), nullable=True),
        sa.Column("frames", sa.Integer(), nullable=True),
        sa.Column(
            "sha256", sa.String(length=64), nullable=False, comment="of the whole Part 10 file"
        ),
        sa.Column("length", sa.BigInteger(), nullable=False, comment="bytes"),
        sa.Column(
            "segment",
            sa.String(length=120),
            nullable=True,
            comment="journal segment, null once packed",
        ),
        sa.Column("pack_key", sa.String(length=200), nullable=True),
        sa.Column(
            "offset", sa.BigInteger(), nullable=False, comment="bytes, in the segment or pack"
        ),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["series_uid"], ["series.series_uid"], name=op.f("fk_instances_series_uid_series")
        ),
        sa.ForeignKeyConstraint(
            ["study_uid"], ["studies.study_uid"], name=op.f("fk_instances_study_uid_studies")
        ),
        sa.PrimaryKeyConstraint("instance_uid", name=op.f("pk_instances")),
    )
    op.create_index(
        "ix_instances_segment",
        "instances",
        ["segment"],
        unique=False,
        sqlite_where=sa.text("segment IS NOT NULL"),
        postgresql_where=sa.text("segment IS NOT NULL"),
    )
    op.create_index("ix_instances_series_uid", "instances", ["series_uid"], unique=False)
    op.create_index("ix_instances_study_uid", "instances", ["study_uid"], unique=False)
    op.create_table(
        "case_moves",
        sa.Column("case_id", sa.String(length=36), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False, comment="of the case after the move"),
        sa.Column(
            "source", sa.String(length=16), nullable=True, comment="empty: the case was opened"
        ),
        sa.Column("target", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=False),
        sa.Column(
            "reader_id", sa.String(length=64), nullable=True, comment="whom the move is about"
        ),
        sa.Column("note", sa.Text(), nullable=False, comment="what a person wrote to explain it"),
        sa.Column("actor", sa.String(length=128), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["case_id"], ["cases.id"], name=op.f("fk_case_moves_case_id_cases")
        ),
        sa.PrimaryKeyConstraint("case_id", "revision", name=op.f("pk_case_moves")),
    )
    op.create_table(
        "case_offers",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("case_id", sa.String(length=36), nullable=False),
        sa.Column("reader_id", sa.String(length=64), nullable=False),
        sa.Column("profile", sa.String(length=64), nullable=False),
        sa.Column("asking", sa.Integer(), nullable=False),
        sa.Column(
            "revision", sa.Integer(), nullable=False, comment="of the case while it is offered"
        ),
        sa.Column(
            "turn_before", sa.Integer(), nullable=False, comment="given back on a justified decline"
        ),
        sa.Column("offered_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome", sa.String(length=16), nullable=True),
        sa.Column("reason", sa.String(length=64), nullable=True),
        sa.ForeignKeyConstraint(
            ["case_id"], ["cases.id"], name=op.f("fk_case_offers_case_id_cases")
        ),
        sa.ForeignKeyConstraint(
            ["profile"], ["profiles.id"], name=op.f("fk_case_offers_profile_profiles")
        ),
        sa.ForeignKeyConstraint(
            ["reader_id"], ["readers.id"], name=op.f("fk_case_offers_reader_id_readers")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_case_offers")),
    )
    op.create_index(
        "ix_case_offers_case_id_asking", "case_offers", ["case_id", "asking"], unique=False
    )
    op.create_index(
        "ix_case_offers_reader_id_offered_at",
        "case_offers",
        ["reader_id", "offered_at"],
        unique=False,
    )
    op.create_index(
        "uq_case_offers_one_open",
        "case_offers",
        ["case_id"],
        unique=True,
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )

    # The audit chain begins here; every transaction that audits locks this row.
    op.execute(
        "INSERT INTO audit_head (id, seq, hash) VALUES (1, 0, '0000000000000000000000000000000000000000000000000000000000000000')"
    )


def downgrade() -> None:
    """Take back."""
    op.drop_index(
        "uq_case_offers_one_open",
        table_name="case_offers",
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.drop_index("ix_case_offers_reader_id_offered_at", table_name="case_offers")
    op.drop_index("ix_case_offers_case_id_asking", table_name="case_offers")
    op.drop_table("case_offers")
    op.drop_table("case_moves")
    op.drop_index("ix_instances_study_uid", table_name="instances")
    op.drop_index("ix_instances_series_uid", table_name="instances")
    op.drop_index(
        "ix_instances_segment",
        table_name="instances",
        sqlite_where=sa.text("segment IS NOT NULL"),
        postgresql_where=sa.text("segment IS NOT NULL"),
    )
    op.drop_table("instances")
    op.drop_index("ix_cases_study_uid", table_name="cases")
    op.drop_index("ix_cases_state_reason_arrival_number", table_name="cases")
    op.drop_index("ix_cases_state_arrival_number", table_name="cases")
    op.drop_index("ix_cases_site_id_arrival_number", table_name="cases")
    op.drop_index("ix_cases_signed_by_arrival_number", table_name="cases")
    op.drop_index(
        "ix_cases_queue",
        table_name="cases",
        sqlite_where=sa.text("state = 'queued'"),
        postgresql_where=sa.text("state = 'queued'"),
    )
    op.drop_index("ix_cases_profile_arrival_number", table_name="cases")
    op.drop_index("ix_cases_patient_ref", table_name="cases")
    op.drop_index(
        "ix_cases_offers_running_out",
        table_name="cases",
        sqlite_where=sa.text("state = 'offered'"),
        postgresql_where=sa.text("state = 'offered'"),
    )
    op.drop_index("ix_cases_offered_to", table_name="cases")
    op.drop_index(
        "ix_cases_leases_running_out",
        table_name="cases",
        sqlite_where=sa.text("state = 'reading'"),
        postgresql_where=sa.text("state = 'reading'"),
    )
    op.drop_index("ix_cases_holder", table_name="cases")
    op.drop_index(
        "ix_cases_awaiting_triage",
        table_name="cases",
        sqlite_where=sa.text("state = 'received'"),
        postgresql_where=sa.text("state = 'received'"),
    )
    op.drop_table("cases")
    op.drop_table("case_arrivals")
    op.drop_index("ix_triage_results_run_id", table_name="triage_results")
    op.drop_table("triage_results")
    op.drop_index("ix_series_study_uid", table_name="series")
    op.drop_table("series")
    op.drop_index("ix_sealed_documents_case_id", table_name="sealed_documents")
    op.drop_table("sealed_documents")
    op.drop_index("ix_requests_study_uid", table_name="requests")
    op.drop_index("ix_requests_state_received_at", table_name="requests")
    op.drop_index("ix_requests_organisation_id_received_at", table_name="requests")
    op.drop_index("ix_requests_accession", table_name="requests")
    op.drop_table("requests")
    op.drop_table("reader_conflicts")
    op.drop_index("ix_reader_competences_reader_id", table_name="reader_competences")
    op.drop_table("reader_competences")
    op.drop_index("ix_packs_study_uid", table_name="packs")
    op.drop_table("packs")
    op.drop_table("manifests")
    op.drop_index(
        "ix_triage_runs_open",
        table_name="triage_runs",
        sqlite_where=sa.text("state IN ('planned', 'running')"),
        postgresql_where=sa.text("state IN ('planned', 'running')"),
    )
    op.drop_index("ix_triage_runs_case_id", table_name="triage_runs")
    op.drop_table("triage_runs")
    op.drop_index(
        "ix_tellings_open",
        table_name="tellings",
        sqlite_where=sa.text("state <> 'done'"),
        postgresql_where=sa.text("state <> 'done'"),
    )
    op.drop_index(
        "ix_tellings_due",
        table_name="tellings",
        sqlite_where=sa.text("state = 'due'"),
        postgresql_where=sa.text("state = 'due'"),
    )
    op.drop_table("tellings")
    op.drop_index(
        "ix_studies_unsettled",
        table_name="studies",
        sqlite_where=sa.text("unsettled = 1"),
        postgresql_where=sa.text("unsettled"),
    )
    op.drop_index("ix_studies_study_date", table_name="studies")
    op.drop_index("ix_studies_patient_ref", table_name="studies")
    op.drop_index("ix_studies_accession", table_name="studies")
    op.drop_table("studies")
    op.drop_index("ix_sessions_user_id", table_name="sessions")
    op.drop_index("ix_sessions_expires_at", table_name="sessions")
    op.drop_table("sessions")
    op.drop_table("report_versions")
    op.drop_index("ix_readers_organisation_id", table_name="readers")
    op.drop_table("readers")
    op.drop_index("ix_profile_wakes_profile", table_name="profile_wakes")
    op.drop_table("profile_wakes")
    op.drop_index("ix_users_reader_id", table_name="users")
    op.drop_table("users")
    op.drop_table("triage_plans")
    op.drop_index("ix_sign_in_failures_source", table_name="sign_in_failures")
    op.drop_index("ix_sign_in_failures_login_sha256", table_name="sign_in_failures")
    op.drop_index("ix_sign_in_failures_at", table_name="sign_in_failures")
    op.drop_table("sign_in_failures")
    op.drop_index("ix_scheduled_steps_study_uid", table_name="scheduled_steps")
    op.drop_index("ix_scheduled_steps_scheduled_at", table_name="scheduled_steps")
    op.drop_index("ix_scheduled_steps_accession", table_name="scheduled_steps")
    op.drop_table("scheduled_steps")
    op.drop_table("reports")
    op.drop_table("reacted")
    op.drop_index("ix_profiles_look_again_at", table_name="profiles")
    op.drop_table("profiles")
    op.drop_table("peers")
    op.drop_index("ix_patients_patient_id", table_name="patients")
    op.drop_table("patients")
    op.drop_table("organisations")
    op.drop_index("ix_notices_inbox", table_name="notices")
    op.drop_index("ix_notices_case_id", table_name="notices")
    op.drop_table("notices")
    op.drop_index(
        "ix_facts_waiting",
        table_name="facts",
        sqlite_where=sa.text("fanned_out = 0"),
        postgresql_where=sa.text("NOT fanned_out"),
    )
    op.drop_index("ix_facts_subject", table_name="facts")
    op.drop_table("facts")
    op.drop_index("ix_desk_studies_since", table_name="desk_studies")
    op.drop_index("ix_desk_studies_accession", table_name="desk_studies")
    op.drop_table("desk_studies")
    op.drop_index("ix_deliveries_state", table_name="deliveries")
    op.drop_index("ix_deliveries_due", table_name="deliveries")
    op.drop_index("ix_deliveries_case_id", table_name="deliveries")
    op.drop_table("deliveries")
    op.drop_table("audit_head")
    op.drop_index("ix_audit_subject", table_name="audit")
    op.drop_index("ix_audit_case_id", table_name="audit")
    op.drop_table("audit")
    op.drop_index(
        "ix_arrivals_quarantined",
        table_name="arrivals",
        sqlite_where=sa.text("outcome = 'quarantined'"),
        postgresql_where=sa.text("outcome = 'quarantined'"),
    )
    op.drop_table("arrivals")
    op.drop_table("api_tokens")

"""Requests, cases, consultants and their turns; imported by ``worklist.store`` alone."""

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from storage.tables import METADATA, JsonValue, UtcDateTime

ORGANISATIONS = Table(
    "organisations",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("kind", String(16), nullable=False, comment="requesting or consulting (KZ §8, §11)"),
    Column("zone", String(64), nullable=False, comment="IANA time zone for showing moments"),
)

PROFILES = Table(
    "profiles",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("takes", JsonValue, nullable=False, comment="list of [modality, body part, default]"),
    Column("last_turn", Integer, nullable=False, comment="the highest turn given on this list"),
    Column("look_again_at", UtcDateTime, nullable=True, comment="while cases wait for somebody"),
    Index("ix_profiles_look_again_at", "look_again_at"),
)

READERS = Table(
    "readers",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("organisation_id", ForeignKey("organisations.id"), nullable=False),
    Column("max_open", Integer, nullable=False, comment="cases offered or held at once"),
    Column("present", Boolean, nullable=False),
    Column("present_until", UtcDateTime, nullable=True, comment="end of the shift"),
    Column("unanswered", Integer, nullable=False, comment="offers in a row that ran out"),
    CheckConstraint("max_open >= 0", name="max_open_not_negative"),
    Index("ix_readers_organisation_id", "organisation_id"),
)

COMPETENCES = Table(
    "reader_competences",
    METADATA,
    Column("profile", ForeignKey("profiles.id"), primary_key=True),
    Column("reader_id", ForeignKey("readers.id"), primary_key=True),
    Column("valid_from", UtcDateTime, nullable=True),
    Column("valid_until", UtcDateTime, nullable=True),
    Column("listed", Boolean, nullable=False, comment="false: left the list, the turn is kept"),
    Column("turn", Integer, nullable=False, comment="grows with every assignment on the list"),
    UniqueConstraint("profile", "turn"),
    Index("ix_reader_competences_reader_id", "reader_id"),
)

CONFLICTS = Table(
    "reader_conflicts",
    METADATA,
    Column("patient_ref", String(36), primary_key=True),
    Column("reader_id", ForeignKey("readers.id"), primary_key=True),
    Column("kind", String(32), nullable=False, comment="treating doctor, relative, other"),
)

REQUESTS = Table(
    "requests",
    METADATA,
    Column("id", String(36), primary_key=True),
    Column("organisation_id", ForeignKey("organisations.id"), nullable=False),
    Column("patient_ref", String(36), nullable=False, comment="empty: not identified"),
    Column("accession", String(64), nullable=False, comment="(0008,0050); empty: none"),
    Column("study_uid", String(64), nullable=True, comment="(0020,000D) if the site names it"),
    Column("modality", String(16), nullable=False),
    Column("station_ae_title", String(16), nullable=False),
    Column("procedure", String(200), nullable=False),
    Column("scheduled_at", UtcDateTime, nullable=True),
    Column("profile", String(64), nullable=True),
    Column("form", String(16), nullable=False, comment="emergent, urgent or planned (KZ §6)"),
    Column("named_reader", ForeignKey("readers.id"), nullable=True),
    Column("payer", String(32), nullable=True, comment="KZ §41-43"),
    Column("digest", String(64), nullable=False, comment="of the content as submitted"),
    Column("state", String(16), nullable=False),
    Column("state_reason", String(64), nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
    Index("ix_requests_accession", "accession"),
    Index("ix_requests_study_uid", "study_uid"),
    Index("ix_requests_state_received_at", "state", "received_at"),
    Index("ix_requests_organisation_id_received_at", "organisation_id", "received_at"),
)

DESK = Table(
    "desk_studies",
    METADATA,
    Column("study_uid", String(64), primary_key=True),
    Column("manifest_version", Integer, nullable=False),
    Column("accession", String(64), nullable=False),
    Column("patient_ref", String(36), nullable=False),
    Column("request_id", String(36), nullable=True, comment="the request that nearly fits"),
    Column("reason", String(64), nullable=False),
    Column("sentence", Text, nullable=False),
    Column("since", UtcDateTime, nullable=False),
    Index("ix_desk_studies_accession", "accession"),
    Index("ix_desk_studies_since", "since"),
)

ARRIVALS = Table(
    "case_arrivals",
    METADATA,
    Column("number", Integer, primary_key=True, comment="ties in the order go by this number"),
    Column("request_id", ForeignKey("requests.id"), nullable=False, unique=True),
    sqlite_autoincrement=True,
)

CASES = Table(
    "cases",
    METADATA,
    Column("id", String(36), primary_key=True),
    Column("request_id", ForeignKey("requests.id"), nullable=False, unique=True),
    Column("study_uid", String(64), nullable=False),
    Column("manifest_version", Integer, nullable=False, comment="what is to be read"),
    Column("patient_ref", String(36), nullable=False),
    Column("accession", String(64), nullable=False),
    Column("site_id", ForeignKey("organisations.id"), nullable=False),
    Column("profile", ForeignKey("profiles.id"), nullable=False),
    Column("form", String(16), nullable=False),
    Column("modality", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("state_reason", String(64), nullable=False),
    Column("legal_clock_start", UtcDateTime, nullable=False, comment="KZ §13"),
    Column("patient_clock_start", UtcDateTime, nullable=False, comment="first submission"),
    Column("due", UtcDateTime, nullable=False),
    Column("arrival_number", Integer, nullable=False, unique=True),
    Column("opened_at", UtcDateTime, nullable=False),
    Column("moved_at", UtcDateTime, nullable=False),
    Column("named_reader", ForeignKey("readers.id"), nullable=True, comment="KZ §20"),
    Column("holder", ForeignKey("readers.id"), nullable=True),
    Column("held_until", UtcDateTime, nullable=True),
    Column("offered_to", ForeignKey("readers.id"), nullable=True),
    Column("offered_until", UtcDateTime, nullable=True),
    Column("triage_level", String(16), nullable=True, comment="empty: not settled"),
    Column("late_version", Integer, nullable=True, comment="images that came after reading began"),
    Column("signed_by", String(64), nullable=True),
    Column("report_id", String(36), nullable=True),
    Column("report_version", Integer, nullable=True),
    Column("filed_at", UtcDateTime, nullable=True),
    Column("notified_at", UtcDateTime, nullable=True),
    Column("asking", Integer, nullable=False, comment="how often the round of all was begun"),
    Column("revision", Integer, nullable=False, comment="a change of an older one is refused"),
    Column("queue_rank", Integer, nullable=False, comment="0: threat to life, before all else"),
    # One claim and one offer at most: they live in the row of the case, only in their state.
    CheckConstraint("(state = 'reading') = (holder IS NOT NULL)", name="held_while_reading"),
    CheckConstraint("(holder IS NULL) = (held_until IS NULL)", name="held_until_a_moment"),
    CheckConstraint("(state = 'offered') = (offered_to IS NOT NULL)", name="offered_to_one"),
    CheckConstraint("(offered_to IS NULL) = (offered_until IS NULL)", name="offered_until"),
    # The queue of a profile is read from its head many times a second, whatever its length.
    Index(
        "ix_cases_queue",
        "profile",
        "queue_rank",
        "due",
        "arrival_number",
        sqlite_where=text("state = 'queued'"),
        postgresql_where=text("state = 'queued'"),
    ),
    Index(
        "ix_cases_offers_running_out",
        "offered_until",
        sqlite_where=text("state = 'offered'"),
        postgresql_where=text("state = 'offered'"),
    ),
    Index(
        "ix_cases_leases_running_out",
        "held_until",
        sqlite_where=text("state = 'reading'"),
        postgresql_where=text("state = 'reading'"),
    ),
    Index(
        "ix_cases_awaiting_triage",
        "opened_at",
        sqlite_where=text("state = 'received'"),
        postgresql_where=text("state = 'received'"),
    ),
    Index("ix_cases_state_arrival_number", "state", "arrival_number"),
    Index("ix_cases_profile_arrival_number", "profile", "arrival_number"),
    Index("ix_cases_site_id_arrival_number", "site_id", "arrival_number"),
    Index("ix_cases_holder", "holder"),
    Index("ix_cases_offered_to", "offered_to"),
    Index("ix_cases_signed_by_arrival_number", "signed_by", "arrival_number"),
    Index("ix_cases_study_uid", "study_uid"),
    Index("ix_cases_patient_ref", "patient_ref"),
)

CASE_MOVES = Table(
    "case_moves",
    METADATA,
    Column("case_id", ForeignKey("cases.id"), primary_key=True),
    Column("revision", Integer, primary_key=True, comment="of the case after the move"),
    Column("source", String(16), nullable=True, comment="empty: the case was opened"),
    Column("target", String(16), nullable=False),
    Column("reason", String(64), nullable=False),
    Column("reader_id", String(64), nullable=True, comment="whom the move is about"),
    Column("note", Text, nullable=False, comment="what a person wrote to explain it"),
    Column("actor", String(128), nullable=False),
    Column("at", UtcDateTime, nullable=False),
)

OFFERS = Table(
    "case_offers",
    METADATA,
    Column("id", String(36), primary_key=True),
    Column("case_id", ForeignKey("cases.id"), nullable=False),
    Column("reader_id", ForeignKey("readers.id"), nullable=False),
    Column("profile", ForeignKey("profiles.id"), nullable=False),
    Column("asking", Integer, nullable=False),
    Column("turn_before", Integer, nullable=False, comment="given back on a justified decline"),
    Column("offered_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime, nullable=True),
    Column("outcome", String(16), nullable=True),
    Column("reason", String(64), nullable=True),
    Index("ix_case_offers_case_id_asking", "case_id", "asking"),
    Index("ix_case_offers_reader_id_offered_at", "reader_id", "offered_at"),
    Index(
        "uq_case_offers_one_open",
        "case_id",
        unique=True,
        sqlite_where=text("ended_at IS NULL"),
        postgresql_where=text("ended_at IS NULL"),
    ),
)

WAKES = Table(
    "profile_wakes",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("profile", ForeignKey("profiles.id"), nullable=False),
    Index("ix_profile_wakes_profile", "profile"),
    sqlite_autoincrement=True,
    comment="inserted by whatever may let a case move; inserting never waits for a lock",
)

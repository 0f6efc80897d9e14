"""Triage plans, runs and results."""

from sqlalchemy import Column, Float, ForeignKey, Index, Integer, String, Table, text

from storage.tables import DIGEST, METADATA, JsonValue, UtcDateTime

OPEN = text("state IN ('planned', 'running')")

TRIAGE_PLANS = Table(
    "triage_plans",
    METADATA,
    Column("case_id", String(36), primary_key=True),
    Column("study_uid", String(64), nullable=False),
    Column("cause", String(36), nullable=False, comment="the fact that opened the case"),
    Column("planned_at", UtcDateTime, nullable=False),
    Column("settled_at", UtcDateTime, nullable=True, comment="set with TriageSettled, once"),
    Column("outcome", String(10), nullable=True, comment="settled, skipped, failed"),
    Column("level", String(10), nullable=True),
    Column("reason", String(60), nullable=True),
)

TRIAGE_RUNS = Table(
    "triage_runs",
    METADATA,
    Column("id", String(36), primary_key=True),
    Column("case_id", String(36), ForeignKey("triage_plans.case_id"), nullable=False),
    Column("study_uid", String(64), nullable=False),
    Column("manifest_version", Integer, nullable=False),
    Column("manifest_digest", String(64), nullable=False),
    Column("model_id", String(48), nullable=False),
    Column("model_version", String(32), nullable=False),
    Column("weights_digest", String(64), nullable=False),
    Column("state", String(10), nullable=False),
    Column("reason", String(60), nullable=False, comment="constant code; empty until it ended"),
    Column("level", String(10), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("due_at", UtcDateTime, nullable=False),
    Column("holder", String(36), nullable=True, comment="the claim, not the machine"),
    Column("held_until", UtcDateTime, nullable=True),
    Column("heartbeat_at", UtcDateTime, nullable=True),
    Column("planned_at", UtcDateTime, nullable=False),
    Column("moved_at", UtcDateTime, nullable=False),
    Column("sr_key", String(120), nullable=True, comment="structured report, object store key"),
    Column("sr_sha256", String(64), nullable=True),
    Column("sr_instance_uid", String(64), nullable=True),
    Index("ix_triage_runs_case_id", "case_id"),
    # The worker looks here several times a second: only the few open runs are in it.
    Index("ix_triage_runs_open", "due_at", sqlite_where=OPEN, postgresql_where=OPEN),
)

TRIAGE_RESULTS = Table(
    "triage_results",
    METADATA,
    Column("instance_uid", String(64), primary_key=True),
    Column("model_id", String(48), primary_key=True),
    Column("model_version", String(32), primary_key=True),
    Column("run_id", String(36), ForeignKey("triage_runs.id"), nullable=False, comment="the first"),
    Column("instance_digest", DIGEST, nullable=False, comment="of the Part 10 file scored"),
    Column("weights_digest", String(64), nullable=False),
    Column("refusal", String(60), nullable=True, comment="why it was not scored; else null"),
    Column("scores", JsonValue, nullable=False, comment="score by name, each from 0 to 1"),
    Column("latency_ms", Float, nullable=False, comment="reading, decoding and inference"),
    Column("scored_at", UtcDateTime, nullable=False),
    Index("ix_triage_results_run_id", "run_id"),
)

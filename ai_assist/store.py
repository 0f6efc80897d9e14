"""Rows of triage plans, runs and results."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, literal, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import RowMapping

from ai_assist.errors import RunUnknown
from ai_assist.level import Level
from ai_assist.runs import RunState, TriageRun
from storage.engine import Transaction
from storage.signs import Sign
from storage.tables import UtcDateTime
from storage.tables.ai_assist import OPEN, TRIAGE_PLANS, TRIAGE_RESULTS, TRIAGE_RUNS


@dataclass(frozen=True, slots=True, kw_only=True)
class TriagePlan:
    """What is known of the triage of one case; the last four are None until it settled."""

    case_id: str
    study_uid: str
    cause: str
    planned_at: datetime
    settled_at: datetime | None = None
    outcome: str | None = None
    level: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceResult:
    """What one model gave for one instance: scores by name, or the reason for none."""

    instance_uid: str
    model_id: str
    model_version: str
    run_id: str
    instance_digest: str
    weights_digest: str
    refusal: str | None
    scores: Mapping[str, float]
    latency_ms: float
    scored_at: datetime


def add_plan(tx: Transaction, plan: TriagePlan) -> bool:
    """Add the plan of a case; False if it has one already."""
    insert = _insert(tx)(TRIAGE_PLANS).values(asdict(plan)).on_conflict_do_nothing()
    return tx.execute(insert.returning(TRIAGE_PLANS.c.case_id)).first() is not None


def locked_plan(tx: Transaction, case_id: str) -> TriagePlan | None:
    """Return the plan of a case and keep others from settling it until this ends."""
    query = select(TRIAGE_PLANS).where(TRIAGE_PLANS.c.case_id == case_id).with_for_update()
    row = tx.execute(query).mappings().first()
    return None if row is None else TriagePlan(**row)


def plan_of(tx: Transaction, case_id: str) -> TriagePlan | None:
    """Return the plan of a case."""
    row = tx.execute(select(TRIAGE_PLANS).where(TRIAGE_PLANS.c.case_id == case_id)).mappings()
    found = row.first()
    return None if found is None else TriagePlan(**found)


def save_plan(tx: Transaction, plan: TriagePlan) -> None:
    """Save a changed plan."""
    values = asdict(plan)
    tx.execute(update(TRIAGE_PLANS).where(TRIAGE_PLANS.c.case_id == plan.case_id).values(values))


def add_runs(tx: Transaction, runs: Iterable[TriageRun]) -> None:
    """Add planned runs; those that are there already stay as they are."""
    rows = [_row(run) for run in runs]
    if rows:
        tx.execute(_insert(tx)(TRIAGE_RUNS).on_conflict_do_nothing(), rows)


def run_of(tx: Transaction, run_id: str) -> TriageRun:
    """Return a run and lock it.

    Raises
    ------
    RunUnknown
        There is no such run.
    """
    query = select(TRIAGE_RUNS).where(TRIAGE_RUNS.c.id == run_id).with_for_update()
    row = tx.execute(query).mappings().first()
    if row is None:
        raise RunUnknown("there is no such triage run", run_id=run_id)
    return _run(row)


def runs_of(tx: Transaction, case_id: str) -> list[TriageRun]:
    """Return the runs of a case in order of model and version."""
    found = tx.execute(
        select(TRIAGE_RUNS)
        .where(TRIAGE_RUNS.c.case_id == case_id)
        .order_by(TRIAGE_RUNS.c.model_id, TRIAGE_RUNS.c.model_version)
    )
    return [_run(row) for row in found.mappings()]


def save_run(tx: Transaction, run: TriageRun) -> None:
    """Save a changed run."""
    tx.execute(update(TRIAGE_RUNS).where(TRIAGE_RUNS.c.id == run.id).values(_row(run)))


def due_run_ids(tx: Transaction, *, limit: int) -> list[str]:
    """Return runs that a worker may claim now: planned and due, or with a lease that ran out."""
    due = _runs_due(literal(tx.at, UtcDateTime()))
    return list(tx.execute(due.order_by(TRIAGE_RUNS.c.due_at).limit(limit)).scalars())


def _runs_due(at: ColumnElement[datetime]) -> Select[tuple[str]]:
    waiting = and_(TRIAGE_RUNS.c.state == "planned", TRIAGE_RUNS.c.due_at <= at)
    left = and_(TRIAGE_RUNS.c.state == "running", TRIAGE_RUNS.c.held_until <= at)
    # The very words of the index: with open values SQLite would go through all runs.
    return select(TRIAGE_RUNS.c.id).where(OPEN, or_(waiting, left))


RUN_SIGNS = (Sign(_runs_due),)


def add_result(tx: Transaction, result: InstanceResult) -> None:
    """Keep the first result of (instance, model, version); a further one changes nothing."""
    values = asdict(result)
    tx.execute(_insert(tx)(TRIAGE_RESULTS).values(values).on_conflict_do_nothing())


def results_of(
    tx: Transaction, instance_uids: Sequence[str], *, model_id: str, model_version: str
) -> dict[str, InstanceResult]:
    """Return what a model version gave for some instances, by instance."""
    found = tx.execute(
        select(TRIAGE_RESULTS).where(
            TRIAGE_RESULTS.c.instance_uid.in_(instance_uids),
            TRIAGE_RESULTS.c.model_id == model_id,
            TRIAGE_RESULTS.c.model_version == model_version,
        )
    )
    return {row["instance_uid"]: InstanceResult(**row) for row in found.mappings()}


def _insert(tx: Transaction) -> Any:
    return sqlite.insert if tx.dialect == "sqlite" else postgresql.insert


def _row(run: TriageRun) -> dict[str, object]:
    return asdict(run) | {"state": run.state.value, "level": run.level.value}


def _run(row: RowMapping) -> TriageRun:
    typed = {"state": RunState(row["state"]), "level": Level(row["level"])}
    return TriageRun(**{**row, **typed})

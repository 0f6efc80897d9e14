"""One run of one model over one case; pure.

A run is owned by its lease, not by a message: whoever claims it works on it until the lease runs
out, and renews it while alive.  A worker that dies simply stops renewing, and the next one starts
over; what it already stored is found by (instance, model, version) and not made twice.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from ai_assist.card import ModelCard
from ai_assist.level import Level
from kernel.errors import Refused
from kernel.ids import derived

LEASE = timedelta(seconds=90)
MAX_ATTEMPTS = 4
FIRST_PAUSE = timedelta(seconds=2)


class RunState(StrEnum):
    """Where a run stands."""

    PLANNED = "planned"  # waits for a worker
    RUNNING = "running"  # held by a worker until its lease runs out
    SETTLED = "settled"  # the model gave its scores
    SKIPPED = "skipped"  # no instance of the study may be given to the model
    FAILED = "failed"  # a fault of the model, its files or the pixels


MOVES: dict[RunState, frozenset[RunState]] = {
    RunState.PLANNED: frozenset({RunState.RUNNING, RunState.FAILED}),
    RunState.RUNNING: frozenset(
        {
            RunState.RUNNING,  # taken over after the lease ran out
            RunState.PLANNED,  # put back after something outside failed
            RunState.SETTLED,
            RunState.SKIPPED,
            RunState.FAILED,
        }
    ),
    RunState.SETTLED: frozenset(),
    RunState.SKIPPED: frozenset(),
    RunState.FAILED: frozenset(),
}
ENDED = frozenset(state for state, targets in MOVES.items() if not targets)


class RunMoveRefused(Refused):
    """The run may not move from where it stands to there."""

    code = "ai_assist.run_move_refused"

    def __init__(self, run: "TriageRun", target: RunState) -> None:
        super().__init__(
            f"a triage run does not move from {run.state} to {target}",
            run_id=run.id,
            source=run.state.value,
            target=target.value,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TriageRun:
    """One planned, running or ended run.

    `attempts` counts claims.  `holder` names the claim, so that a worker that was away too long
    notices.  `reason` is a constant code, empty until the run ended.
    """

    id: str
    case_id: str
    study_uid: str
    manifest_version: int
    manifest_digest: str
    model_id: str
    model_version: str
    weights_digest: str
    state: RunState
    reason: str
    level: Level
    attempts: int
    due_at: datetime
    holder: str | None
    held_until: datetime | None
    heartbeat_at: datetime | None
    planned_at: datetime
    moved_at: datetime
    sr_key: str | None
    sr_sha256: str | None
    sr_instance_uid: str | None


@dataclass(frozen=True, slots=True)
class StoredReport:
    """Where the structured report of a run lies."""

    key: str
    sha256: str
    instance_uid: str


def plan(
    card: ModelCard,
    *,
    case_id: str,
    study_uid: str,
    manifest_version: int,
    manifest_digest: str,
    at: datetime,
) -> TriageRun:
    """Return the run of a model over a case; planning twice gives the same id."""
    return TriageRun(
        id=derived("triage-run", case_id, card.id, card.version),
        case_id=case_id,
        study_uid=study_uid,
        manifest_version=manifest_version,
        manifest_digest=manifest_digest,
        model_id=card.id,
        model_version=card.version,
        weights_digest=card.weights_digest,
        state=RunState.PLANNED,
        reason="",
        level=Level.NONE,
        attempts=0,
        due_at=at,
        holder=None,
        held_until=None,
        heartbeat_at=None,
        planned_at=at,
        moved_at=at,
        sr_key=None,
        sr_sha256=None,
        sr_instance_uid=None,
    )


def is_free(run: TriageRun, *, at: datetime) -> bool:
    """Say whether a worker may claim the run now."""
    if run.state is RunState.PLANNED:
        return run.due_at <= at
    return run.state is RunState.RUNNING and run.held_until is not None and run.held_until <= at


def claim(run: TriageRun, *, holder: str, at: datetime, lease: timedelta = LEASE) -> TriageRun:
    """Give a free run to a worker until the lease runs out.

    Raises
    ------
    RunMoveRefused
        Somebody holds it, it is not due yet, or it ended.
    """
    if not is_free(run, at=at):
        raise RunMoveRefused(run, RunState.RUNNING)
    return replace(
        _moved(run, RunState.RUNNING, at=at),
        attempts=run.attempts + 1,
        holder=holder,
        held_until=at + lease,
        heartbeat_at=at,
    )


def is_worn_out(run: TriageRun) -> bool:
    """Say whether the run was claimed more often than it may be."""
    return run.attempts > MAX_ATTEMPTS


def renew(run: TriageRun, *, at: datetime, lease: timedelta = LEASE) -> TriageRun:
    """Return the run with its lease counted from now."""
    if run.state is not RunState.RUNNING:
        raise RunMoveRefused(run, RunState.RUNNING)
    return replace(run, held_until=at + lease, heartbeat_at=at)


def put_back(run: TriageRun, *, reason: str, at: datetime) -> TriageRun:
    """Wait and try again after something outside failed; after the last attempt, fail."""
    if run.attempts >= MAX_ATTEMPTS:
        return fail(run, reason=reason, at=at)
    pause = FIRST_PAUSE * 2 ** (run.attempts - 1)
    return replace(
        _moved(run, RunState.PLANNED, at=at),
        due_at=at + pause,
        holder=None,
        held_until=None,
    )


def settle(
    run: TriageRun, *, level: Level, reason: str, report: StoredReport, at: datetime
) -> TriageRun:
    """End the run with what the model said."""
    return replace(
        _ended(run, RunState.SETTLED, reason=reason, at=at),
        level=level,
        sr_key=report.key,
        sr_sha256=report.sha256,
        sr_instance_uid=report.instance_uid,
    )


def skip(run: TriageRun, *, reason: str, at: datetime) -> TriageRun:
    """End the run as none of the study's images may be given to the model."""
    return _ended(run, RunState.SKIPPED, reason=reason, at=at)


def fail(run: TriageRun, *, reason: str, at: datetime) -> TriageRun:
    """End the run by a fault; its level is 'none', so the case goes on as if there were no AI."""
    return _ended(run, RunState.FAILED, reason=reason, at=at)


def _ended(run: TriageRun, target: RunState, *, reason: str, at: datetime) -> TriageRun:
    return replace(_moved(run, target, at=at), reason=reason, holder=None, held_until=None)


def _moved(run: TriageRun, target: RunState, *, at: datetime) -> TriageRun:
    if target not in MOVES[run.state]:
        raise RunMoveRefused(run, target)
    return replace(run, state=target, moved_at=at)

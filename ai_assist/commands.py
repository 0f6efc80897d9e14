"""What changes the triage of a case; each takes the transaction and never commits."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import timedelta

from ai_assist import runs, store
from ai_assist.card import Mode, ModelCard
from ai_assist.errors import LeaseLost
from ai_assist.level import Level, highest
from ai_assist.runs import ENDED, RunState, TriageRun
from ai_assist.store import InstanceResult, TriagePlan
from kernel.errors import NotFound
from kernel.facts import CaseOpened, TriageSettled
from kernel.people import Actor, Role
from storage import archive, audit, outbox
from storage.archive import Manifest
from storage.engine import Transaction

AI_ASSIST = Actor(ref="system:ai_assist", role=Role.SYSTEM)


def plan_triage(
    tx: Transaction, opened: CaseOpened, cards: Sequence[ModelCard]
) -> tuple[TriageRun, ...]:
    """Plan one run for each model that may see a case; with none, settle it as skipped at once.

    Whether an image may be given to a model in every respect is known only from its header, so
    here the modalities of the study decide, and the rest is decided by the run.  Planning the
    same case again changes nothing.
    """
    plan = TriagePlan(
        case_id=opened.case_id,
        study_uid=opened.study_uid,
        cause=opened.id,
        planned_at=tx.at,
    )
    if not store.add_plan(tx, plan):
        return tuple(store.runs_of(tx, opened.case_id))
    try:
        manifest = archive.manifest(tx, opened.study_uid, opened.manifest_version)
    except NotFound:
        _settle_case(tx, plan, outcome="skipped", level=Level.NONE, reason="study_unknown")
        return ()
    eligible = [card for card in cards if why_not_planned(card, manifest) is None]
    if not eligible:
        reason = _first_reason(cards, manifest)
        _settle_case(tx, plan, outcome="skipped", level=Level.NONE, reason=reason)
        return ()
    planned = tuple(
        runs.plan(
            card,
            case_id=opened.case_id,
            study_uid=opened.study_uid,
            manifest_version=manifest.version,
            manifest_digest=manifest.digest,
            at=tx.at,
        )
        for card in eligible
    )
    store.add_runs(tx, planned)
    for run in planned:
        _record(tx, run, "triage.planned")
    return planned


def why_not_planned(card: ModelCard, manifest: Manifest) -> str | None:
    """Return why a model gets no run over a study, None if it gets one."""
    if card.effective_mode is Mode.OFF:
        return "model_off"
    if not set(card.eligibility.modalities) & set(manifest.modalities):
        return "no_model_for_modality"
    return None


def claim_run(
    tx: Transaction, run_id: str, *, holder: str, lease: timedelta = runs.LEASE
) -> TriageRun | None:
    """Claim a run for `holder`; None if it is held, not due, or ended.

    A run that was claimed too often, because it takes its worker down each time, fails here.
    """
    run = store.run_of(tx, run_id)
    if not runs.is_free(run, at=tx.at):
        return None
    claimed = runs.claim(run, holder=holder, at=tx.at, lease=lease)
    store.save_run(tx, claimed)
    if runs.is_worn_out(claimed):
        end_run(tx, runs.fail(claimed, reason="worn_out", at=tx.at), holder=holder)
        return None
    return claimed


def keep_result(
    tx: Transaction, run: TriageRun, result: InstanceResult, *, lease: timedelta = runs.LEASE
) -> None:
    """Store the result of one instance and renew the lease.

    Raises
    ------
    LeaseLost
        Another worker has the run by now.
    """
    held = _held(tx, run.id, holder=run.holder)
    store.add_result(tx, result)
    store.save_run(tx, runs.renew(held, at=tx.at, lease=lease))


def put_back_run(tx: Transaction, run: TriageRun, *, reason: str) -> None:
    """Have a run tried again later, or failed after its last attempt."""
    held = _held(tx, run.id, holder=run.holder)
    waiting = runs.put_back(held, reason=reason, at=tx.at)
    if waiting.state in ENDED:
        end_run(tx, waiting, holder=run.holder)
    else:
        store.save_run(tx, waiting)


def end_run(tx: Transaction, ended: TriageRun, *, holder: str | None) -> None:
    """Save an ended run; with the last one of the case, its triage is settled, once.

    Raises
    ------
    LeaseLost
        Another worker has the run by now.
    """
    plan = store.locked_plan(tx, ended.case_id)  # first, so that two last runs see each other
    _held(tx, ended.id, holder=holder)
    store.save_run(tx, ended)
    _record(tx, ended, f"triage.run_{ended.state.value}")
    together = store.runs_of(tx, ended.case_id)
    if plan is None or plan.settled_at is not None or any(r.state not in ENDED for r in together):
        return
    outcome, reason = _outcome(together)
    level = highest(run.level for run in together)
    _settle_case(
        tx, plan, outcome=outcome, level=level, reason=reason, run_ids=[r.id for r in together]
    )


def _outcome(together: Sequence[TriageRun]) -> tuple[str, str]:
    """Return (outcome, reason) of a case; what was found counts before what went wrong."""
    for state in (RunState.SETTLED, RunState.FAILED, RunState.SKIPPED):
        those = [run for run in together if run.state is state]
        if those:
            loudest = highest(run.level for run in those)
            return state.value, next(run.reason for run in those if run.level is loudest)
    return RunState.SKIPPED.value, "nothing_planned"


def _settle_case(
    tx: Transaction,
    plan: TriagePlan,
    *,
    outcome: str,
    level: Level,
    reason: str,
    run_ids: Iterable[str] = (),
) -> None:
    store.save_plan(
        tx,
        replace(plan, settled_at=tx.at, outcome=outcome, level=level.value, reason=reason),
    )
    fact = TriageSettled(
        subject=plan.case_id,
        at=tx.at,
        actor=AI_ASSIST.ref,
        cause=plan.cause,
        case_id=plan.case_id,
        outcome=outcome,
        level=level.value,
        reason=reason,
        run_ids=list(run_ids),
    )
    outbox.append(tx, fact)
    audit.record(
        tx,
        actor=AI_ASSIST,
        action="triage.settled",
        subject=f"case:{plan.case_id}",
        case_id=plan.case_id,
        detail={"outcome": outcome, "level": level.value, "reason": reason},
    )


def _held(tx: Transaction, run_id: str, *, holder: str | None) -> TriageRun:
    run = store.run_of(tx, run_id)
    if run.state is not RunState.RUNNING or run.holder != holder:
        raise LeaseLost("another worker has taken this run over", run_id=run_id)
    return run


def _first_reason(cards: Sequence[ModelCard], manifest: Manifest) -> str:
    reasons = (why_not_planned(card, manifest) for card in cards)
    return next((reason for reason in reasons if reason), "no_model_on_the_shelf")


def _record(tx: Transaction, run: TriageRun, action: str) -> None:
    audit.record(
        tx,
        actor=AI_ASSIST,
        action=action,
        subject=f"triage:{run.id}",
        case_id=run.case_id,
        outcome=audit.Outcome.FAILED if run.state is RunState.FAILED else audit.Outcome.SUCCESS,
        detail={
            "model": run.model_id,
            "version": run.model_version,
            "weights": run.weights_digest,
            "manifest": run.manifest_version,
            "level": run.level.value,
            "reason": run.reason,
        },
    )

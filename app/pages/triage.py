"""What the models said of a case, as far as it may be shown; always unverified."""

from dataclasses import dataclass

from ai_assist import store as ai_store
from storage.engine import Transaction
from worklist.case import Case

_HIDDEN = "raised_in_shadow"


@dataclass(frozen=True, slots=True)
class Said:
    """One model's word: which model, how loud, and why."""

    model: str
    version: str
    state: str
    level: str
    reason: str


@dataclass(frozen=True, slots=True)
class TriageShown:
    """The level of the case and what each model said; a model in shadow says nothing here."""

    level: str | None
    outcome: str
    reason: str
    models: tuple[Said, ...]


def shown_triage(tx: Transaction, case: Case) -> TriageShown:
    """Gather what may be shown of the triage of a case."""
    plan = ai_store.plan_of(tx, case.id)
    models = tuple(
        Said(run.model_id, run.model_version, run.state.value, run.level.value, run.reason)
        for run in ai_store.runs_of(tx, case.id)
        if run.reason != _HIDDEN
    )
    if plan is None or plan.settled_at is None:
        return TriageShown(case.triage_level, "pending", "", models)
    hidden = plan.reason == _HIDDEN
    return TriageShown(
        case.triage_level, plan.outcome or "", "" if hidden else plan.reason or "", models
    )

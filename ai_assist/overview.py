"""What the triage of a case came to, for the pages that show it."""

from dataclasses import dataclass
from datetime import datetime

from ai_assist import store
from ai_assist.errors import ModelDisabled, ModelUnknown
from ai_assist.level import Level
from ai_assist.runs import TriageRun
from ai_assist.shelf import Shelf
from ai_assist.triage import Hint, hints_of
from storage import archive
from storage.engine import Transaction


@dataclass(frozen=True, slots=True)
class RunOverview:
    """One run and the hints it may show; hints of a model in shadow are not among them."""

    run: TriageRun
    hints: tuple[Hint, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TriageOverview:
    """The triage of a case; outcome, level and reason are None until it settled."""

    case_id: str
    settled_at: datetime | None
    outcome: str | None
    level: str | None
    reason: str | None
    runs: tuple[RunOverview, ...]


def triage_of(tx: Transaction, case_id: str, shelf: Shelf) -> TriageOverview | None:
    """Return the triage of a case, None if the case is not known here."""
    plan = store.plan_of(tx, case_id)
    if plan is None:
        return None
    runs = tuple(RunOverview(run, _hints(tx, run, shelf)) for run in store.runs_of(tx, case_id))
    return TriageOverview(
        case_id=case_id,
        settled_at=plan.settled_at,
        outcome=plan.outcome,
        level=plan.level,
        reason=plan.reason,
        runs=runs,
    )


def _hints(tx: Transaction, run: TriageRun, shelf: Shelf) -> tuple[Hint, ...]:
    try:
        card = shelf.card(run.model_id, run.model_version)
    except (ModelUnknown, ModelDisabled):
        return ()  # without its card the scores cannot be read; the level of the run still stands
    manifest = archive.manifest(tx, run.study_uid, run.manifest_version)
    results = store.results_of(
        tx,
        [entry.instance_uid for entry in manifest.entries],
        model_id=run.model_id,
        model_version=run.model_version,
    )
    hints = (
        hint
        for result in results.values()
        if result.refusal is None
        for hint in hints_of(card, result.instance_uid, result.scores)
    )
    return tuple(hint for hint in hints if hint.level is not Level.NONE)

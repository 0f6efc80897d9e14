"""Is a study whole?  A pure judgement with its reason.

Nothing in a C-STORE says that it was the last one.  What speaks for it: all that its modality or
sender announced is here; the associations that brought the study are closed; no step is in
progress; nothing came for the quiet time of the policy, or for the one that its device has taught;
and the study is what its order asked for.  What bounds the wait: a study never waits longer than
`longest_wait` after its first unfrozen instance; then it is settled as overdue, and a late instance
amends it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from dicom_node.orders import ScheduledStep


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletenessPolicy:
    """How long the node waits, and for what."""

    quiet: timedelta = timedelta(seconds=20)
    """No instance for so long, and no association open: the study is whole."""

    unordered_quiet: timedelta | None = None
    """The same for a study that no request announced; None: no longer than `quiet`."""

    idle_association: timedelta = timedelta(minutes=2)
    """An open association that brought nothing for so long does not hold the study up."""

    performing: timedelta = timedelta(minutes=10)
    """So long after the last instance a step that is in progress may go on."""

    missing: timedelta = timedelta(minutes=10)
    """So long after the last instance those that were announced may still come."""

    shortest_learnt: timedelta = timedelta(seconds=5)
    """What a device teaches is never less,"""

    longest_learnt: timedelta = timedelta(minutes=2)
    """and never more."""

    longest_wait: timedelta = timedelta(minutes=30)
    """From the first instance that no manifest holds: longer, and the study is overdue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """What came of a study since its last manifest."""

    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True)
class Complete:
    """The study is whole."""

    why: str


@dataclass(frozen=True, slots=True)
class WaitUntil:
    """Judge again at `at`, or earlier if something changes; `missing` instances are announced."""

    at: datetime
    why: str
    missing: int = 0


@dataclass(frozen=True, slots=True)
class Overdue:
    """The study never came to rest; it is settled as it is."""

    why: str


Verdict = Complete | WaitUntil | Overdue


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What speaks for a study beside its arrivals: the word of those who made and sent it."""

    missing: int = 0
    """Instances that were announced and are not here."""

    whole: bool = False
    """Somebody announced all there is of it."""

    performing: bool = False
    """A modality says that it goes on (MPPS in progress)."""

    learnt: timedelta | None = None
    """The quiet time that its device has taught; None while it is not known."""


def judge(
    arrivals: Arrivals,
    steps: Sequence[ScheduledStep],
    *,
    in_flight: int,
    policy: CompletenessPolicy,
    at: datetime,
    told: Told | None = None,
) -> Verdict:
    """Judge a study by its arrivals, its order, its open associations, the policy and the time.

    Where all that was announced is here, the study is whole at once.  All other evidence only
    says how long to wait after the last arrival, and never beyond the bound.

    Parameters
    ----------
    steps
        Scheduled steps that the study belongs to; none for an unannounced one.
    in_flight
        Open associations that brought instances of it.
    """
    told = told or Told()
    if told.whole and not told.missing and not told.performing:
        return Complete("all_announced_are_here")
    latest = arrivals.first_at + policy.longest_wait
    announced = any(step.is_open for step in steps)
    pause, why = max(_waits(told, policy, announced, in_flight))
    rest_at = arrivals.last_at + pause
    if at >= rest_at:
        return Overdue("instances_missing") if told.missing else Complete(_reason(announced, why))
    if at >= latest:
        return Overdue(_OVERDUE.get(why, "instances_kept_coming"))
    return WaitUntil(min(rest_at, latest), why, told.missing)


_OVERDUE = {"instances_missing": "instances_missing", "step_in_progress": "step_in_progress"}


def _waits(
    told: Told, policy: CompletenessPolicy, announced: bool, in_flight: int
) -> Iterator[tuple[timedelta, str]]:
    """Yield how long after the last arrival each kind of evidence makes the study wait."""
    if not announced and policy.unordered_quiet is not None:
        yield policy.unordered_quiet, "quiet_time"
    elif told.learnt is not None:
        yield told.learnt, "learnt_quiet_time"
    else:
        yield policy.quiet, "quiet_time"
    if in_flight:
        yield policy.idle_association, "association_open"
    if told.performing:
        yield policy.performing, "step_in_progress"
    if told.missing:
        yield policy.missing, "instances_missing"


def _reason(announced: bool, why: str) -> str:
    if why == "association_open":
        return "association_idle"
    if why == "step_in_progress":
        return "step_idle"
    learnt = "learnt_" if why == "learnt_quiet_time" else ""
    return f"{learnt}quiet_and_ordered" if announced else f"{learnt}quiet_without_order"

"""Is a study whole?  A pure judgement with its reason.

Nothing in a C-STORE says that it was the last one.  What speaks for it: the associations that
brought the study are closed, nothing came for the quiet time of the policy, and the study is what
its order asked for.  What bounds the wait: a study never waits longer than `longest_wait` after
its first unfrozen instance; then it is settled as overdue, and a late instance amends it.
"""

from collections.abc import Sequence
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
    """Judge again at `at`, or earlier if something changes."""

    at: datetime
    why: str


@dataclass(frozen=True, slots=True)
class Overdue:
    """The study never came to rest; it is settled as it is."""

    why: str


Verdict = Complete | WaitUntil | Overdue


def judge(
    arrivals: Arrivals,
    steps: Sequence[ScheduledStep],
    *,
    in_flight: int,
    policy: CompletenessPolicy,
    at: datetime,
) -> Verdict:
    """Judge a study by its arrivals, its order, its open associations, the policy and the time.

    Parameters
    ----------
    steps
        Scheduled steps that the study belongs to; none for an unannounced one.
    in_flight
        Open associations that brought instances of it.
    """
    latest = arrivals.first_at + policy.longest_wait
    announced = any(step.is_open for step in steps)
    quiet = _quiet(policy, announced)
    rest_at = arrivals.last_at + quiet
    if in_flight:
        rest_at = max(rest_at, arrivals.last_at + policy.idle_association)
    if at >= rest_at:
        return Complete(_reason(announced, in_flight))
    if at >= latest:
        return Overdue("instances_kept_coming")
    why = "association_open" if in_flight else "quiet_time"
    return WaitUntil(min(rest_at, latest), why)


def _quiet(policy: CompletenessPolicy, announced: bool) -> timedelta:
    if announced or policy.unordered_quiet is None:
        return policy.quiet
    return policy.unordered_quiet


def _reason(announced: bool, in_flight: int) -> str:
    if in_flight:
        return "association_idle"
    return "quiet_and_ordered" if announced else "quiet_without_order"

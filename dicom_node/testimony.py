"""What speaks for one study, gathered for the judgement: announcements, steps, learnt pauses.

Only the organisations whose study it is are believed: that of the device which sent it first, and
those whose requests it answers.  Another could else hold up a study by announcing what never comes.
"""

from collections.abc import Sequence
from datetime import timedelta

from dicom_node import evidence, store
from dicom_node.announcements import Announcement, Kind
from dicom_node.completeness import CompletenessPolicy, Told
from dicom_node.orders import ScheduledStep
from dicom_node.pauses import Pauses, longest
from dicom_node.performed_steps import StepState
from storage import held
from storage.archive import Unsettled
from storage.engine import Transaction
from storage.resting import Quiet


def of(
    tx: Transaction, study: Unsettled, steps: Sequence[ScheduledStep], policy: CompletenessPolicy
) -> Told:
    """Return what speaks for a study."""
    believed = _believed(tx, study, steps)
    announced = evidence.announced_for(tx, study.study_uid, organisations=believed)
    performed = evidence.performed_for(
        tx, study_uid=study.study_uid, accession="", organisations=believed
    )
    missing, whole = _compared(tx, study, announced)
    return Told(
        missing=missing,
        whole=whole,
        performing=any(step.state is StepState.IN_PROGRESS for step in performed),
        learnt=learnt_quiet(evidence.pauses_of(tx, study.station_ae_title), policy),
    )


def learnt_quiet(pauses: Pauses, policy: CompletenessPolicy) -> timedelta | None:
    """Return the quiet time that a device has taught, within the bounds of the policy."""
    return pauses.quiet(
        floor=min(policy.quiet, policy.shortest_learnt),
        ceiling=max(policy.quiet, policy.longest_learnt),
    )


def quiet_times(tx: Transaction, policy: CompletenessPolicy) -> Quiet:
    """Return how long at least studies rest before they are whole, by what devices taught so far.

    Never longer than what `judge` waits for: a study may belong to no request.
    """
    shortest = timedelta.max if policy.unordered_quiet is None else policy.unordered_quiet
    usual = min(policy.quiet, shortest)
    taught = {
        title: min(learnt, shortest)
        for title, pauses in evidence.all_pauses(tx).items()
        if (learnt := learnt_quiet(pauses, policy)) is not None
    }
    return Quiet(usual, {title: quiet for title, quiet in taught.items() if quiet != usual})


def learn(tx: Transaction, study: Unsettled) -> None:
    """Learn from a study that is about to be frozen how long its device pauses.

    A late image teaches the pause before it, so that the next study waits longer.
    """
    pause = longest(held.arrivals_of(tx, study.study_uid))
    if pause is not None and study.station_ae_title:
        known = evidence.pauses_of(tx, study.station_ae_title)
        evidence.save_pauses(tx, study.station_ae_title, known.with_longest(pause))


def _believed(tx: Transaction, study: Unsettled, steps: Sequence[ScheduledStep]) -> tuple[str, ...]:
    sender = store.find_sender(tx, study.station_ae_title)
    names = {step.organisation_id for step in steps if step.is_open}
    return tuple(sorted(names | ({sender.organisation_id} if sender else set())))


def _compared(
    tx: Transaction, study: Unsettled, announced: Sequence[Announcement]
) -> tuple[int, bool]:
    """Count what is announced and not here; say whether what is here is all that there is.

    It is not where something is here that nobody announced: then more of that may come.
    """
    if not announced:
        return 0, False
    here = held.uids_of(tx, study.study_uid)
    named = {uid for each in announced for uid in each.instances}
    manifests = {each.source for each in announced if each.kind is Kind.MANIFEST}
    whole = any(each.whole for each in announced) and here <= named | manifests
    return len(named - here), whole

"""The verdict on a study as it stands now, and each verdict in words that a person can read."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from dicom_node import orthanc_store, store, testimony
from dicom_node.completeness import Arrivals, CompletenessPolicy, Verdict, WaitUntil, judge
from storage import flights, held, rejections, resting
from storage.archive import Unsettled
from storage.engine import Transaction

WAITS: Mapping[str, str] = {
    "quiet_time": "Images came a moment ago: it is whole when nothing comes for a while.",
    "learnt_quiet_time": (
        "Images came a moment ago: it is whole when nothing comes for longer than its device"
        " pauses."
    ),
    "association_open": "An association that brought images of it is still open.",
    "step_in_progress": "Its modality says that it goes on (MPPS in progress).",
    "instances_missing": "Images that its sender announced are not here yet.",
    "key_objects": "Key objects of it are to be read first: they may take images back.",
    "due": "It waits for nothing any more and is settled at once.",
}
"""What a study waits for that is not settled."""

VERDICTS: Mapping[str, str] = {
    "all_announced_are_here": "All that its sender announced is here.",
    "quiet_and_ordered": "A request asks for it, and nothing more came for the quiet time.",
    "quiet_without_order": "No request asked for it; nothing more came for the quiet time.",
    "learnt_quiet_and_ordered": (
        "A request asks for it, and nothing more came for longer than its device pauses."
    ),
    "learnt_quiet_without_order": (
        "No request asked for it; nothing more came for longer than its device pauses."
    ),
    "association_idle": "The association that brought it stayed open and brought nothing more.",
    "step_idle": (
        "Its modality never said that it had ended (MPPS); nothing more came for a long time."
    ),
    "instances_missing": "Settled without images that its sender announced: they never came.",
    "step_in_progress": "Settled while its modality said that it goes on: it had waited too long.",
    "instances_kept_coming": "Settled as it was, while images kept coming: it had waited too long.",
}
"""Why a study was settled; the last three say that it may not be whole."""

_KEY_OBJECTS_WITHIN = timedelta(minutes=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """A study that is not settled, what it waits for and until when at most; nobody is named.

    `missing` instances are announced and not here; `manifest_version` is 0 where it has none yet.
    """

    study_uid: str
    accession: str
    station_ae_title: str
    manifest_version: int
    first_arrival_at: datetime
    last_arrival_at: datetime
    why: str
    until: datetime | None
    missing: int

    @property
    def sentence(self) -> str:
        """What it waits for, in words."""
        said = WAITS[self.why]
        return f"{said} {self.missing} to come." if self.missing else said


def verdict_of(tx: Transaction, study: Unsettled, policy: CompletenessPolicy) -> Verdict:
    """Judge a study by all that is known of it."""
    steps = store.steps_for(tx, study_uid=study.study_uid, accession=study.accession)
    return judge(
        _arrivals(tx, study),
        steps,
        in_flight=flights.count(tx, study.study_uid)
        + orthanc_store.pulls_under_way(tx, study.study_uid),
        policy=policy,
        at=tx.at,
        told=testimony.of(tx, study, steps, policy),
    )


def awaits_key_objects(tx: Transaction, study: Unsettled) -> bool:
    """Say whether a note may take something of a study back before it counts as whole.

    Nobody should be offered what its sender has rejected.  Key objects are read within moments;
    where that fails, the study does not wait for them for long.
    """
    if tx.at > study.last_arrival_at + _KEY_OBJECTS_WITHIN:
        return False
    return rejections.awaited(tx, study.study_uid)


def waits(
    tx: Transaction, policy: CompletenessPolicy, *, study_uid: str | None = None, limit: int
) -> list[Wait]:
    """Return the studies that are not settled, or one of them, and what each of them waits for.

    Those that began to come first are first.
    """
    found = resting.unsettled(tx, study_uid=study_uid, limit=limit)
    return [_wait(tx, study, policy) for study in found]


def _wait(tx: Transaction, study: Unsettled, policy: CompletenessPolicy) -> Wait:
    verdict = verdict_of(tx, study, policy)
    why, until, missing = "due", None, 0
    if isinstance(verdict, WaitUntil):
        why, until, missing = verdict.why, verdict.at, verdict.missing
    elif awaits_key_objects(tx, study):
        why, until = "key_objects", study.last_arrival_at + _KEY_OBJECTS_WITHIN
    return Wait(
        study_uid=study.study_uid,
        accession=study.accession,
        station_ae_title=study.station_ae_title,
        manifest_version=study.manifest_version,
        first_arrival_at=study.first_arrival_at,
        last_arrival_at=study.last_arrival_at,
        why=why,
        until=until,
        missing=missing,
    )


def _arrivals(tx: Transaction, study: Unsettled) -> Arrivals:
    first = study.first_arrival_at
    if study.manifest_version:  # an amendment waits for itself alone
        first = held.first_unfrozen(tx, study.study_uid) or study.last_arrival_at
    return Arrivals(first_at=first, last_at=study.last_arrival_at)

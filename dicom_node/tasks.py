"""Work of the DICOM node that is found by looking: studies that may be complete."""

from collections.abc import Iterator, Sequence

from dicom_node import evidence, testimony
from dicom_node.completeness import CompletenessPolicy, Overdue, Verdict, WaitUntil
from dicom_node.verdicts import awaits_key_objects, verdict_of
from kernel.facts import StudyAmended, StudyCompleted
from kernel.people import ENGINE
from storage import archive, audit, outbox, resting
from storage.archive import Manifest, Unsettled
from storage.engine import Database, Transaction
from storage.signs import Sign
from storage.work import DueWork


class Settling:
    """Freezes the manifest of each study that came to rest."""

    def __init__(self, database: Database, policy: CompletenessPolicy) -> None:
        self._database = database
        self._policy = policy

    def due_work(self) -> Sequence[DueWork]:
        """Return what the relay drives."""
        return [
            DueWork(
                name="dicom_node.settle_studies",
                queue="default",
                due=self.due_studies,
                run=self.settle_study,
                signs=self._signs(),
            )
        ]

    def _signs(self) -> Sequence[Sign]:
        policy = self._policy
        quiets = policy.quiet, policy.shortest_learnt, policy.unordered_quiet
        shortest = min(quiet for quiet in quiets if quiet is not None)
        return (
            resting.at_rest(shortest),
            resting.begun(policy.longest_wait),
            resting.among(evidence.TOLD_WHOLE),
        )

    def due_studies(self, tx: Transaction) -> list[str]:
        """Return the studies that are complete or overdue now."""
        due = [
            (study.last_arrival_at, study.study_uid)
            for study, verdict in self._judged(tx)
            if not isinstance(verdict, WaitUntil) and not awaits_key_objects(tx, study)
        ]
        return [uid for _, uid in sorted(due)]

    def settle_study(self, study_uid: str) -> None:
        """Freeze the next manifest of a study if it is due; done twice, it is done once."""
        with self._database.transaction() as tx:
            study = archive.unsettled_study(tx, study_uid)
            if study is None or awaits_key_objects(tx, study):
                return
            verdict = verdict_of(tx, study, self._policy)
            if isinstance(verdict, WaitUntil):
                return
            manifest = archive.freeze_manifest(tx, study_uid)
            if manifest is not None:
                testimony.learn(tx, study)
                _tell(tx, manifest, verdict)

    def _judged(self, tx: Transaction) -> Iterator[tuple[Unsettled, Verdict]]:
        """Judge those that may be due; of the others it is known that they are not."""
        for studies in resting.pages(
            tx,
            testimony.quiet_times(tx, self._policy),
            wait=self._policy.longest_wait,
            told=evidence.TOLD_WHOLE,
        ):
            for study in studies:
                yield study, verdict_of(tx, study, self._policy)


def _tell(tx: Transaction, manifest: Manifest, verdict: Verdict) -> None:
    if manifest.version == 1:
        outbox.append(
            tx,
            StudyCompleted(
                subject=manifest.study_uid,
                at=tx.at,
                actor=ENGINE.ref,
                study_uid=manifest.study_uid,
                manifest_version=manifest.version,
                manifest_digest=manifest.digest,
                verdict=verdict.why,
            ),
        )
    else:
        before = archive.manifest(tx, manifest.study_uid, manifest.version - 1)
        outbox.append(
            tx,
            StudyAmended(
                subject=manifest.study_uid,
                at=tx.at,
                actor=ENGINE.ref,
                study_uid=manifest.study_uid,
                manifest_version=manifest.version,
                manifest_digest=manifest.digest,
                added=len(
                    {each.instance_uid for each in manifest.entries}
                    - {each.instance_uid for each in before.entries}
                ),
            ),
        )
    audit.record(
        tx,
        actor=ENGINE,
        action="study.completed" if manifest.version == 1 else "study.amended",
        subject=f"study:{manifest.study_uid}",
        outcome=audit.Outcome.OVERDUE if isinstance(verdict, Overdue) else audit.Outcome.SUCCESS,
        detail={
            "manifest_version": manifest.version,
            "manifest_digest": manifest.digest,
            "instances": len(manifest.entries),
            "verdict": verdict.why,
        },
    )

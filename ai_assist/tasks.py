"""The work of triage: claim a run, score its images, write the report, settle.

Nothing slow happens inside a transaction.  Everything stored on the way is found again after a
kill, so a run that is started over ends with the same bytes and one settled case.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from ai_assist import commands, runs, sr, store
from ai_assist.card import ModelCard
from ai_assist.eligibility import why_not
from ai_assist.errors import FilmUnreadable, LeaseLost, ModelDisabled
from ai_assist.inference import Predictor
from ai_assist.inputs import Image, facts_of, read, tensor_of
from ai_assist.runs import StoredReport, TriageRun
from ai_assist.shelf import Shelf
from ai_assist.sr import ScoredImage
from ai_assist.store import InstanceResult
from ai_assist.triage import conclude, hints_of
from kernel.clock import monotonic_s
from kernel.digest import sha256_of
from kernel.errors import EngineError, Refused, Transient
from kernel.ids import fresh
from storage import archive
from storage.archive import ManifestEntry
from storage.engine import Database, Transaction
from storage.objects import ObjectDiffers, ObjectStore
from storage.work import DueWork

DUE_AT_ONCE = 16
MOST_IMAGES = 32  # of one study; a study of more films than this is not what the models know
FAULT = "ai_assist.fault"


class ReadsInstances(Protocol):
    """The archive, as far as it is needed here; corrections may be applied."""

    def read(self, instance_uid: str) -> bytes:
        """Return the Part 10 file of an instance."""


def _as_it_is(part10: bytes) -> bytes:
    return part10


@dataclass(frozen=True, slots=True, kw_only=True)
class TriageWork:
    """What a worker of triage holds."""

    database: Database
    archive: ReadsInstances
    objects: ObjectStore
    shelf: Shelf
    lease: timedelta = runs.LEASE
    decodable: Callable[[bytes], bytes] = _as_it_is
    """Makes native what this process may not decode itself; raises `Refused` where it cannot."""

    def run_triage(self, run_id: str) -> None:
        """Do one run, if it is free; every fault of it ends in a settled run or a later attempt."""
        with self.database.transaction() as tx:
            run = commands.claim_run(tx, run_id, holder=fresh(), lease=self.lease)
        if run is None:
            return
        try:
            self._work(run)
        except LeaseLost:
            return  # whoever took it over ends it
        except Transient as error:
            self._put_back(run, error.code)
        except EngineError as error:
            self._fail(run, error.code)
        except Exception:
            self._fail(run, FAULT)  # the case goes on; the fault itself is for the log
            raise

    def _work(self, run: TriageRun) -> None:
        card = self.shelf.card(run.model_id, run.model_version)
        if card.weights_digest != run.weights_digest:
            raise ModelDisabled("the model is not the one the run was planned with")
        predictor = self.shelf.predictor(card.id, card.version)
        scored, refusals = self._scored(run, card, predictor)
        if not scored:
            self._end_without_scores(run, refusals)
            return
        hints = (
            hint
            for one in scored
            for hint in hints_of(card, one.result.instance_uid, one.result.scores)
        )
        conclusion = conclude(hints)
        report = self._stored(run, sr.build(run, card, scored))
        with self.database.transaction() as tx:
            ended = runs.settle(
                run,
                level=conclusion.level,
                reason=conclusion.reason,
                report=report,
                at=tx.at,
            )
            commands.end_run(tx, ended, holder=run.holder)

    def _scored(
        self, run: TriageRun, card: ModelCard, predictor: Predictor
    ) -> tuple[list[ScoredImage], list[str]]:
        """Return the images with their scores, made now or found stored, and why others have none.

        The images are read again also where their scores are known: the report cites them.
        """
        entries, known = self._to_score(run, card)
        scored: list[ScoredImage] = []
        refusals: list[str] = []
        for entry in entries:
            started = monotonic_s()
            part10 = self.archive.read(entry.instance_uid)
            image = _opened(part10)
            result = known.get(entry.instance_uid)
            if result is None:
                refusal, scores = self._judged(part10, image, card, predictor)
                result = self._kept(run, entry, refusal, scores, monotonic_s() - started)
            if image is not None and result.refusal is None:
                scored.append(ScoredImage(image, result))
            else:
                refusals.append(result.refusal or FilmUnreadable.code)
        return scored, refusals

    def _to_score(
        self, run: TriageRun, card: ModelCard
    ) -> tuple[list[ManifestEntry], dict[str, InstanceResult]]:
        with self.database.reading() as tx:
            manifest = archive.manifest(tx, run.study_uid, run.manifest_version)
            covered = [e for e in manifest.entries if e.modality in card.eligibility.modalities]
            entries = covered[:MOST_IMAGES]
            known = store.results_of(
                tx,
                [entry.instance_uid for entry in entries],
                model_id=card.id,
                model_version=card.version,
            )
        return entries, known

    def _judged(
        self, part10: bytes, image: Image | None, card: ModelCard, predictor: Predictor
    ) -> tuple[str | None, dict[str, float]]:
        """Return (reason for no scores, scores)."""
        if image is None:
            return FilmUnreadable.code, {}
        refusal = why_not(facts_of(image), card.eligibility)
        if refusal is not None:
            return refusal, {}
        try:
            film = self._film(part10, image)
            return None, dict(predictor.predict(tensor_of(film, card)))
        except FilmUnreadable as error:
            return error.code, {}

    def _film(self, part10: bytes, image: Image) -> Image:
        """Return an image whose pixels can be decoded here."""
        try:
            decodable = self.decodable(part10)
        except Refused as error:
            raise FilmUnreadable("the pixels of the image cannot be decoded") from error
        return image if decodable is part10 else read(decodable)

    def _kept(
        self,
        run: TriageRun,
        entry: ManifestEntry,
        refusal: str | None,
        scores: dict[str, float],
        took_s: float,
    ) -> InstanceResult:
        with self.database.transaction() as tx:
            result = InstanceResult(
                instance_uid=entry.instance_uid,
                model_id=run.model_id,
                model_version=run.model_version,
                run_id=run.id,
                instance_digest=entry.digest,
                weights_digest=run.weights_digest,
                refusal=refusal,
                scores=scores,
                latency_ms=round(took_s * 1000, 1),
                scored_at=tx.at,
            )
            commands.keep_result(tx, run, result, lease=self.lease)
        return result

    def _stored(self, run: TriageRun, report: bytes) -> StoredReport:
        """Put the report into the store; one of an earlier attempt is taken as it is."""
        key, digest = f"triage/{run.id}/sr.dcm", sha256_of(report)
        try:
            self.objects.put(key, report, digest)
        except ObjectDiffers:
            # Written by an attempt of this run with an older library before an upgrade.
            digest = sha256_of(self.objects.get(key))
        return StoredReport(key=key, sha256=digest, instance_uid=sr.report_uid(run))

    def _end_without_scores(self, run: TriageRun, refusals: list[str]) -> None:
        with self.database.transaction() as tx:
            if FilmUnreadable.code in refusals:
                ended = runs.fail(run, reason=FilmUnreadable.code, at=tx.at)
            else:
                reason = refusals[0] if refusals else "no_image_covered"
                ended = runs.skip(run, reason=reason, at=tx.at)
            commands.end_run(tx, ended, holder=run.holder)

    def _put_back(self, run: TriageRun, reason: str) -> None:
        with self.database.transaction() as tx:
            commands.put_back_run(tx, run, reason=reason)

    def _fail(self, run: TriageRun, reason: str) -> None:
        with self.database.transaction() as tx:
            commands.end_run(tx, runs.fail(run, reason=reason, at=tx.at), holder=run.holder)


def due_runs(tx: Transaction) -> list[str]:
    """Return the ids of runs that wait for a worker."""
    return store.due_run_ids(tx, limit=DUE_AT_ONCE)


def due_work(work: TriageWork) -> tuple[DueWork, ...]:
    """Return the kinds of work this package does, for the relay and the workers."""
    return (
        DueWork(
            name="ai_assist.run_triage",
            queue="ai",
            due=due_runs,
            run=work.run_triage,
            signs=store.RUN_SIGNS,
        ),
    )


def _opened(part10: bytes) -> Image | None:
    try:
        return read(part10)
    except FilmUnreadable:
        return None

"""A case with films in a real archive, ready for triage."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydicom import Dataset

from ai_assist.commands import plan_triage
from ai_assist.inputs import facts_of
from ai_assist.runs import TriageRun
from ai_assist.shelf import Shelf, shipped_models
from ai_assist.store import TriagePlan, plan_of, runs_of
from ai_assist.tasks import TriageWork, due_runs
from kernel.facts import CaseOpened, Fact, TriageSettled, from_parts
from kernel.ids import InstanceUID, SeriesUID, StudyUID
from storage import archive, patients
from storage.archive import Archive, NewInstance
from storage.engine import Database
from storage.journal import Journal
from storage.memory import MemoryObjects
from storage.tables.outbox import FACTS
from tests.ai_assist.films import STUDY, part10

START = datetime(2026, 11, 22, 9, tzinfo=UTC)
CASE = "case-1"


@dataclass
class TestClock:
    """Time that only a test moves."""

    __test__ = False
    now: datetime = START

    def __call__(self) -> datetime:
        return self.now

    def forward(self, by: timedelta) -> None:
        self.now += by


@dataclass
class Room:
    """The storage floor in one folder, and what works on it."""

    database: Database
    directory: Path
    clock: TestClock
    shelf: Shelf = field(default_factory=lambda: Shelf([shipped_models()]))
    objects: MemoryObjects = field(default_factory=MemoryObjects)

    def __post_init__(self) -> None:
        self.database.clock = self.clock
        self.journal = Journal(self.directory / "journal", node="n1", segment_bytes=1 << 23)
        self.archive = Archive(self.database, self.journal, self.objects)

    @property
    def work(self) -> TriageWork:
        return TriageWork(
            database=self.database,
            archive=self.archive,
            objects=self.objects,
            shelf=self.shelf,
        )

    def receive(self, *images: Dataset, damage: int | None = None) -> None:
        """Store films of the one study; `damage` cuts their last bytes off."""
        for image in images:
            data = part10(image)
            data = data if damage is None else data[:-damage]
            place = self.journal.append({"uid": str(image.SOPInstanceUID)}, data)
            with self.database.transaction() as tx:
                ref = patients.register(
                    tx, issuer="S", patient_id="P-1", name="A^B", sex="F", birth_date=None
                )
                archive.admit(tx, _row(image, ref, self.clock()), place)

    def open_case(self) -> tuple[TriageRun, ...]:
        """Freeze the study and have the case of it planned."""
        with self.database.transaction() as tx:
            frozen = archive.freeze_manifest(tx, STUDY)
            version = frozen.version if frozen else archive.manifest(tx, STUDY).version
            return plan_triage(tx, opened(version), self.shelf.cards)

    def due(self) -> list[str]:
        with self.database.reading() as tx:
            return due_runs(tx)

    def runs(self) -> list[TriageRun]:
        with self.database.reading() as tx:
            return runs_of(tx, CASE)

    def plan(self) -> TriagePlan:
        with self.database.reading() as tx:
            found = plan_of(tx, CASE)
        assert found is not None
        return found

    def settled(self) -> list[TriageSettled]:
        """Return the facts of settled triage that were told."""
        return [fact for fact in self.facts() if isinstance(fact, TriageSettled)]

    def facts(self) -> list[Fact]:
        with self.database.reading() as tx:
            rows = tx.execute(FACTS.select().order_by(FACTS.c.seq)).mappings().all()
        return [
            from_parts(
                row["kind"],
                row["version"],
                row["body"],
                id=row["id"],
                subject=row["subject"],
                at=row["at"],
                actor=row["actor"],
                cause=row["cause"],
            )
            for row in rows
        ]


def opened(version: int, case_id: str = CASE) -> CaseOpened:
    """Return the fact that opens the case."""
    return CaseOpened(
        subject=case_id,
        at=START,
        actor="system:test",
        id="fact-1",
        case_id=case_id,
        request_id="request-1",
        study_uid=STUDY,
        manifest_version=version,
        site_id="site-1",
        profile="thoracic",
        form="planned",
    )


def _row(image: Dataset, ref: str, at: datetime) -> NewInstance:
    facts = facts_of(image)
    return NewInstance(
        instance_uid=InstanceUID(facts.instance_uid),
        series_uid=SeriesUID(str(image.SeriesInstanceUID)),
        study_uid=StudyUID(STUDY),
        sop_class_uid=facts.sop_class_uid,
        transfer_syntax_uid=str(image.file_meta.TransferSyntaxUID),
        modality=facts.modality,
        patient_ref=ref,  # type: ignore[arg-type]
        accession="A1",
        study_description="CHEST",
        study_date="20261122",
        study_time="0900",
        series_number="1",
        series_description="PA",
        instance_number="1",
        body_part=facts.body_part,
        station_ae_title="VAN1",
        rows=facts.rows,
        columns=facts.columns,
        frames=None,
        received_at=at,
        source="VAN1",
    )

"""A reader with a case in hand: real tables, journal, worklist and keys."""

import io
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import TypeVar

from pydicom import Dataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

import worklist
from kernel.facts import Fact
from kernel.ids import InstanceUID, OrganisationId, ReaderId, SeriesUID, StudyUID
from kernel.people import ENGINE
from reporting import commands
from reporting.report import Report, Version
from reporting.sections import Section
from reporting.sign import Signing
from reporting.trust import Trust
from storage import archive, audit, outbox, patients
from storage.archive import Archive, NewInstance
from storage.engine import Database, Transaction
from storage.journal import Journal
from storage.objects import ObjectStore
from tests.reporting.samples import SIGNED_TEXT
from tests.services.migrated import migrate
from worklist import commands as worklist_commands
from worklist import offering
from worklist.act import Act
from worklist.settings import WorklistSettings

Result = TypeVar("Result")
SETTINGS = WorklistSettings()
STUDY = StudyUID("1.2.3.4")
PATIENT = "Әлібекұлы^Қуаныш^Ғұмар"


class ReadingRoom:
    """One node with two consultants on the list; `at` is what its clock shows."""

    def __init__(
        self, url: str, directory: Path, objects: ObjectStore, trust: Trust, *, at: datetime
    ) -> None:
        self.at = at
        self.database = Database(url, clock=lambda: self.at)
        migrate(self.database)
        self.journal = Journal(directory / "journal", node="n1", segment_bytes=1 << 18)
        self.objects = objects
        self.trust = trust
        self.archive = Archive(self.database, self.journal, objects)
        self.signing = Signing(self.database, objects, self.archive, trust)
        self._do(self._staff)

    def close(self) -> None:
        """Let go of files and connections."""
        self.journal.close()
        self.database.dispose()

    def claimed_case(self) -> str:
        """The id of a case that has just been given to a reader, r-1 unless r-1 is away."""
        self.receive_image(1)
        self._do(self._request)
        (case_id,) = [c.id for c in self._do(self._open)]
        self._do(
            lambda tx: worklist_commands.enqueue(
                tx, case_id, level="none", reason="test", settings=SETTINGS, act=self._act()
            )
        )
        self.give(case_id)
        return case_id

    def give(self, case_id: str) -> str:
        """Offer a queued case and accept it; return the reader."""
        offered = self._do(
            lambda tx: offering.offer_next(tx, "thoracic", settings=SETTINGS, act=self._act())
        )
        assert offered is not None
        reader = str(offered.offered_to)
        self._do(
            lambda tx: offering.accept(tx, case_id, reader, settings=SETTINGS, act=self._act())
        )
        return reader

    def release(self, case_id: str) -> None:
        """Take the case from its reader."""
        self._do(lambda tx: worklist_commands.release(tx, case_id, act=self._act()))

    def receive_image(self, number: int) -> None:
        """Receive one image of the study and freeze a manifest."""
        place = self.journal.append({"uid": str(number)}, image(number))

        def admit(tx: Transaction) -> None:
            archive.admit(tx, new_instance(tx, number, self.at), place)
            archive.freeze_manifest(tx, STUDY)

        self._do(admit)

    def note_late_image(self, case_id: str, reader: str) -> None:
        """A second image comes, and the reader looks at it."""
        self.receive_image(2)
        self._do(
            lambda tx: worklist_commands.amend(tx, STUDY, 2, settings=SETTINGS, act=self._act())
        )
        self._do(
            lambda tx: worklist_commands.take_note_of_late_images(
                tx, case_id, reader, act=self._act()
            )
        )

    def begin(self, case_id: str, reader: str = "r-1") -> Report:
        """Begin the report of a case."""
        return self._do(lambda tx: commands.start_draft(tx, case_id, reader, language="kk"))

    def save(
        self, report: Report, *sections: Section, reader: str = "r-1", revision: int | None = None
    ) -> Report:
        """Save text."""
        seen = report.revision if revision is None else revision
        return self._do(
            lambda tx: commands.save_draft(tx, report.id, reader, sections, expected_revision=seen)
        )

    def finalise(self, report: Report, reader: str = "r-1") -> Version:
        """Finalise the text."""
        return self._do(
            lambda tx: commands.finalise(tx, report.id, reader, expected_revision=report.revision)
        )

    def finalised(self) -> Report:
        """A report whose first version waits for the signature of r-1."""
        report = self.save(self.begin(self.claimed_case()), *SIGNED_TEXT)
        self.finalise(report)
        return report

    def facts(self, case_id: str, kind: str) -> list[Fact]:
        """The facts of one kind that were told of a case."""
        with self.database.reading() as tx:
            return [fact for fact in outbox.facts_of(tx, case_id) if fact.kind == kind]

    def actions(self, case_id: str) -> list[tuple[str, str]]:
        """What the audit says reporting did: (action, outcome)."""
        with self.database.reading() as tx:
            entries = audit.of_case(tx, case_id)
        return [(e.action, e.outcome) for e in entries if e.action.startswith("report.")]

    def _staff(self, tx: Transaction) -> None:
        kinds = worklist.OrganisationKind
        for organisation in (
            worklist.Organisation(OrganisationId("s-1"), "Ауылдық аурухана", kinds.REQUESTING),
            worklist.Organisation(
                OrganisationId("o-1"), "Обласна лікарня", kinds.CONSULTING, "Asia/Almaty"
            ),
        ):
            worklist_commands.add_organisation(tx, organisation, act=self._act())
        profile = worklist.Profile("thoracic", "Thoracic", (worklist.Takes("DX", None, True),))
        worklist_commands.add_profile(tx, profile, settings=SETTINGS, act=self._act())
        for reader_id, name in (("r-1", "Щърбанов Йордан"), ("r-2", "Їжакевич Євгенія")):
            reader = worklist.Reader(
                id=ReaderId(reader_id),
                name=name,
                organisation_id=OrganisationId("o-1"),
                competences=(worklist.Competence("thoracic"),),
            )
            worklist_commands.add_reader(tx, reader, act=self._act())
            worklist_commands.set_presence(tx, reader_id, present=True, act=self._act())

    def _request(self, tx: Transaction) -> None:
        new = worklist.NewRequest(
            organisation_id=OrganisationId("s-1"),
            patient_ref=patient(tx),
            accession="ACC-1",
            modality="DX",
        )
        worklist_commands.add_request(tx, new, act=self._act())

    def _open(self, tx: Transaction) -> list[worklist.Case]:
        return worklist_commands.open_case(tx, STUDY, settings=SETTINGS, act=self._act())

    def _do(self, act: Callable[[Transaction], Result]) -> Result:
        with self.database.transaction() as tx:
            return act(tx)

    def _act(self) -> Act:
        return Act(self.at, ENGINE)


def patient(tx: Transaction) -> str:
    """The patient of the study."""
    return patients.register(
        tx,
        issuer="SITE",
        patient_id="A-1001",
        name=PATIENT,
        sex="M",
        birth_date=date(1961, 4, 12),
    )


def image(number: int) -> bytes:
    """The Part 10 file of an image, without pixels."""
    found = Dataset()
    found.SpecificCharacterSet = "ISO_IR 192"
    found.SOPClassUID = DigitalXRayImageStorageForPresentation
    found.SOPInstanceUID = f"{STUDY}.1.{number}"
    found.PatientName = PATIENT
    found.PatientID = "A-1001"
    found.StudyInstanceUID = STUDY
    found.StudyID = "S77"
    found.ensure_file_meta()
    found.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    buffer = io.BytesIO()
    found.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def new_instance(tx: Transaction, number: int, at: datetime) -> NewInstance:
    """What the index keeps of an image."""
    return NewInstance(
        instance_uid=InstanceUID(f"{STUDY}.1.{number}"),
        series_uid=SeriesUID(f"{STUDY}.1"),
        study_uid=STUDY,
        sop_class_uid=DigitalXRayImageStorageForPresentation,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        modality="DX",
        patient_ref=patient(tx),
        accession="ACC-1",
        study_description="Chest PA",
        study_date="20261122",
        study_time="101112",
        series_number="1",
        series_description="PA",
        instance_number=str(number),
        body_part="CHEST",
        station_ae_title="VAN1",
        rows=10,
        columns=10,
        frames=1,
        received_at=at,
        source="VAN1",
    )

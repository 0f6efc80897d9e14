"""A worklist on a real database, driven by hand: facts are told and due work is done on call."""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

from kernel.digest import sha256_of
from kernel.facts import (
    DocumentFiled,
    Fact,
    ReportSigned,
    RequesterNotified,
    StudyCompleted,
    TriageSettled,
)
from kernel.ids import (
    InstanceUID,
    OrganisationId,
    PatientRef,
    SeriesUID,
    StudyUID,
)
from kernel.people import ENGINE
from storage import archive, outbox, patients
from storage.archive import NewInstance
from storage.engine import Database, Transaction
from storage.journal import Place
from tests.worklist.examples import DISPATCHER, ISSUER, NOON, THORAX, a_new_request, a_reader
from worklist import commands, store
from worklist.act import Act
from worklist.case import Case, case_id_of
from worklist.organisation import Organisation, OrganisationKind
from worklist.profile import Profile, Takes
from worklist.reactions import CONSUMER, reactions
from worklist.request import Request
from worklist.settings import WorklistSettings
from worklist.tasks import WorklistWork

NEURO = "neuroradiology"
PROFILES = (
    Profile(THORAX, "Thoracic radiology", (Takes("DX", "CHEST", True), Takes("CT", "CHEST"))),
    Profile(NEURO, "Neuroradiology", (Takes("CT", "HEAD"), Takes("MR"))),
)


class HandClock:
    """A clock that stands until the test moves it."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


class Room:
    """One site, one clinic and two profiles; consultants come as the test says."""

    def __init__(self, database: Database, settings: WorklistSettings | None = None) -> None:
        assert isinstance(database.clock, HandClock)
        self.clock = database.clock
        self.database = database
        self.settings = settings or WorklistSettings()
        self.work = WorklistWork(database, self.settings)
        self._reactions = reactions(self.settings)[CONSUMER]
        self._told = 0
        with database.transaction() as tx:
            for organisation in (
                Organisation(OrganisationId("hospital"), "Hospital", OrganisationKind.REQUESTING),
                Organisation(OrganisationId("clinic"), "Clinic", OrganisationKind.CONSULTING),
            ):
                commands.add_organisation(tx, organisation, act=self.act(tx))
            for profile in PROFILES:
                commands.add_profile(tx, profile, settings=self.settings, act=self.act(tx))

    def act(self, tx: Transaction) -> Act:
        return Act(at=tx.at, by=DISPATCHER)

    def do(self, command: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Run one command in its own transaction, with settings if it takes them."""
        with self.database.transaction() as tx:
            code = command.__code__
            if "settings" in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]:
                named.setdefault("settings", self.settings)
            return command(tx, *arguments, **named, act=self.act(tx))

    def ask(self, query: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Read in a transaction of its own."""
        with self.database.reading() as tx:
            return query(tx, *arguments, **named)

    def wait(self, time: timedelta) -> None:
        self.clock.now += time

    def hire(self, *ids: str, **changes: Any) -> None:
        """Enter consultants who are on duty unless told otherwise."""
        for id in ids:
            self.do(commands.add_reader, a_reader(id, **changes))

    def case(self, number: int) -> Case:
        found: Case = self.ask(store.get_case, self.case_id(number))
        return found

    def case_id(self, number: int) -> str:
        return case_id_of(a_new_request(number).id)

    def request(self, number: int = 1, **changes: Any) -> Request:
        """Submit a request; nobody is told yet."""
        taken: Request = self.do(commands.add_request, a_new_request(number, **changes))
        return taken

    def study(
        self,
        number: int = 1,
        *,
        patient_id: str | None = None,
        issuer: str = ISSUER,
        accession: str | None = None,
        modality: str = "DX",
        body_part: str = "CHEST",
        instances: int = 1,
    ) -> StudyCompleted:
        """Let a study arrive and be judged complete; return the fact, not told yet."""
        uid = f"1.2.3.{number}"
        with self.database.transaction() as tx:
            ref = patients.register(
                tx,
                issuer=issuer,
                patient_id=f"p-{number}" if patient_id is None else patient_id,
                name="",
                sex="",
                birth_date=None,
            )
            archive.admit_many(
                tx,
                [
                    (
                        _instance(
                            f"{uid}.1.{i}",
                            uid,
                            patient_ref=ref,
                            accession=f"A{number}" if accession is None else accession,
                            modality=modality,
                            body_part=body_part,
                            at=tx.at,
                        ),
                        Place(f"n1-{number}", 1000 * i, 1000, sha256_of(f"{uid} {i}".encode())),
                    )
                    for i in range(1, instances + 1)
                ],
            )
            manifest = archive.freeze_manifest(tx, uid)
            assert manifest is not None
            return StudyCompleted(
                subject=uid,
                at=tx.at,
                actor=ENGINE.ref,
                study_uid=uid,
                manifest_version=manifest.version,
                manifest_digest=manifest.digest,
                verdict="quiet",
            )

    def tell(self, *facts: Fact) -> None:
        """Have the worklist react to facts, each in its own transaction."""
        for fact in facts:
            with self.database.transaction() as tx:
                self._reactions[type(fact)](tx, fact)

    def tell_own(self) -> None:
        """Have the worklist react to the facts that it told about requests."""
        seq = self._told + 1
        while True:
            with self.database.reading() as tx:
                try:
                    fact = outbox.load(tx, seq)
                except outbox.TellingUnknown:
                    return
            self._told = seq
            if type(fact) in self._reactions:
                self.tell(fact)
            seq += 1

    def facts(self, subject: str) -> list[str]:
        """Return the kinds of facts told about a subject, in order."""
        return [fact.kind for fact in self.ask(outbox.facts_of, subject)]

    def receive(self, number: int = 1, **changes: Any) -> Case:
        """Bring a request and its study together: a received case."""
        self.request(number, **changes)
        self.tell(self.study(number))
        return self.case(number)

    def queue(self, number: int = 1, **changes: Any) -> Case:
        """Bring a case into the queue."""
        self.receive(number, **changes)
        self.tell(self.settled(number))
        return self.case(number)

    def settled(self, number: int, level: str = "none") -> TriageSettled:
        case_id = self.case_id(number)
        return TriageSettled(
            **self._head(case_id), outcome="done", level=level, reason="scored", run_ids=["run-1"]
        )

    def signed(self, number: int, author: str = "r-1", version: int = 1) -> ReportSigned:
        return ReportSigned(
            **self._head(self.case_id(number)),
            **_report(number, version),
            document_digest="d" * 64,
            author=author,
        )

    def filed(self, number: int, version: int = 1, destination: str = "record") -> DocumentFiled:
        return DocumentFiled(
            **self._head(self.case_id(number)),
            **_report(number, version),
            delivery_id="delivery-1",
            destination=destination,
            receipt="receipt-1",
        )

    def notified(self, number: int, version: int = 1) -> RequesterNotified:
        return RequesterNotified(
            **self._head(self.case_id(number)),
            **_report(number, version),
            delivery_id="delivery-2",
            receipt="inbox-1",
        )

    def offer_all(self, profile: str = THORAX) -> None:
        """Offer until nothing can move."""
        self.work.offer(profile)

    def do_due(self) -> None:
        """Do all due work once, as the relay would."""
        for work in self.work.due_work():
            for id in self.ask(work.due):
                work.run(id)

    def _head(self, case_id: str) -> dict[str, Any]:
        return {
            "subject": case_id,
            "at": self.clock.now,
            "actor": ENGINE.ref,
            "case_id": case_id,
        }


def offered_to(cases: Iterable[Case]) -> list[str | None]:
    """Return to whom each case is offered."""
    return [case.offered_to for case in cases]


def _report(number: int, version: int) -> dict[str, Any]:
    return {"report_id": f"report-{number}", "report_version": version}


def _instance(
    uid: str,
    study_uid: str,
    *,
    patient_ref: PatientRef,
    accession: str,
    modality: str,
    body_part: str,
    at: datetime,
) -> NewInstance:
    return NewInstance(
        instance_uid=InstanceUID(uid),
        series_uid=SeriesUID(f"{study_uid}.1"),
        study_uid=StudyUID(study_uid),
        sop_class_uid="1.2.840.10008.5.1.4.1.1.1.1",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        modality=modality,
        patient_ref=patient_ref,
        accession=accession,
        study_description="",
        study_date="20261122",
        study_time="1200",
        series_number="1",
        series_description="",
        instance_number=uid.rpartition(".")[2],
        body_part=body_part,
        station_ae_title="VAN1",
        rows=8,
        columns=8,
        frames=None,
        received_at=at,
        source="VAN1",
    )

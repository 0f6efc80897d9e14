"""The main job, done for real: from C-STORE to the health record, with the time of each stage."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import reporting
import worklist.store
from app.bootstrap import DEMO_PASSPHRASE, Parts
from app.demo.network import BY, ISSUER, SENDER
from app.demo.samples import Sample, Unexplained
from app.orders import Order
from app.orders import add as add_order
from app.serving import Ports
from dicom_node.peers import Peer
from dicom_node.send import Outgoing, SendSettings, send
from kernel.clock import monotonic_s
from kernel.errors import EngineError
from kernel.facts import (
    CaseClaimed,
    CaseCompleted,
    CaseOpened,
    CaseQueued,
    CaseSigned,
    DocumentFiled,
    Fact,
    ReportSigned,
    RequesterNotified,
    StudyCompleted,
    TriageSettled,
)
from kernel.people import Actor, Role
from reporting import commands as reports
from reporting.sections import FINDINGS, IMPRESSION, Section
from reporting.sign import Signing
from reporting.signers.pkcs12 import open_key_file
from storage import archive, audit, outbox
from storage.engine import Transaction
from worklist import commands
from worklist.act import Act
from worklist.case import Case, CaseState

STAGES = (
    "received",
    "durable",
    "manifest",
    "case",
    "triage",
    "queued",
    "claimed",
    "reported",
    "signed",
    "filed",
    "notified",
    "completed",
    "audit",
)
PATIENCE_S = 120.0
_LOOK_S = 0.05
_FACT_STAGES: tuple[tuple[str, type[Fact]], ...] = (
    ("manifest", StudyCompleted),
    ("case", CaseOpened),
    ("triage", TriageSettled),
    ("queued", CaseQueued),
    ("claimed", CaseClaimed),
    ("signed", ReportSigned),
    ("filed", DocumentFiled),
    ("notified", RequesterNotified),
    ("completed", CaseCompleted),
)


@dataclass(slots=True)
class Stage:
    """One stage: did it hold for at least one study, and when (ms after the first byte sent)."""

    name: str
    ok: bool = False
    ms: int | None = None
    detail: str = "it did not happen"


@dataclass(slots=True)
class Outcome:
    """What became of everything that was sent."""

    stages: dict[str, Stage] = field(default_factory=lambda: {n: Stage(n) for n in STAGES})
    completed: list[Case] = field(default_factory=list)
    explained: list[Unexplained] = field(default_factory=list)
    unexplained: list[Unexplained] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether every stage held for at least one study and nothing is left unexplained."""
        return all(stage.ok for stage in self.stages.values()) and not self.unexplained


class Journey:
    """Sends studies from the mobile complex of the demo and reads them as its consultants.

    Parameters
    ----------
    say
        Told one line for each thing that happens.
    """

    def __init__(self, parts: Parts, ports: Ports, *, say: Callable[[str], None]) -> None:
        self._parts = parts
        self._ports = ports
        self._say = say
        self._outcome = Outcome()
        self._began = parts.clock()
        self._signing = Signing(parts.database, parts.objects, parts.archive, parts.trust)

    def run(self, samples: Sequence[Sample], *, read: bool = True) -> Outcome:
        """Send every sample; with `read`, read, sign and complete every case that opens."""
        studies: dict[str, list[Sample]] = {}
        for sample in samples:
            studies.setdefault(sample.header.study_uid, []).append(sample)
        asked = {uid: self._ask(uid, group[0]) for uid, group in studies.items()}
        self._began = self._parts.clock()
        stored = {uid for uid, group in studies.items() if self._send(group) and asked[uid]}
        cases = self._cases(stored)
        if read:
            for case in cases:
                self._read(case)
            self._finish(cases)
        return self._outcome

    def _ask(self, study_uid: str, sample: Sample) -> bool:
        header = sample.header
        order = Order(
            accession=header.accession,
            patient_id=header.patient_id,
            issuer=header.issuer,
            name=header.patient_name,
            sex=header.sex,
            birth_date=header.birth_date,
            modality=header.modality,
            station_ae_title=SENDER,
            procedure=header.study_description,
            study_uid=study_uid,
            organisation="van1",
        )
        try:
            with self._parts.database.transaction() as tx:
                add_order(tx, order, by=BY)
        except EngineError as error:
            self._explain(f"study {study_uid}", f"no request could be made: {error.sentence}")
            return False
        return True

    def _send(self, group: Sequence[Sample]) -> bool:
        node = Peer(
            ae_title=self._parts.settings.dicom.ae_title,
            host="127.0.0.1",
            port=self._ports.dicom or 0,
            organisation_id="van1",
            issuer=ISSUER,
        )
        outgoing = [Outgoing(sample.header.instance_uid, sample.data) for sample in group]
        try:
            accounts = send(outgoing, node, SendSettings(ae_title=SENDER))
        except EngineError as error:
            self._outcome.unexplained.append(Unexplained(group[0].name, error.sentence))
            return False
        stored = [sample for sample, told in zip(group, accounts, strict=True) if told.ok]
        for sample, told in zip(group, accounts, strict=True):
            if not told.ok:
                status = "" if told.status is None else f" (status {told.status:04X})"
                self._explain(sample.name, f"the node refused it: {told.reason}{status}")
        if stored:
            self._hold("received", f"{len(stored)} instances stored")
            self._durable(stored)
        return bool(stored)

    def _durable(self, stored: Sequence[Sample]) -> None:
        """What was acknowledged can be read back: the data set is there, byte for byte."""
        for sample in stored:
            kept = self._parts.archive.read(sample.header.instance_uid)
            if kept[-64:] != sample.data[-64:]:
                self._outcome.unexplained.append(
                    Unexplained(sample.name, "it was not read back as it was sent")
                )
                return
        self._hold("durable", f"{len(stored)} read back from the journal")

    def _cases(self, studies: set[str]) -> list[Case]:
        """Wait until each study is in a case or on the desk with its reason."""
        cases: dict[str, list[Case]] = {}
        explained: dict[str, str] = {}

        def settled() -> bool:
            with self._parts.database.reading() as tx:
                for uid in studies - cases.keys() - explained.keys():
                    found = worklist.store.cases_of_study(tx, uid, lock=False)
                    on_desk = worklist.store.on_desk(tx, uid)
                    if found:
                        cases[uid] = found
                    elif on_desk is not None:
                        explained[uid] = on_desk.sentence
            return len(cases) + len(explained) == len(studies)

        self._wait(settled)
        for uid, reason in explained.items():
            self._explain(f"study {uid}", reason)
        for uid in studies - cases.keys() - explained.keys():
            self._outcome.unexplained.append(Unexplained(f"study {uid}", "nothing became of it"))
        return [case for group in cases.values() for case in group]

    def _read(self, case: Case) -> None:
        offered = self._await_offer(case.id)
        if offered is None or offered.offered_to is None:
            self._outcome.unexplained.append(
                Unexplained(f"case {case.id}", "it was never offered to a consultant")
            )
            return
        reader = offered.offered_to
        by = Actor(ref=f"reader:{reader}", role=Role.CONSULTANT)
        database = self._parts.database
        with database.transaction() as tx:
            act = Act(at=tx.at, by=by)
            commands.accept(tx, case.id, reader, settings=self._parts.worklist, act=act)
        with database.transaction() as tx:
            draft = reports.start_draft(tx, case.id, reader)
            saved = reports.save_draft(
                tx,
                draft.id,
                reader,
                _words(case),
                expected_revision=draft.revision,
            )
            version = reports.finalise(tx, saved.id, reader, expected_revision=saved.revision)
        self._hold("reported", f"version {version.number} finalised")
        signer = open_key_file(self._parts.key_file(reader).read_bytes(), DEMO_PASSPHRASE)
        self._signing.sign(saved.id, version.number, signer)
        self._say(f"case {case.id[:8]}  {case.modality:3} {case.profile:9} read by {reader}")

    def _await_offer(self, case_id: str) -> Case | None:
        found: list[Case] = []

        def offered() -> bool:
            with self._parts.database.reading() as tx:
                case = worklist.get_case(tx, case_id)
            found[:] = [case]
            return case.state is CaseState.OFFERED

        return found[0] if self._wait(offered) else None

    def _finish(self, cases: Sequence[Case]) -> None:
        open_ones = {case.id for case in cases}

        def all_completed() -> bool:
            with self._parts.database.reading() as tx:
                for id in list(open_ones):
                    if worklist.get_case(tx, id).state is CaseState.COMPLETED:
                        open_ones.discard(id)
            return not open_ones

        self._wait(all_completed)
        for id in open_ones:
            self._outcome.unexplained.append(Unexplained(f"case {id}", "it was not completed"))
        with self._parts.database.reading() as tx:
            done = [worklist.get_case(tx, case.id) for case in cases if case.id not in open_ones]
            self._outcome.completed = done
            for case in done:
                self._stages_of(tx, case)
            self._audit(tx, done)

    def _stages_of(self, tx: Transaction, case: Case) -> None:
        facts = [*outbox.facts_of(tx, case.study_uid), *outbox.facts_of(tx, case.id)]
        for name, kind in _FACT_STAGES:
            told = [fact for fact in facts if isinstance(fact, kind)]
            if told:
                self._hold(name, _detail(told[0]), at=told[0].at)

    def _audit(self, tx: Transaction, done: Sequence[Case]) -> None:
        breaks = list(audit.verify(tx))
        entries = sum(len(audit.of_case(tx, case.id)) for case in done)
        stage = self._outcome.stages["audit"]
        stage.ok, stage.ms = not breaks and bool(entries), self._ms(self._parts.clock())
        stage.detail = breaks[0] if breaks else f"{entries} entries, the chain is whole"

    def _hold(self, name: str, detail: str, *, at: datetime | None = None) -> None:
        stage = self._outcome.stages[name]
        if not stage.ok:
            stage.ok, stage.ms, stage.detail = True, self._ms(at or self._parts.clock()), detail

    def _ms(self, at: datetime) -> int:
        return max(0, round((at - self._began).total_seconds() * 1000))

    def _explain(self, name: str, reason: str) -> None:
        self._outcome.explained.append(Unexplained(name, reason))
        self._say(f"{name}: {reason}")

    def _wait(self, happened: Callable[[], bool]) -> bool:
        deadline = monotonic_s() + PATIENCE_S
        while not happened():
            if monotonic_s() > deadline:
                return False
            time.sleep(_LOOK_S)
        return True


def artifacts(parts: Parts, outcome: Outcome) -> list[dict[str, str]]:
    """Return where the documents of each completed case lie, as paths below the data directory."""
    found = []
    for case in outcome.completed:
        with parts.database.reading() as tx:
            sealed = reporting.sealed_for_case(tx, case.id)
            stored = [e.instance_uid for e in archive.manifest(tx, case.study_uid).entries]
        document = sealed[-1]
        folder = parts.settings.data / "record" / case.id
        objects = parts.settings.data / "objects"
        found.append(
            {
                "case": case.id,
                "pdf": str(objects / document.pdf_key),
                "sr": str(objects / document.sr_key),
                "bundle": str(next(iter(folder.rglob("bundle.json")), "")),
                "instances": ",".join(stored),
            }
        )
    return found


def _words(case: Case) -> list[Section]:
    return [
        Section(FINDINGS, f"Demonstration reading of a {case.modality} study of the demo network."),
        Section(IMPRESSION, "Demonstration only: no diagnosis is made."),
    ]


def _detail(fact: Fact) -> str:
    if isinstance(fact, StudyCompleted):
        return f"version {fact.manifest_version}: {fact.verdict}"
    if isinstance(fact, TriageSettled):
        return f"{fact.outcome}, level {fact.level}: {fact.reason}"
    if isinstance(fact, CaseClaimed):
        return f"by {fact.reader_id}"
    if isinstance(fact, ReportSigned | CaseSigned):
        return f"sha256 {fact.document_digest[:16]}…"
    if isinstance(fact, DocumentFiled):
        return f"{fact.destination}: {fact.receipt}"
    if isinstance(fact, CaseOpened | CaseQueued):
        return f"profile {fact.profile}"
    return "told"

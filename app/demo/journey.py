"""The main job, done for real: from C-STORE to the health record, with the time of each stage."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

import reporting
import worklist.store
from app.bootstrap import DEMO_PASSPHRASE, Parts
from app.demo.network import BY, ISSUER, SENDER
from app.demo.outcome import Account, Outcome, Stage, Story
from app.demo.samples import Follow, Sample, unseen
from app.orders import Order
from app.orders import add as add_order
from app.serving import Ports
from dicom_node.as_shown import AsShown
from dicom_node.part10 import split
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
from storage import audit, outbox
from storage.engine import Transaction
from worklist import commands
from worklist.act import Act
from worklist.case import Case, CaseState

PATIENCE_S = 120.0
_LOOK_S = 0.05
_BEFORE_OFFER = frozenset({CaseState.RECEIVED, CaseState.QUEUED})
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


class Journey:
    """Sends studies from the mobile complex of the demo and reads them as its consultants.

    Parameters
    ----------
    say
        Told one line for each case that was read.
    follow
        Shows how far the sending is.
    """

    def __init__(
        self,
        parts: Parts,
        ports: Ports,
        *,
        say: Callable[[str], None],
        follow: Follow = unseen,
    ) -> None:
        self._parts = parts
        self._ports = ports
        self._say = say
        self._follow = follow
        self._outcome = Outcome()
        self._passed: dict[str, dict[str, Stage]] = {}
        self._began: dict[str, datetime] = {}
        self._stored: dict[str, tuple[str, ...]] = {}
        self._signing = Signing(parts.database, parts.objects, AsShown(parts.archive), parts.trust)

    def run(self, samples: Sequence[Sample], *, read: bool = True) -> Outcome:
        """Send every sample; with `read`, read, sign and complete every case that opens."""
        studies: dict[str, list[Sample]] = {}
        for sample in samples:
            studies.setdefault(sample.header.study_uid, []).append(sample)
        refused = self._ask_for(studies)
        for uid, group in self._follow(list(studies.items()), "sending studies"):
            self._send(uid, group)
        for uid in refused.keys() & self._stored.keys():
            self._explain(f"study {uid}", refused[uid], self._stored.pop(uid))
        cases = self._cases()
        if read:
            for case in cases:
                self._read(case)
            self._finish(cases)
        return self._outcome

    def _ask_for(self, studies: Mapping[str, Sequence[Sample]]) -> dict[str, str]:
        """Make a request for each study; return why there is none for some."""
        uses = Counter(group[0].header.accession for group in studies.values())
        refused = {}
        for uid, group in studies.items():
            header = group[0].header
            # A number that several studies carry finds none of them: their UIDs do.
            accession = header.accession if uses[header.accession] == 1 else ""
            order = Order(
                accession=accession,
                patient_id=header.patient_id,
                issuer=header.issuer,
                name=header.patient_name,
                sex=header.sex,
                birth_date=header.birth_date,
                modality=header.modality,
                station_ae_title=SENDER,
                procedure=header.study_description,
                study_uid=uid,
                organisation="van1",
            )
            try:
                with self._parts.database.transaction() as tx:
                    add_order(tx, order, by=BY)
            except EngineError as error:
                refused[uid] = f"no request could be made: {error.sentence}"
        return refused

    def _send(self, study_uid: str, group: Sequence[Sample]) -> None:
        node = Peer(
            ae_title=self._parts.settings.dicom.ae_title,
            host="127.0.0.1",
            port=self._ports.dicom or 0,
            organisation_id="van1",
            issuer=ISSUER,
        )
        outgoing = [Outgoing(sample.header.instance_uid, sample.load()) for sample in group]
        self._began[study_uid] = self._parts.clock()
        try:
            accounts = send(outgoing, node, SendSettings(ae_title=SENDER))
        except EngineError as error:
            files = tuple(sample.name for sample in group)
            account = Account(f"study {study_uid}", error.sentence, files)
            self._outcome.unexplained.append(account)
            return
        for sample, told in zip(group, accounts, strict=True):
            if not told.ok:
                status = "" if told.status is None else f" (status {told.status:04X})"
                reason = f"the node refused it: {told.reason}{status}"
                self._explain(sample.name, reason, (sample.name,))
        stored = [sample for sample, told in zip(group, accounts, strict=True) if told.ok]
        if stored:
            self._pass(study_uid, "received", f"{len(stored)} instances stored")
            self._read_back(study_uid, stored)

    def _read_back(self, study_uid: str, stored: Sequence[Sample]) -> None:
        """What was acknowledged can be read back: the data set, byte for byte."""
        whole = []
        for sample in stored:
            kept = self._parts.archive.read(sample.header.instance_uid)
            if _data_set(kept) == _data_set(sample.load()):
                whole.append(sample.name)
            else:
                reason = "it was not read back as it was sent"
                self._outcome.unexplained.append(Account(sample.name, reason, (sample.name,)))
        if whole:
            self._stored[study_uid] = tuple(whole)
            self._pass(study_uid, "durable", f"{len(whole)} read back byte for byte")

    def _cases(self) -> list[Case]:
        """Wait until each study is in a case or on the desk with its reason."""
        cases: dict[str, list[Case]] = {}
        on_desk: dict[str, str] = {}

        def settled() -> bool:
            with self._parts.database.reading() as tx:
                for uid in self._stored.keys() - cases.keys() - on_desk.keys():
                    found = worklist.store.cases_of_study(tx, uid, lock=False)
                    waiting = worklist.store.on_desk(tx, uid)
                    if found:
                        cases[uid] = found
                    elif waiting is not None:
                        on_desk[uid] = waiting.sentence
            return len(cases) + len(on_desk) == len(self._stored)

        self._wait(settled)
        for uid in self._stored.keys() - cases.keys():
            files = self._stored[uid]
            if uid in on_desk:
                self._explain(f"study {uid}", on_desk[uid], files)
            else:
                account = Account(f"study {uid}", "nothing became of it", files)
                self._outcome.unexplained.append(account)
        return [case for group in cases.values() for case in group]

    def _read(self, case: Case) -> None:
        """Accept, write, finalise and sign; one that an earlier run has read stays as it is."""
        offered = self._await_offer(case.id)
        if offered is None or offered.state is not CaseState.OFFERED:
            return
        reader = offered.offered_to or ""
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
        signer = open_key_file(self._parts.key_file(reader).read_bytes(), DEMO_PASSPHRASE)
        self._signing.sign(saved.id, version.number, signer)
        self._say(f"case {case.id[:8]}  {case.modality:3} {case.profile:9} read by {reader}")

    def _await_offer(self, case_id: str) -> Case | None:
        found: list[Case] = []

        def offered() -> bool:
            with self._parts.database.reading() as tx:
                found[:] = [worklist.get_case(tx, case_id)]
            return found[0].state not in _BEFORE_OFFER

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
        with self._parts.database.reading() as tx:
            breaks = list(audit.verify(tx))
            for id in {case.id: case for case in cases}:
                self._account_for(tx, worklist.get_case(tx, id), breaks)
        self._tell_stories()

    def _account_for(self, tx: Transaction, case: Case, breaks: Sequence[str]) -> None:
        files = self._stored.get(case.study_uid, ())
        if case.state is not CaseState.COMPLETED:
            reason = f"its case was not completed: it is {case.state}, {case.state_reason}"
            self._outcome.unexplained.append(Account(f"case {case.id}", reason, files))
            return
        self._outcome.completed.append(case)
        self._outcome.files_in_cases += self._stored.pop(case.study_uid, ())
        self._stages_of(tx, case)
        entries = len(audit.of_case(tx, case.id))
        if entries and not breaks:
            detail = f"{entries} entries about the case, the chain is whole"
            self._pass(case.study_uid, "audit", detail)

    def _stages_of(self, tx: Transaction, case: Case) -> None:
        facts = [*outbox.facts_of(tx, case.study_uid), *outbox.facts_of(tx, case.id)]
        for name, kind in _FACT_STAGES:
            told = [fact for fact in facts if isinstance(fact, kind)]
            if told:
                self._pass(case.study_uid, name, _detail(told[0]), at=told[0].at)
        for document in reporting.sealed_for_case(tx, case.id)[:1]:
            detail = f"version {document.version} finalised"
            self._pass(case.study_uid, "reported", detail, at=document.finalised_at)

    def _tell_stories(self) -> None:
        for uid, passed in self._passed.items():
            # The stage tells what the fact told: models ran only where triage was not skipped.
            looked_at = "triage" in passed and passed["triage"].detail.startswith("settled")
            self._outcome.stories.append(Story(uid, self._began[uid], passed, looked_at))

    def _pass(self, study_uid: str, name: str, detail: str, *, at: datetime | None = None) -> None:
        since = (at or self._parts.clock()) - self._began[study_uid]
        ms = max(0, round(since.total_seconds() * 1000))
        self._passed.setdefault(study_uid, {}).setdefault(name, Stage(name, True, ms, detail))

    def _explain(self, name: str, reason: str, files: tuple[str, ...]) -> None:
        self._outcome.explained.append(Account(name, reason, files))

    def _wait(self, happened: Callable[[], bool]) -> bool:
        deadline = monotonic_s() + PATIENCE_S
        while not happened():
            if monotonic_s() > deadline:
                return False
            time.sleep(_LOOK_S)
        return True


def _data_set(file: bytes) -> memoryview:
    return memoryview(file)[split(file).data_set_offset :]


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
    if isinstance(fact, RequesterNotified):
        return "the requester has a notice"
    return "filed and told"

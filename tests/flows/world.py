"""Brings a study through a deployment whatever dies on the way, and looks at what came of it."""

import time
from collections import Counter
from dataclasses import dataclass

import httpx

import reporting
from app.bootstrap import Parts
from health_record import commands as health_record
from kernel.clock import monotonic_s
from kernel.errors import Transient
from storage import archive, audit, outbox
from tests.flows.actors import Consultant, Study
from tests.flows.deployment import Deployment, KillPoint
from worklist.case import CaseState

PATIENCE_S = 90.0
LOOK_S = 0.1
ONCE = (
    "CaseOpened",
    "TriageSettled",
    "CaseQueued",
    "ReportSigned",
    "CaseSigned",
    "DocumentFiled",
    "RequesterNotified",
    "CaseCompleted",
)


@dataclass
class World:
    """A deployment, seen from outside through its database and its doors."""

    deployment: Deployment
    parts: Parts

    def carry(self, study: Study, *, until: CaseState = CaseState.COMPLETED) -> None:
        """Start again what died, and do what sender and reader do until the case is there."""
        for process in self.deployment.processes.values():
            if not process.is_alive():
                process.start()
        self._carry(study, until, dies=None)

    def carry_until_killed(self, study: Study, role: str, kill: KillPoint) -> None:
        """Arm one process to kill itself at a point and go on until it has."""
        process = self.deployment.doing(role)
        if process.is_alive():
            process.stop()
        process.start(kill)
        self._carry(study, CaseState.COMPLETED, dies=role)
        process.kill()

    def _carry(self, study: Study, until: CaseState, *, dies: str | None) -> None:
        deadline = monotonic_s() + PATIENCE_S
        while monotonic_s() < deadline:
            if dies is not None and self.deployment.doing(dies).killed():
                return
            study.send(self.deployment.dicom_port)
            case = study.case(self.parts)
            if case is not None and case.state is until:
                if dies is None:
                    return
                raise AssertionError("the case went through and the process was not killed")
            if case is not None and case.state in {CaseState.OFFERED, CaseState.READING}:
                self._read(case)
            time.sleep(LOOK_S)
        raise AssertionError(self._told(study))

    def _read(self, case: object) -> None:
        from worklist.case import Case

        assert isinstance(case, Case)
        reader = case.offered_to or case.holder or ""
        try:
            consultant = Consultant(self.deployment, reader.removeprefix("r-"))
            try:
                consultant.read_and_sign(case)
            finally:
                consultant.close()
        except httpx.TransportError:
            return  # the web died: the browser tries again

    def _told(self, study: Study) -> str:
        case = study.case(self.parts)
        with self.parts.database.reading() as tx:
            parked = outbox.parked(tx)
        logs = {
            name: process.log.read_text()[-2000:]
            for name, process in self.deployment.processes.items()
        }
        return f"it did not get there: {case} parked={parked} logs={logs}"


def check_exactly_once(parts: Parts, study: Study) -> None:
    """Assert that everything of a completed study is there, once, and unchanged."""
    case = study.case(parts)
    assert case is not None
    assert case.state is CaseState.COMPLETED
    with parts.database.reading() as tx:
        told = Counter(fact.kind for fact in outbox.facts_of(tx, case.id))
        completed = [fact.kind for fact in outbox.facts_of(tx, study.study_uid)]
        documents = reporting.sealed_for_case(tx, case.id)
        deliveries = health_record.list_deliveries(tx, case_id=case.id)
        notices = [
            notice
            for notice in health_record.notices_for(tx, "van1", limit=1000)
            if notice.case_id == case.id
        ]
        entries = Counter(entry.action for entry in audit.of_case(tx, case.id))
        assert list(audit.verify(tx)) == []
        assert list(archive.verify_manifests(tx)) == []
        assert outbox.parked(tx) == []
    assert {kind: told[kind] for kind in ONCE} == dict.fromkeys(ONCE, 1)
    assert completed == ["StudyCompleted"]
    assert len(documents) == 1
    assert sorted(d.destination for d in deliveries) == ["record", "requester"]
    assert len(notices) == 1
    assert entries["case.completed"] == 1
    assert entries["report.signed"] == 1
    assert read_back(parts, study).endswith(study.part10()[-10_000:])


def read_back(parts: Parts, study: Study) -> bytes:
    """Return what the archive holds of the study's film; wait while another node packs it."""
    deadline = monotonic_s() + PATIENCE_S
    while True:
        try:
            return parts.archive.read(study.instance_uid)
        except Transient:
            if monotonic_s() > deadline:
                raise
            time.sleep(LOOK_S)

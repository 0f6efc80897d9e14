"""The 18 steps of one study by the functions that do them, and who does them."""

from dataclasses import dataclass

from tests.flows.deployment import KillPoint


@dataclass(frozen=True, slots=True)
class Step:
    """One step: number, role of the process that does it, function."""

    number: int
    role: str
    module: str
    qualname: str

    def __str__(self) -> str:
        return f"{self.number:02d}-{self.module}.{self.qualname}"

    def at(self, when: str) -> KillPoint:
        """Return the point at the function's entry ('call') or end ('return')."""
        return KillPoint(self.module, self.qualname, when)


STEPS = (
    Step(1, "listen", "dicom_node.receive", "StorageAssociation._store"),
    Step(2, "listen", "dicom_node.headers", "read"),
    Step(3, "listen", "storage.incoming", "Incoming.flush"),
    Step(4, "listen", "dicom_node.admission", "admit"),
    Step(5, "listen", "dicom_node.statuses", "word_for"),
    Step(6, "work", "dicom_node.completeness", "judge"),
    Step(7, "work", "storage.archive", "freeze_manifest"),
    Step(8, "work", "worklist.intake", "open_case"),
    Step(9, "work", "ai_assist.commands", "plan_triage"),
    Step(10, "work", "ai_assist.tasks", "TriageWork.run_triage"),
    Step(11, "work", "worklist.commands", "enqueue"),
    Step(12, "work", "worklist.offering", "offer_next"),
    Step(13, "serve", "reporting.commands", "finalise"),
    Step(14, "serve", "reporting.sign", "Signing.sign"),
    Step(15, "work", "worklist.commands", "finish"),
    Step(16, "work", "health_record.commands", "schedule"),
    Step(17, "work", "health_record.tasks", "Deliveries.attempt"),
    Step(18, "work", "worklist.commands", "complete"),
)

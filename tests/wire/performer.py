"""pynetdicom as a client of the Unified Procedure Step, and what a workitem looks like."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pydicom import config
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import generate_uid
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.sop_class import (
    UnifiedProcedureStepEvent,
    UnifiedProcedureStepPull,
    UnifiedProcedureStepPush,
    UnifiedProcedureStepQuery,
    UnifiedProcedureStepWatch,
)

from dicom_node import commands
from dicom_node.peers import Peer
from dicom_node.send import SendSettings
from dicom_node.workitems.reports import WorkitemReports
from kernel.people import ENGINE
from storage.engine import Database
from tests.wire.inquirer import without_delay
from tests.wire.speaker import CALLING

PUSH = UnifiedProcedureStepPush
CLASSES = {
    "push": UnifiedProcedureStepPush,
    "pull": UnifiedProcedureStepPull,
    "watch": UnifiedProcedureStepWatch,
    "query": UnifiedProcedureStepQuery,
}


def coded(value: str, meaning: str, scheme: str = "DCM") -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def a_workitem(**changed: Any) -> Dataset:
    """Return all that N-CREATE has to say."""
    given = Dataset()
    given.SpecificCharacterSet = "ISO_IR 192"
    given.ProcedureStepState = "SCHEDULED"
    given.ScheduledProcedureStepPriority = "MEDIUM"
    given.ProcedureStepLabel = "Сегментація легень"
    given.WorklistLabel = "AI"
    given.ScheduledProcedureStepStartDateTime = "20260302080000+0000"
    given.InputReadinessState = "READY"
    given.ScheduledProcessingParametersSequence = Sequence()
    given.ScheduledStationNameCodeSequence = Sequence()
    given.ScheduledStationClassCodeSequence = Sequence()
    given.ScheduledStationGeographicLocationCodeSequence = Sequence()
    given.ScheduledWorkitemCodeSequence = Sequence([coded("110004", "CAD")])
    given.CommentsOnTheScheduledProcedureStep = ""
    given.InputInformationSequence = Sequence()
    given.PatientName = "Ахметова^Айгүл"
    given.PatientID, given.IssuerOfPatientID = "P-1", "site-1"
    given.PatientBirthDate, given.PatientSex = "19700403", "F"
    given.AdmissionID, given.IssuerOfAdmissionIDSequence = "", Sequence()
    given.AdmittingDiagnosesDescription = ""
    given.AdmittingDiagnosesCodeSequence = Sequence()
    given.ReferencedRequestSequence = Sequence()
    given.MedicalAlerts, given.SpecialNeeds, given.PregnancyStatus = "", "", None
    given.ProcedureStepProgressInformationSequence = Sequence()
    given.UnifiedProcedureStepPerformedProcedureSequence = Sequence()
    for keyword, value in changed.items():
        if value is ...:
            delattr(given, keyword)
        else:
            assign(given, keyword, value)
    return given


def assign(given: Dataset, keyword: str, value: Any) -> None:
    """Set what need not be a value of its VR: queries have ranges, and clients err."""
    tag = tag_for_keyword(keyword)
    assert tag is not None
    given[tag] = DataElement(tag, dictionary_VR(tag), value, validation_mode=config.IGNORE)


def performed() -> Dataset:
    """Return what a COMPLETED workitem says of what was done."""
    done = Dataset()
    done.PerformedStationNameCodeSequence = Sequence([coded("AI-1", "AI server", "99TEST")])
    done.PerformedProcedureStepStartDateTime = "20260302081000+0000"
    done.PerformedProcedureStepEndDateTime = "20260302081200+0000"
    done.PerformedWorkitemCodeSequence = Sequence([coded("110004", "CAD")])
    done.OutputInformationSequence = Sequence()
    told = Dataset()
    told.UnifiedProcedureStepPerformedProcedureSequence = Sequence([done])
    return told


def discontinued() -> Dataset:
    """Return what a CANCELED workitem says of why."""
    step = Dataset()
    step.ProcedureStepDiscontinuationReasonCodeSequence = Sequence(
        [coded("110526", "Resource pre-empted")]
    )
    told = Dataset()
    told.ProcedureStepProgressInformationSequence = Sequence([step])
    return told


@dataclass
class Performer:
    """One client, with an association for each thing it does."""

    port: int
    ae_title: str = CALLING

    @contextmanager
    def association(self) -> Iterator[Association]:
        entity = AE(ae_title=self.ae_title)
        for each in CLASSES.values():
            entity.add_requested_context(each)
        association = entity.associate(
            "127.0.0.1",
            self.port,
            ae_title="TELERAD",
            evt_handlers=[(evt.EVT_CONN_OPEN, without_delay)],
        )
        assert association.is_established
        try:
            yield association
        finally:
            association.release()

    def create(self, given: Dataset, uid: str = "") -> tuple[int, str]:
        wanted = uid or str(generate_uid())
        with self.association() as association:
            status, _ = association.send_n_create(given, PUSH, wanted)
        return int(status.Status), wanted

    def get(self, uid: str, tags: list[int] | None = None) -> tuple[int, Dataset | None]:
        with self.association() as association:
            status, found = association.send_n_get(tags or [], PUSH, uid)
        return int(status.Status), found

    def set(self, uid: str, given: Dataset, transaction_uid: str = "") -> int:
        if transaction_uid:
            given.TransactionUID = transaction_uid
        with self.association() as association:
            status, _ = association.send_n_set(given, PUSH, uid, meta_uid=UnifiedProcedureStepPull)
        return int(status.Status)

    def act(self, uid: str, action: int, told: Dataset, through: str = "pull") -> int:
        with self.association() as association:
            status, _ = association.send_n_action(
                told, action, PUSH, uid, meta_uid=CLASSES[through]
            )
        return int(status.Status)

    def change(self, uid: str, state: str, transaction_uid: str = "") -> int:
        told = Dataset()
        told.ProcedureStepState = state
        if transaction_uid:
            told.TransactionUID = transaction_uid
        return self.act(uid, 1, told)

    def ask_cancel(self, uid: str, reason: str = "", through: str = "push") -> int:
        told = Dataset()
        told.ReasonForCancellation = reason
        return self.act(uid, 2, told, through=through)

    def watch(self, uid: str, action: int, receiver: str, lock: str = "FALSE", **keys: Any) -> int:
        told = Dataset()
        told.ReceivingAE = receiver
        if action == 3:
            told.DeletionLock = lock
        for keyword, value in keys.items():
            assign(told, keyword, value)
        return self.act(uid, action, told, through="watch")

    def find(self, through: str = "pull", **keys: Any) -> tuple[int, list[Dataset]]:
        asked = Dataset()
        asked.SpecificCharacterSet = "ISO_IR 192"
        for keyword, value in keys.items():
            assign(asked, keyword, value)
        found, last = [], -1
        with self.association() as association:
            for status, answer in association.send_c_find(asked, CLASSES[through]):
                last = int(status.Status)
                if answer is not None:
                    found.append(answer)
        return last, found


@dataclass
class Watcher:
    """A device that is told of events."""

    ae_title: str
    heard: list[tuple[str, int, Dataset]] = field(default_factory=list)
    answer: int = 0

    def hear(self, event: evt.Event) -> tuple[int, None]:
        if not self.answer:
            request = event.request
            assert request.AffectedSOPClassUID == PUSH
            uid = str(request.AffectedSOPInstanceUID)
            self.heard.append((uid, event.event_type, event.event_information))
        return self.answer, None

    def states(self, uid: str) -> list[str]:
        return [
            told.ProcedureStepState for known, kind, told in self.heard if (known, kind) == (uid, 1)
        ]

    def kinds(self, uid: str) -> list[int]:
        return [kind for known, kind, _ in self.heard if known == uid]


@contextmanager
def watching(
    database: Database, ae_title: str = CALLING, organisation_id: str = "o-1"
) -> Iterator[Watcher]:
    """Run a device that takes reports where the node finds it."""
    watcher = Watcher(ae_title)
    entity = AE(ae_title=ae_title)
    entity.add_supported_context(UnifiedProcedureStepEvent, scu_role=False, scp_role=True)
    server = entity.start_server(
        ("127.0.0.1", 0),
        block=False,
        evt_handlers=[
            (evt.EVT_N_EVENT_REPORT, watcher.hear),
            (evt.EVT_CONN_OPEN, without_delay),
        ],
    )
    with database.transaction() as tx:
        peer = Peer(
            ae_title=ae_title,
            host="127.0.0.1",
            port=server.socket.getsockname()[1],
            organisation_id=organisation_id,
            issuer="site-1",
        )
        commands.add_peer(tx, peer, actor=ENGINE)
    try:
        yield watcher
    finally:
        server.shutdown()


def tell_due(database: Database) -> int:
    """Tell what is due to be told; return how many subscribers that were for."""
    work, _ = WorkitemReports(database, SendSettings(ae_title="TELERAD")).due_work()
    with database.reading() as tx:
        ids = work.due(tx)
    for each in ids:
        work.run(each)
    return len(ids)

"""Modality Performed Procedure Step: what a modality tells of its work, kept and followed."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydicom import config
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pynetdicom import AE, evt

from dicom_node import reactions, store
from dicom_node.uids import MODALITY_WORKLIST, PERFORMED_STEP, PERFORMED_STEP_RETRIEVE
from kernel.facts import ProcedureStepEnded, ProcedureStepStarted, RequestReceived
from storage import audit, outbox, patients
from storage.engine import Database
from tests.dicom_node.samples import CT
from tests.wire.conftest import Node, start
from tests.wire.inquirer import ask, without_delay
from tests.wire.speaker import CALLING
from tests.wire.test_worklist_query import STEP, told, wanted
from tests.wire.victims import victim

SUCCESS, INVALID_VALUE, FAILURE, DUPLICATE = 0x0000, 0x0106, 0x0110, 0x0111
UNKNOWN, MISSING, EMPTY = 0x0112, 0x0120, 0x0121
STUDY = "1.2.840.77.1"


def item(**values: object) -> Dataset:
    made = Dataset()
    for keyword, value in values.items():
        tag = tag_for_keyword(keyword)
        assert tag is not None
        vr = dictionary_VR(tag)
        made[tag] = DataElement(tag, vr, value, validation_mode=config.IGNORE)
    return made


def begun(**other: object) -> Dataset:
    scheduled = item(
        StudyInstanceUID=STUDY,
        AccessionNumber="W-1",
        ScheduledProcedureStepID="W-1",
        ReferencedStudySequence=[],
    )
    step = item(
        SpecificCharacterSet="ISO_IR 192",
        ScheduledStepAttributesSequence=[scheduled],
        PatientName="Ахметова^Айгүл",
        PatientID="P-1",
        PerformedProcedureStepID="PPS-1",
        PerformedStationAETitle=CALLING,
        PerformedProcedureStepStartDate="20260302",
        PerformedProcedureStepStartTime="090000",
        PerformedProcedureStepStatus="IN PROGRESS",
        PerformedProcedureStepEndDate="",
        Modality="CT",
        PerformedSeriesSequence=[],
    )
    for keyword, value in other.items():
        setattr(step, keyword, value)
    return step


def without(keyword: str) -> Dataset:
    step = begun()
    delattr(step, keyword)
    return step


def ended(status: str = "COMPLETED", *instances: str, **other: object) -> Dataset:
    images = [item(ReferencedSOPClassUID=CT, ReferencedSOPInstanceUID=uid) for uid in instances]
    series = item(
        SeriesInstanceUID=f"{STUDY}.1",
        ProtocolName="CHEST",
        ReferencedImageSequence=images,
        ReferencedNonImageCompositeSOPInstanceSequence=[],
    )
    return item(
        PerformedProcedureStepStatus=status,
        PerformedProcedureStepEndDate="20260302",
        PerformedProcedureStepEndTime="091500",
        PerformedSeriesSequence=[series],
        CTDIvol=12.5,
        **other,
    )


def discontinued(code: str) -> Dataset:
    reason = item(CodeValue=code, CodingSchemeDesignator="DCM", CodeMeaning="why")
    told = ended("DISCONTINUED", PerformedProcedureStepDiscontinuationReasonCodeSequence=[reason])
    told.PerformedSeriesSequence = []
    return told


class Modality:
    """A pynetdicom modality that tells of its steps on one association."""

    def __init__(self, port: int, calling: str = CALLING) -> None:
        entity = AE(ae_title=calling)
        for uid in (PERFORMED_STEP, PERFORMED_STEP_RETRIEVE):
            entity.add_requested_context(uid)
        self.heard = Dataset()
        handlers = [(evt.EVT_CONN_OPEN, without_delay), (evt.EVT_DIMSE_RECV, self.hear)]
        self.association = entity.associate(
            "127.0.0.1", port, ae_title="TELERAD", evt_handlers=handlers
        )
        assert self.association.is_established
        self.last = Dataset()

    def hear(self, event: evt.Event) -> None:
        self.heard = event.message.command_set

    def create(self, step: Dataset, uid: str | None) -> int:
        self.last, _ = self.association.send_n_create(step, PERFORMED_STEP, uid)
        return int(self.last.Status)

    def set(self, step: Dataset, uid: str) -> int:
        self.last, _ = self.association.send_n_set(step, PERFORMED_STEP, uid)
        return int(self.last.Status)

    def get(self, uid: str, *tags: int) -> tuple[int, Dataset | None]:
        status, found = self.association.send_n_get(
            list(tags), PERFORMED_STEP, uid, meta_uid=PERFORMED_STEP_RETRIEVE
        )
        return int(status.Status), found


@contextmanager
def modality(node: Node, calling: str = CALLING) -> Iterator[Modality]:
    made = Modality(node.port, calling)
    try:
        yield made
    finally:
        made.association.release()


@pytest.fixture
def planned(tmp_path: Path) -> Iterator[Node]:
    """A node whose worklist has one item at the site of the modality, and one elsewhere."""
    node = start(tmp_path)
    with node.database.transaction() as tx:
        ref = patients.register(
            tx, issuer="site-1", patient_id="P-1", name="A^B", sex="F", birth_date=None
        )
        store.save_step(tx, replace(STEP, patient_ref=ref), at=tx.at)
        other = replace(STEP, request_id="r-o", organisation_id="o-2", patient_ref=ref)
        store.save_step(tx, other, at=tx.at)
    yield node
    node.listener.stop(timedelta(seconds=5))
    node.journal.close()
    node.database.dispose()


def facts(database: Database, uid: str) -> list[Any]:
    with database.reading() as tx:
        return outbox.facts_of(tx, uid)


def with_status(status: str) -> Dataset:
    asked = wanted()
    asked.ScheduledProcedureStepSequence[0].ScheduledProcedureStepStatus = status
    return asked


def listed(node: Node, calling: str = CALLING) -> dict[str, str]:
    """Return the status of each item of the worklist by its accession number."""
    return {
        accession: str(each.ScheduledProcedureStepSequence[0].ScheduledProcedureStepStatus)
        for accession, each in told(node, with_status(""), calling=calling).items()
    }


def test_a_step_goes_from_its_start_to_its_end_and_the_worklist_follows(planned: Node) -> None:
    assert listed(planned) == {"W-1": "SCHEDULED"}
    with modality(planned) as device:
        assert device.create(begun(), "1.2.9.1") == SUCCESS
        assert device.heard.AffectedSOPInstanceUID == "1.2.9.1"
        assert listed(planned) == {"W-1": "STARTED"}
        assert device.set(item(PerformedProcedureStepDescription="so far"), "1.2.9.1") == SUCCESS
        assert device.set(ended("COMPLETED", "1.2.3", "1.2.4"), "1.2.9.1") == SUCCESS

    assert listed(planned) == {}
    assert listed(planned, "OTHER_SITE") == {"W-1": "SCHEDULED"}
    began, over = facts(planned.database, "1.2.9.1")
    assert isinstance(began, ProcedureStepStarted)
    assert isinstance(over, ProcedureStepEnded)
    assert (began.study_uids, began.organisation_id) == ([STUDY], "o-1")
    assert (over.state, over.instances, over.reason_code) == ("COMPLETED", 2, None)
    with planned.database.reading() as tx:
        actions = [entry.action for entry in audit.latest(tx)]
    assert [each for each in actions if each.startswith("step.")] == ["step.ended", "step.started"]


def test_a_step_is_read_back_whole_or_in_part(planned: Node) -> None:
    with modality(planned) as device:
        device.create(begun(), "1.2.9.2")
        device.set(ended("COMPLETED", "1.2.3"), "1.2.9.2")
        status, whole = device.get("1.2.9.2")
        _, part = device.get("1.2.9.2", 0x00400252, 0x00189345)
        unknown, _ = device.get("1.2.9.3")

    assert (status, unknown) == (SUCCESS, UNKNOWN)
    assert whole is not None
    assert part is not None
    assert str(whole.PatientName) == "Ахметова^Айгүл"
    assert whole.PerformedProcedureStepStatus == "COMPLETED"
    (series,) = whole.PerformedSeriesSequence
    assert series.ReferencedImageSequence[0].ReferencedSOPInstanceUID == "1.2.3"
    assert whole.ScheduledStepAttributesSequence[0].AccessionNumber == "W-1"
    assert part.CTDIvol == 12.5
    assert "PatientName" not in part


@pytest.mark.parametrize(
    ("step", "status"),
    [
        (without("PerformedProcedureStepID"), MISSING),
        (without("PerformedStationAETitle"), MISSING),
        (without("Modality"), MISSING),
        (without("PerformedProcedureStepStatus"), MISSING),
        (without("ScheduledStepAttributesSequence"), MISSING),
        (begun(Modality=""), EMPTY),
        (begun(ScheduledStepAttributesSequence=[]), EMPTY),
        (begun(ScheduledStepAttributesSequence=[item(StudyInstanceUID="")]), EMPTY),
        (begun(PerformedSeriesSequence=[item(SeriesInstanceUID="")]), EMPTY),
        (begun(PerformedSeriesSequence=[item(SeriesInstanceUID="1.x")]), INVALID_VALUE),
        (begun(ScheduledStepAttributesSequence=[item(AccessionNumber="W-1")]), MISSING),
        (begun(PerformedSeriesSequence=[item(ProtocolName="X")]), MISSING),
        (begun(PerformedProcedureStepStatus="COMPLETED"), INVALID_VALUE),
        (begun(PerformedProcedureStepStatus="RUNNING"), INVALID_VALUE),
        (begun(ScheduledStepAttributesSequence=[item(StudyInstanceUID="1.x")]), INVALID_VALUE),
    ],
)
def test_a_step_that_lacks_something_is_refused_and_not_kept(
    planned: Node, step: Dataset, status: int
) -> None:
    with modality(planned) as device:
        assert device.create(step, "1.2.9.4") == status
        assert device.last.ErrorComment
        assert device.get("1.2.9.4")[0] == UNKNOWN
    assert facts(planned.database, "1.2.9.4") == []
    assert listed(planned) == {"W-1": "SCHEDULED"}


@pytest.mark.parametrize("final", ["COMPLETED", "DISCONTINUED"])
def test_nothing_changes_a_step_that_has_ended(planned: Node, final: str) -> None:
    with modality(planned) as device:
        device.create(begun(), "1.2.9.5")
        assert device.set(ended(final), "1.2.9.5") == SUCCESS
        for more in (ended(final), ended("COMPLETED"), item(PerformedProcedureStepDescription="x")):
            assert device.set(more, "1.2.9.5") == FAILURE
            assert device.last.ErrorID == 0xA710
    assert len(facts(planned.database, "1.2.9.5")) == 2


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (item(PerformedProcedureStepStatus="COMPLETED"), MISSING),
        (item(PerformedProcedureStepStatus="DONE"), INVALID_VALUE),
        (item(PatientID="P-2"), INVALID_VALUE),
        (item(ScheduledStepAttributesSequence=[item(StudyInstanceUID="1.9")]), INVALID_VALUE),
        (item(PatientID="P-1", Modality="CT"), SUCCESS),
    ],
)
def test_a_change_is_taken_if_it_may_be(planned: Node, change: Dataset, status: int) -> None:
    with modality(planned) as device:
        device.create(begun(), "1.2.9.6")
        assert device.set(change, "1.2.9.6") == status
        _, found = device.get("1.2.9.6", 0x00400252)
    assert found is not None
    assert found.PerformedProcedureStepStatus == "IN PROGRESS"


def test_the_same_step_again_is_the_same_answer_and_another_is_refused(planned: Node) -> None:
    with modality(planned) as device:
        for _ in range(2):
            assert device.create(begun(), "1.2.9.7") == SUCCESS
        assert device.create(begun(PerformedProcedureStepID="PPS-2"), "1.2.9.7") == DUPLICATE
        uids = set()
        for _ in range(2):  # without a UID the node gives one
            assert device.create(begun(), None) == SUCCESS
            uids.add(str(device.heard.AffectedSOPInstanceUID))
    with modality(planned, "VAN2") as other:
        assert other.create(begun(), "1.2.9.7") == DUPLICATE

    assert len(uids) == 1
    assert len(facts(planned.database, "1.2.9.7")) == 1


def test_a_device_changes_what_its_own_site_began(planned: Node) -> None:
    with modality(planned) as device:
        device.create(begun(), "1.2.9.8")
    with modality(planned, "OTHER_SITE") as stranger:
        assert stranger.set(ended(), "1.2.9.8") == UNKNOWN
        assert stranger.get("1.2.9.8")[0] == UNKNOWN
        assert stranger.create(begun(), "1.2.9.9") == SUCCESS  # for its own worklist
        assert listed(planned) == {"W-1": "STARTED"}
    assert listed(planned, "OTHER_SITE") == {"W-1": "STARTED"}
    with modality(planned, "VAN2") as colleague:
        assert colleague.set(ended(), "1.2.9.8") == SUCCESS
    assert listed(planned) == {}
    assert listed(planned, "OTHER_SITE") == {"W-1": "STARTED"}


@pytest.mark.parametrize(
    ("code", "left", "said"),
    [("110514", {"W-1": "SCHEDULED"}, ""), ("110501", {}, "DCM:110501")],
)
def test_a_discontinued_step_says_why_and_a_wrong_line_stays_on_the_list(
    planned: Node, code: str, left: dict[str, str], said: str
) -> None:
    with modality(planned) as device:
        device.create(begun(), "1.2.9.10")
        assert device.set(discontinued(code), "1.2.9.10") == SUCCESS

    assert listed(planned) == left
    _, over = facts(planned.database, "1.2.9.10")
    assert (over.state, over.reason_scheme, over.reason_code) == ("DISCONTINUED", "DCM", code)
    with planned.database.reading() as tx:
        step = store.find_step(tx, "r-1")
    assert step is not None
    assert step.reason == said


def test_a_step_that_is_begun_again_is_on_the_list_again(planned: Node) -> None:
    with modality(planned) as device:
        device.create(begun(), "1.2.9.11")
        device.set(discontinued("110501"), "1.2.9.11")
        device.create(begun(), "1.2.9.12")
        assert listed(planned) == {"W-1": "STARTED"}
        device.set(ended(), "1.2.9.12")
    with planned.database.reading() as tx:
        step = store.find_step(tx, "r-1")
    assert step is not None
    assert (step.progress, step.reason) == ("COMPLETED", "")


def test_a_request_that_is_told_after_its_step_began_knows_of_it(planned: Node) -> None:
    step = begun(
        ScheduledStepAttributesSequence=[item(StudyInstanceUID="1.2.77.9", AccessionNumber="L-1")]
    )
    with modality(planned) as device:
        device.create(step, "1.2.9.13")
    kinds = reactions.reactions()[reactions.CONSUMER]
    with planned.database.transaction() as tx:
        fact = RequestReceived(
            subject="r-late", at=tx.at, actor="system:test", request_id="r-late",
            organisation_id="o-1", patient_ref=_ref(planned), accession="L-1", study_uid=None,
            modality="CT", station_ae_title="", procedure="CT", scheduled_at=None, profile=None,
            form="planned",
        )  # fmt: skip
        kinds[RequestReceived](tx, fact)

    assert listed(planned)["L-1"] == "STARTED"


def _ref(node: Node) -> str:
    with node.database.reading() as tx:
        step = store.find_step(tx, "r-1")
    assert step is not None
    return step.patient_ref


def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    with victim(tmp_path) as port:
        device = Modality(port)
        assert device.create(begun(), "1.2.9.14") == SUCCESS
        assert device.set(ended(), "1.2.9.14") == SUCCESS
    device.association.abort()

    database = Database(f"sqlite:///{tmp_path / 'telerad.db'}")
    assert [fact.kind for fact in facts(database, "1.2.9.14")] == [
        "ProcedureStepStarted",
        "ProcedureStepEnded",
    ]
    database.dispose()


def test_a_worklist_can_be_asked_for_what_goes_on(planned: Node) -> None:
    with modality(planned) as device:
        device.create(begun(), "1.2.9.15")
    for status, found in (("STARTED", 1), ("SCHEDULED", 0)):
        assert len(ask(planned, with_status(status), root=MODALITY_WORKLIST)[1]) == found

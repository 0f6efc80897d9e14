"""A study is whole at once when all is here that its sender announced, by whatever means."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt

from dicom_node.completeness import CompletenessPolicy
from dicom_node.flight_teller import FlightTeller
from dicom_node.key_objects import ManifestReading
from dicom_node.tasks import Settling
from dicom_node.uids import AVAILABILITY, EXPLICIT_LITTLE, KEY_OBJECTS
from dicom_node.verdicts import waits
from kernel.facts import StudyAmended, StudyCompleted
from storage import archive, outbox
from tests.dicom_node.samples import CT, a_slice, as_file, as_sent
from tests.dicom_node.settled import waited_for
from tests.wire.conftest import Node, start
from tests.wire.inquirer import without_delay
from tests.wire.speaker import CALLING, Speaker
from tests.wire.test_commitment import ask, information
from tests.wire.test_performed_steps import begun, ended, item, modality

POLICY = CompletenessPolicy(
    quiet=timedelta(minutes=4),
    idle_association=timedelta(minutes=5),
    longest_wait=timedelta(days=1),
)
STUDY = str(a_slice(study=80).StudyInstanceUID)
SERIES = f"{STUDY}.1"


def uid(number: int) -> str:
    return str(a_slice(number, study=80).SOPInstanceUID)


@dataclass
class Site:
    """A node, what settles its studies, and a modality with an association open."""

    node: Node
    settling: Settling
    speaker: Speaker
    teller: FlightTeller

    def send(self, *numbers: int) -> None:
        for number in numbers:
            announced, data = as_sent(as_file(a_slice(number, study=80)))
            assert self.speaker.store(announced, data) == 0
        self.teller.tell()

    def settle(self) -> list[str]:
        with self.node.database.reading() as tx:
            due = self.settling.due_studies(tx)
        for study_uid in due:
            self.settling.settle_study(study_uid)
        return due

    def waits(self) -> list[tuple[str, int]]:
        with self.node.database.reading() as tx:
            arriving = waited_for(self.settling, tx)
        return [(each.why, each.missing) for _, each in arriving]

    def sentence(self) -> str:
        with self.node.database.reading() as tx:
            (wait,) = waits(tx, POLICY, limit=10)
        return wait.sentence

    def facts(self) -> list[object]:
        with self.node.database.reading() as tx:
            return [
                fact
                for fact in outbox.facts_of(tx, STUDY)
                if isinstance(fact, StudyCompleted | StudyAmended)
            ]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    node = start(tmp_path)
    settling = Settling(node.database, POLICY)
    with Speaker(node.port) as speaker:
        speaker.associate((CT, EXPLICIT_LITTLE), (KEY_OBJECTS, EXPLICIT_LITTLE))
        teller = FlightTeller(node.database, "test", node.listener.in_flight, pause=POLICY.quiet)
        yield Site(node, settling, speaker, teller)
        speaker.release()
    node.listener.stop(timedelta(seconds=5))
    node.journal.close()
    node.database.dispose()


def notify(node: Node, *uids: str, calling: str = CALLING, **more: object) -> int:
    series = item(
        SeriesInstanceUID=SERIES,
        ReferencedSOPSequence=[
            item(
                ReferencedSOPClassUID=CT,
                ReferencedSOPInstanceUID=each,
                InstanceAvailability="ONLINE",
                RetrieveAETitle=calling,
            )
            for each in uids
        ],
    )
    told = item(
        ReferencedPerformedProcedureStepSequence=[],
        StudyInstanceUID=STUDY,
        ReferencedSeriesSequence=[series],
    )
    told.update(item(**more))
    entity = AE(ae_title=calling)
    entity.add_requested_context(AVAILABILITY)
    association = entity.associate(
        "127.0.0.1",
        node.port,
        ae_title="TELERAD",
        evt_handlers=[(evt.EVT_CONN_OPEN, without_delay)],
    )
    assert association.is_established
    status, _ = association.send_n_create(told, AVAILABILITY, "1.2.44.1")
    association.release()
    return int(status.Status)


def perform(node: Node, *uids: str) -> None:
    step = begun(
        ScheduledStepAttributesSequence=[item(StudyInstanceUID=STUDY, AccessionNumber="ACC80")]
    )
    over = ended("COMPLETED", *uids)
    with modality(node) as device:
        assert device.create(step, "1.2.44.2") == 0
        assert device.set(over, "1.2.44.2") == 0


@pytest.mark.parametrize("announce", [notify, perform])
def test_all_that_was_announced_is_here_and_the_study_is_whole_at_once(
    site: Site, announce
) -> None:  # type: ignore[no-untyped-def]
    announce(site.node, uid(1), uid(2), uid(3))
    site.send(1)
    assert site.settle() == []
    assert site.waits() == [("instances_missing", 2)]
    assert site.sentence() == "Images that its sender announced are not here yet. 2 to come."

    site.send(2, 3)
    assert site.settle() == [STUDY]  # while its association is open

    (completed,) = site.facts()
    assert isinstance(completed, StudyCompleted)
    assert completed.verdict == "all_announced_are_here"


def test_an_announcement_may_come_after_what_it_announces(site: Site) -> None:
    site.send(1, 2)
    assert site.waits() == [("association_open", 0)]
    perform(site.node, uid(1), uid(2))

    assert site.settle() == [STUDY]


def test_a_study_whose_step_goes_on_is_not_whole(site: Site) -> None:
    notify(site.node, uid(1))
    step = begun(ScheduledStepAttributesSequence=[item(StudyInstanceUID=STUDY)])
    with modality(site.node) as device:
        device.create(step, "1.2.44.3")
    site.send(1)

    assert site.settle() == []
    assert site.waits() == [("step_in_progress", 0)]


def test_what_nobody_announced_makes_the_quiet_time_count_again(site: Site) -> None:
    notify(site.node, uid(1))
    site.send(1, 2)

    assert site.settle() == []


def test_another_site_cannot_hold_a_study_up(site: Site) -> None:
    notify(site.node, uid(1), "1.2.3.99", calling="OTHER_SITE")
    site.send(1)

    assert site.waits() == [("association_open", 0)]


def test_a_notice_of_one_step_or_of_what_is_gone_says_nothing_of_the_rest(site: Site) -> None:
    step = item(ReferencedSOPClassUID="1.2.840.10008.3.1.2.3.3", ReferencedSOPInstanceUID="1.2.5")
    notify(site.node, uid(1), ReferencedPerformedProcedureStepSequence=[step])
    site.send(1)

    assert site.settle() == []


NAMELESS = item(ReferencedSOPSequence=[item(InstanceAvailability="ONLINE")])


@pytest.mark.parametrize(
    "wrong", [{"StudyInstanceUID": ""}, {"ReferencedSeriesSequence": [NAMELESS]}]
)
def test_a_notice_that_names_nothing_is_refused(site: Site, wrong: dict[str, object]) -> None:
    assert notify(site.node, uid(1), **wrong) == 0x0120


def test_what_a_device_wants_committed_is_waited_for_and_proves_no_end(site: Site) -> None:
    site.send(1)
    assert ask(site.node.port, information("1.2.44.4", (CT, uid(1)), (CT, uid(2)))) == 0
    assert site.waits() == [("instances_missing", 1)]

    site.send(2)
    assert site.waits() == [("association_open", 0)]


def a_manifest(*uids: str, title: str = "113030") -> Dataset:
    told = a_slice(9, study=80)
    del told.PixelData
    told.SOPClassUID, told.Modality = KEY_OBJECTS, "KO"
    told.SeriesInstanceUID = f"{STUDY}.9"
    told.ConceptNameCodeSequence = [
        item(CodeValue=title, CodingSchemeDesignator="DCM", CodeMeaning="Manifest")
    ]
    references = [item(ReferencedSOPClassUID=CT, ReferencedSOPInstanceUID=each) for each in uids]
    series = item(SeriesInstanceUID=SERIES, ReferencedSOPSequence=references)
    told.CurrentRequestedProcedureEvidenceSequence = [
        item(StudyInstanceUID=STUDY, ReferencedSeriesSequence=[series]),
        item(StudyInstanceUID="1.2.9", ReferencedSeriesSequence=[series]),
    ]
    return told


@pytest.mark.parametrize(("title", "whole"), [("113030", True), ("113000", False)])
def test_key_objects_that_are_a_manifest_announce_the_study(
    site: Site, title: str, whole: bool
) -> None:
    site.send(1)
    announced, data = as_sent(as_file(a_manifest(uid(1), uid(2), title=title)))
    assert site.speaker.store(announced, data, context_id=3) == 0
    reading = ManifestReading(site.node.archive)
    with site.node.database.reading() as tx:
        due = reading.due(tx)
    assert due == [announced.sop_instance_uid]
    for each in due * 2:
        reading.read(each)
    with site.node.database.reading() as tx:
        assert reading.due(tx) == []

    assert site.waits() == [("instances_missing", 1) if whole else ("association_open", 0)]
    site.send(2)
    assert site.settle() == ([STUDY] if whole else [])


def test_a_late_image_makes_the_next_manifest(site: Site) -> None:
    notify(site.node, uid(1))
    site.send(1)
    site.settle()
    site.send(2)
    notify(site.node, uid(1), uid(2))

    assert site.settle() == [STUDY]
    _, amended = site.facts()
    assert isinstance(amended, StudyAmended)
    assert (amended.manifest_version, amended.added) == (2, 1)
    with site.node.database.reading() as tx:
        assert len(archive.manifest(tx, STUDY).entries) == 2


def test_what_keeps_coming_late_is_not_waited_for_without_end(site: Site) -> None:
    notify(site.node, uid(1))
    site.send(1)
    site.settle()
    site.send(2, 3)
    bounded = Settling(site.node.database, replace(POLICY, longest_wait=timedelta()))
    with site.node.database.reading() as tx:
        assert bounded.due_studies(tx) == [STUDY]
        assert not waited_for(bounded, tx)

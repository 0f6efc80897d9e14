"""Rejection notes of IHE IOCM: what their sender takes back is seen no more, whenever it came."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from dicom_node import store
from dicom_node.completeness import CompletenessPolicy
from dicom_node.key_objects import ManifestReading
from dicom_node.rejecting import Rejecting
from dicom_node.tasks import Settling
from dicom_node.uids import EXPLICIT_LITTLE, KEY_OBJECTS
from kernel.people import Actor, Role
from storage import audit, hidden, outbox, rejections, withdrawals
from storage.engine import Transaction
from storage.rejections import RefusedNote
from storage.retention import Keeping, Retention
from tests.dicom_node.samples import CT, a_slice, as_file, as_sent
from tests.wire.conftest import Node, start
from tests.wire.inquirer import ask, identifier
from tests.wire.speaker import CALLING, Speaker
from tests.wire.test_performed_steps import item
from tests.wire.test_retrieve import move, receiving

BY = Actor("user:admin", Role.ADMINISTRATOR)
POLICY = CompletenessPolicy(
    quiet=timedelta(), idle_association=timedelta(), longest_wait=timedelta(days=1)
)
STUDY = str(a_slice(study=81).StudyInstanceUID)


def uid(number: int) -> str:
    return str(a_slice(number, study=81).SOPInstanceUID)


def a_note(
    *uids: str, title: str = "113001", study: str = STUDY, number: int = 90, scheme: str = "DCM"
) -> Dataset:
    """Return a rejection note as a modality or a workstation makes it."""
    told = a_slice(number, study=81)
    del told.PixelData
    told.SOPClassUID, told.Modality = KEY_OBJECTS, "KO"
    told.SeriesInstanceUID = f"{STUDY}.{number}"
    told.ConceptNameCodeSequence = [
        item(CodeValue=title, CodingSchemeDesignator=scheme, CodeMeaning="Rejected")
    ]
    references = [item(ReferencedSOPClassUID=CT, ReferencedSOPInstanceUID=each) for each in uids]
    series = item(SeriesInstanceUID=f"{STUDY}.1", ReferencedSOPSequence=references)
    told.CurrentRequestedProcedureEvidenceSequence = [
        item(StudyInstanceUID=study, ReferencedSeriesSequence=[series])
    ]
    return told


class Site:
    """A node with what reads notes, applies them and settles studies, driven by hand."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.open_cases: tuple[str, ...] = ()
        self.reading = ManifestReading(node.archive)
        self.configure(shows_quality=False)
        self.settling = Settling(node.database, POLICY)

    def configure(self, *, shows_quality: bool) -> None:
        self.rejecting = Rejecting(
            self.node.database,
            Retention(),
            keeping_of=self.keeping,
            shows_quality=shows_quality,
        )

    def keeping(self, tx: Transaction, study_uid: str) -> Keeping:
        _, title, modalities, at = withdrawals.kept(tx, study_uid)
        peer = store.find_peer(tx, title)
        return Keeping(
            study_uid=study_uid,
            owner=peer.organisation_id if peer else "",
            modalities=modalities,
            last_arrival_at=at,
            held=withdrawals.is_held(tx, study_uid),
            open_cases=self.open_cases,
        )

    @contextmanager
    def speaking(self, calling: str = CALLING) -> Iterator[Speaker]:
        with self.node.speak(calling) as speaker:
            speaker.associate((CT, EXPLICIT_LITTLE), (KEY_OBJECTS, EXPLICIT_LITTLE))
            yield speaker
            speaker.release()

    def send(self, *numbers: int) -> list[int]:
        with self.speaking() as speaker:
            return [
                speaker.store(*as_sent(as_file(a_slice(number, study=81)))) for number in numbers
            ]

    def note(self, told: Dataset, calling: str = CALLING) -> str:
        announced, data = as_sent(as_file(told))
        with self.speaking(calling) as speaker:
            assert speaker.store(announced, data, context_id=3) == 0
        return announced.sop_instance_uid

    def drive(self, *, settle: bool = False) -> None:
        """Do what is due until nothing is; studies come to rest if the test says so."""
        works = [*self.reading.due_work(), *self.rejecting.due_work()]
        works += self.settling.due_work() if settle else []
        while True:
            with self.node.database.reading() as tx:
                due = [(work, id) for work in works for id in work.due(tx)]
            if not due:
                return
            for work, id in due:
                work.run(id)
                work.run(id)

    def shown(self) -> list[str]:
        return self.node.archive.instances_of(STUDY)

    def refused(self) -> list[RefusedNote]:
        with self.node.database.reading() as tx:
            return rejections.refused(tx, study_uid=STUDY)

    def withdrawn(self) -> list[tuple[str, int, str]]:
        with self.node.database.reading() as tx:
            return [(one.reason, one.instances, one.actor) for one in withdrawals.listed(tx)]

    def facts(self) -> list[str]:
        with self.node.database.reading() as tx:
            return [fact.kind for fact in outbox.facts_of(tx, STUDY)]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    node = start(tmp_path)
    yield Site(node)
    node.listener.stop(timedelta(seconds=5))
    node.journal.close()
    node.database.dispose()


@pytest.mark.parametrize("title", ["113001", "113037", "113038"])
def test_what_a_note_names_is_seen_no_more_and_the_rest_is(site: Site, title: str) -> None:
    site.send(1, 2, 3)
    site.note(a_note(uid(1), uid(2), title=title))
    site.drive()
    assert site.shown() == [uid(3)]
    assert site.withdrawn() == [(title, 3, f"ae:{CALLING}")]  # with the note itself
    assert site.refused() == []
    site.note(a_note(uid(1), uid(2), title=title))  # the same again
    site.note(a_note(uid(1), title=title, number=91))  # another that says so too
    site.drive()
    assert site.shown() == [uid(3)]
    assert sum(count for _, count, _ in site.withdrawn()) == 4  # two images, two notes


def test_a_whole_study_goes_with_its_note_and_never_counts_as_complete(site: Site) -> None:
    site.send(1, 2)
    site.note(a_note(uid(1), uid(2), title="113038"))
    site.drive(settle=True)
    with site.node.database.reading() as tx:
        assert not hidden.is_shown(tx, STUDY)
    assert site.withdrawn() == [("113038", 3, f"ae:{CALLING}")]
    assert site.facts() == ["StudyWithdrawn"]


def test_no_study_comes_to_rest_before_its_note_was_read_and_applied(site: Site) -> None:
    site.send(1, 2)
    site.note(a_note(uid(1)))
    with site.node.database.reading() as tx:
        assert site.settling.due_studies(tx) == []
        (unread,) = site.reading.due(tx)
    site.settling.settle_study(STUDY)
    assert site.facts() == []
    site.reading.read(unread)
    with site.node.database.reading() as tx:
        assert site.settling.due_studies(tx) == []
    site.drive(settle=True)
    assert site.facts() == ["StudyWithdrawn", "StudyCompleted"]
    assert site.shown() == [uid(2)]


def test_an_instance_that_comes_after_its_note_is_taken_back_too(site: Site) -> None:
    site.note(a_note(uid(1), uid(2)))
    site.drive()
    assert site.send(2, 3) == [0, 0]
    site.drive(settle=True)
    assert site.shown() == [uid(3)]
    assert site.send(1) == [0]
    site.drive(settle=True)
    assert site.shown() == [uid(3)]


def test_what_was_rejected_does_not_come_back_by_being_sent_again(site: Site) -> None:
    site.send(1, 2)
    site.note(a_note(uid(1)))
    site.drive()
    assert site.send(1)[0] != 0
    site.drive(settle=True)
    assert site.shown() == [uid(2)]


def test_what_a_person_restored_is_not_rejected_by_the_same_note_again(site: Site) -> None:
    site.send(1, 2)
    site.note(a_note(uid(1), uid(7)))
    site.drive()
    with site.node.database.transaction() as tx:
        for each in withdrawals.open_ones(tx, STUDY):
            withdrawals.restore(tx, each.number, actor=BY)
    site.send(7)  # named by the note too, and late
    site.drive(settle=True)
    assert {uid(1), uid(2)} <= set(site.shown())
    assert uid(7) not in site.shown()


def test_a_site_takes_back_what_it_sent_and_nothing_of_another(site: Site) -> None:
    site.send(1, 2)
    told = a_note(uid(1), number=92)
    told.StudyInstanceUID = f"{STUDY}.7"
    site.note(told, calling="OTHER_SITE")
    site.drive()
    assert site.shown() == [uid(1), uid(2)]
    (refused,) = site.refused()
    assert (refused.code, refused.instances, refused.actor) == (
        "retention.not_the_owner",
        1,
        "ae:OTHER_SITE",
    )
    with site.node.database.reading() as tx:
        assert "rejection.refused" in [entry.action for entry in audit.latest(tx)]
    site.note(a_note(uid(2), number=93), calling="VAN2")  # another device of the same site
    site.drive()
    assert site.shown() == [uid(1)]


@pytest.mark.parametrize(
    ("title", "scheme"), [("113000", "DCM"), ("113001", "99LOCAL"), ("113030", "DCM")]
)
def test_other_key_objects_reject_nothing(site: Site, title: str, scheme: str) -> None:
    site.send(1)
    note = site.note(a_note(uid(1), title=title, scheme=scheme))
    site.drive()
    assert site.shown() == [uid(1), note]
    assert site.withdrawn() == []


def test_an_instance_that_lies_in_another_study_than_the_note_says_stays(site: Site) -> None:
    site.send(1)
    site.note(a_note(uid(1), study="1.2.3.4"))
    site.drive()
    assert uid(1) in site.shown()


def test_a_rule_that_keeps_a_study_is_named_and_asked_again(site: Site) -> None:
    site.send(1, 2)
    site.open_cases = ("c-1",)
    site.note(a_note(uid(1), title="113037"))
    site.drive(settle=True)
    assert uid(1) in site.shown()
    (refused,) = site.refused()
    assert (refused.code, refused.meaning) == (
        "retention.open_in_case",
        "Rejected for Patient Safety Reasons",
    )
    assert refused.due_at is not None
    site.open_cases = ()
    site.rejecting.apply(refused.instance_uid)
    assert site.shown() == [uid(2)]
    assert site.refused() == []


def test_retention_that_is_not_over_is_no_reason(site: Site) -> None:
    site.send(1)
    site.note(a_note(uid(1), title="113039"))
    site.drive()
    (refused,) = site.refused()
    assert (refused.code, refused.due_at) == ("retention.not_over", None)
    assert uid(1) in site.shown()


def test_a_note_that_cannot_be_read_holds_nothing_up(site: Site) -> None:
    site.send(1)
    told = a_note("", title="113001")
    site.note(told)
    site.drive(settle=True)
    assert uid(1) in site.shown()
    assert site.facts() == ["StudyCompleted"]
    with site.node.database.reading() as tx:
        (told,) = [one for one in audit.latest(tx) if one.action == "key_objects.unreadable"]
    assert (told.actor, told.outcome) == (f"ae:{CALLING}", "refused")


@pytest.mark.parametrize("shows_quality", [False, True])
def test_a_site_decides_whether_devices_see_what_was_rejected_for_quality(
    site: Site, shows_quality: bool
) -> None:
    site.configure(shows_quality=shows_quality)
    site.send(1, 2)
    note = site.note(a_note(uid(1)))
    site.drive(settle=True)
    images = {uid(1), uid(2)} if shows_quality else {uid(2)}
    everything = images | ({note} if shows_quality else set())

    series = {"StudyInstanceUID": STUDY, "SeriesInstanceUID": f"{STUDY}.1"}
    _, found, _ = ask(site.node, identifier("IMAGE", **series, SOPInstanceUID=""))
    assert {each.SOPInstanceUID for each in found} == images
    asked = identifier("STUDY", StudyInstanceUID=STUDY, NumberOfStudyRelatedInstances="")
    _, (study,), _ = ask(site.node, asked)
    assert study.NumberOfStudyRelatedInstances == len(everything)
    with receiving(site.node) as receiver:
        move(site.node, identifier("SERIES", **series), "ARCHIVE")
    assert set(receiver.files) == images
    assert set(site.shown()) == everything
    with site.node.database.reading() as tx:
        left = rejections.left_in_use(tx, STUDY)
    assert [each.instances for each in left] == ([1] if shows_quality else [])
    assert (site.withdrawn() == []) == shows_quality
    assert ("StudyWithdrawn" in site.facts()) != shows_quality


def test_what_stayed_in_use_is_taken_back_once_the_site_decides_otherwise(site: Site) -> None:
    site.configure(shows_quality=True)
    site.send(1, 2)
    note = site.note(a_note(uid(1), uid(3)))
    site.drive(settle=True)
    site.send(3)  # late, and in use too
    site.drive(settle=True)
    assert set(site.shown()) == {uid(1), uid(2), uid(3), note}
    site.drive()

    site.configure(shows_quality=False)
    site.open_cases = ("c-1",)
    site.drive()
    assert [each.code for each in site.refused()] == ["retention.open_in_case"]
    site.open_cases = ()
    site.rejecting.apply(note)
    assert site.shown() == [uid(2)]

    site.configure(shows_quality=True)  # what was withdrawn is brought back by people alone
    site.drive()
    assert site.shown() == [uid(2)]


def test_what_stays_in_use_for_quality_goes_for_safety(site: Site) -> None:
    site.configure(shows_quality=True)
    site.send(1, 2)
    note = site.note(a_note(uid(1)))
    site.note(a_note(uid(1), title="113037", number=91))
    site.drive(settle=True)
    assert set(site.shown()) == {uid(2), note}


def test_what_another_site_rejects_for_quality_is_refused_in_use_as_well(site: Site) -> None:
    site.configure(shows_quality=True)
    site.send(1)
    told = a_note(uid(1), number=92)
    told.StudyInstanceUID = f"{STUDY}.7"
    site.note(told, calling="OTHER_SITE")
    site.drive()
    (refused,) = site.refused()
    assert refused.code == "retention.not_the_owner"


def test_what_a_person_restored_stays_whatever_the_site_decides(site: Site) -> None:
    site.send(1, 2)
    note = site.note(a_note(uid(1)))
    site.drive(settle=True)
    with site.node.database.transaction() as tx:
        for each in withdrawals.open_ones(tx, STUDY):
            withdrawals.restore(tx, each.number, actor=BY)
    for shows_quality in (True, False):
        site.configure(shows_quality=shows_quality)
        site.rejecting.apply(note)
        site.drive(settle=True)
    assert {uid(1), uid(2)} <= set(site.shown())

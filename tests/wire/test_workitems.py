"""Workitems over DIMSE, with pynetdicom as creator, performer and watcher."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import generate_uid

from dicom_node.send import SendSettings
from dicom_node.uids import IMPLICIT_LITTLE, UPS_PUSH
from dicom_node.workitems import store
from dicom_node.workitems.commands import tell_of_restart
from dicom_node.workitems.reports import WorkitemReports
from dicom_node.workitems.subscriber import FILTERED, GLOBAL, HORIZON
from kernel.people import ENGINE
from storage import corrections, patients
from storage.engine import Database, Transaction
from tests.wire.conftest import Node, start
from tests.wire.performer import (
    Performer,
    a_workitem,
    assign,
    coded,
    discontinued,
    performed,
    tell_due,
    watching,
)
from tests.wire.speaker import command, pdu, pdv
from tests.wire.test_commitment import ahead
from tests.wire.victims import victim

LOCK, OTHER = "1.2.3.77", "1.2.3.78"
SUCCESS = 0x0000


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    node = start(tmp_path_factory.mktemp("workitems"))
    yield node
    node.listener.stop(timedelta(seconds=5))
    node.journal.close()
    node.database.dispose()


@pytest.fixture
def client(node: Node) -> Performer:
    return Performer(node.port)


def created(client: Performer, **changed: object) -> str:
    status, uid = client.create(a_workitem(**changed))
    assert status == SUCCESS
    return uid


def begun(client: Performer) -> str:
    uid = created(client)
    assert client.change(uid, "IN PROGRESS", LOCK) == SUCCESS
    return uid


def test_a_workitem_is_kept_as_it_was_described(client: Performer) -> None:
    uid = created(client)

    status, found = client.get(uid)

    assert status == SUCCESS
    assert found is not None
    assert found.SOPInstanceUID == uid
    assert found.SOPClassUID == "1.2.840.10008.5.1.4.34.6.1"
    assert found.ProcedureStepState == "SCHEDULED"
    assert found.ProcedureStepLabel == "Сегментація легень"
    assert str(found.PatientName) == "Ахметова^Айгүл"
    assert found.ScheduledWorkitemCodeSequence[0].CodeValue == "110004"
    assert found.ScheduledProcedureStepModificationDateTime
    assert "TransactionUID" not in found


def test_what_cannot_be_read_is_refused_without_waiting_to_write(node: Node) -> None:
    request = command(0x0140, sop_class=UPS_PUSH, has_data=True)
    with node.database.transaction(), node.speak() as speaker:
        speaker.associate((UPS_PUSH, IMPLICIT_LITTLE))
        speaker.say(pdu(4, pdv(1, 3, request)) + pdu(4, pdv(1, 2, b"junk")))
        assert speaker.status() == 0x0106


def test_a_whole_number_longer_than_any_is_refused(client: Performer) -> None:
    frame = Dataset()
    frame.add(DataElement(0x00081160, "UT", "9" * 400))  # pydicom makes no such IS
    described = a_workitem(ReferencedSOPSequence=Sequence([frame]))

    assert client.create(described)[0] == 0x0106


def test_asked_for_some_attributes_those_come_and_what_is_not_kept_is_warned_of(
    client: Performer,
) -> None:
    uid = begun(client)

    status, found = client.get(uid, [0x00741000, 0x00081195])
    assert found is not None
    said = ["SpecificCharacterSet", "ProcedureStepState"]
    assert (status, [each.keyword for each in found]) == (SUCCESS, said)

    status, found = client.get(uid, [0x00741000, 0x00180015])
    assert status == 0x0001
    assert found is not None
    assert found.ProcedureStepState == "IN PROGRESS"


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"ProcedureStepState": "IN PROGRESS"}, 0xC309),
        ({"ProcedureStepState": ...}, 0x0120),
        ({"ProcedureStepLabel": ...}, 0x0120),
        ({"ProcedureStepLabel": ""}, 0x0121),
        ({"ScheduledProcedureStepPriority": "STAT"}, 0x0106),
        ({"InputReadinessState": "SOON"}, 0x0106),
        ({"MedicalAlerts": ...}, 0xB300),
        ({"WorklistLabel": ""}, 0xB300),
        ({"UnifiedProcedureStepPerformedProcedureSequence": Sequence([Dataset()])}, 0x0106),
        ({"ScheduledProcedureStepStartDateTime": "tomorrow"}, 0x0106),
        ({"ScheduledProcedureStepStartDateTime": "20269999"}, 0x0106),
        ({"ExpectedCompletionDateTime": "20260302-20260303"}, 0x0106),
    ],
)
def test_what_is_created_says_what_each_workitem_says(
    client: Performer, changed: dict[str, object], status: int
) -> None:
    assert client.create(a_workitem(**changed))[0] == status


def test_what_is_told_says_in_which_letters_and_in_which_time(client: Performer) -> None:
    uid = created(client, TimezoneOffsetFromUTC="+0300")

    _, found = client.get(uid, [0x00100010, 0x00404005])
    _, (answer,) = client.find(SOPInstanceUID=uid, PatientName="", ProcedureStepState="")

    assert found is not None
    for told in (found, answer):
        assert str(told.PatientName) == "Ахметова^Айгүл"
        assert told.TimezoneOffsetFromUTC == "+0300"


def test_a_uid_is_taken_once(client: Performer) -> None:
    uid = created(client)

    assert client.create(a_workitem(), uid)[0] == 0x0111


def test_what_is_not_there_is_unknown_whatever_is_asked(client: Performer) -> None:
    nothing = str(generate_uid())

    assert client.get(nothing)[0] == 0xC307
    assert client.set(nothing, discontinued(), LOCK) == 0xC307
    assert client.change(nothing, "IN PROGRESS", LOCK) == 0xC307
    assert client.ask_cancel(nothing) == 0xC307
    assert client.watch(nothing, 3, "VAN1") == 0xC307


def test_who_begins_locks_it_until_it_ends(client: Performer) -> None:
    uid = begun(client)

    assert client.change(uid, "IN PROGRESS", OTHER) == 0xC302
    assert client.change(uid, "IN PROGRESS", LOCK) == 0xC302
    assert client.change(uid, "SCHEDULED", LOCK) == 0xC303
    assert client.change(uid, "COMPLETED", OTHER) == 0xC301
    assert client.change(uid, "COMPLETED") == 0xC301
    assert client.set(uid, performed(), OTHER) == 0xC301
    assert client.set(uid, performed()) == 0xC301
    assert client.change(uid, "COMPLETED", LOCK) == 0xC304
    assert client.set(uid, performed(), LOCK) == SUCCESS
    assert client.change(uid, "COMPLETED", LOCK) == SUCCESS
    assert client.change(uid, "COMPLETED", LOCK) == 0xB306
    assert client.change(uid, "COMPLETED", OTHER) == 0xC301
    assert client.change(uid, "CANCELED", LOCK) == 0xC300
    assert client.change(uid, "IN PROGRESS", OTHER) == 0xC300
    assert client.set(uid, performed(), LOCK) == 0xC300
    assert client.ask_cancel(uid) == 0xC311


def test_what_was_never_begun_does_not_end(client: Performer) -> None:
    uid = created(client)

    assert client.change(uid, "COMPLETED", LOCK) == 0xC310
    assert client.change(uid, "CANCELED", LOCK) == 0xC310
    assert client.change(uid, "IN PROGRESS") == 0xC301
    assert client.change(uid, "PAUSED", LOCK) == 0x0106
    assert client.set(uid, discontinued(), LOCK) == 0xC310


def test_a_performer_cancels_with_the_reason_and_not_without(client: Performer) -> None:
    uid = begun(client)

    assert client.change(uid, "CANCELED", LOCK) == 0xC304
    assert client.set(uid, discontinued(), LOCK) == SUCCESS
    assert client.change(uid, "CANCELED", LOCK) == SUCCESS
    assert client.change(uid, "CANCELED", LOCK) == 0xB304
    assert client.change(uid, "COMPLETED", LOCK) == 0xC300
    assert client.ask_cancel(uid) == 0xB304
    _, found = client.get(uid)
    assert found is not None
    (step,) = found.ProcedureStepProgressInformationSequence
    assert step.ProcedureStepCancellationDateTime


def test_before_it_begins_whoever_sees_it_changes_what_is_scheduled(client: Performer) -> None:
    uid = created(client)
    later = Dataset()
    later.ScheduledProcedureStepStartDateTime = "20260303080000+0000"
    renamed = Dataset()
    renamed.PatientID = "P-2"
    moved = Dataset()
    moved.ProcedureStepState = "IN PROGRESS"

    assert client.set(uid, later) == SUCCESS
    assert client.set(uid, renamed) == 0x0105
    assert client.set(uid, moved) == 0x0105
    _, found = client.get(uid)
    assert found is not None
    assert found.ScheduledProcedureStepStartDateTime == "20260303080000+0000"
    assert found.PatientID == "P-1"


def test_a_class_takes_its_own_actions_alone(client: Performer) -> None:
    uid = created(client)
    told = Dataset()
    told.ProcedureStepState, told.TransactionUID = "IN PROGRESS", LOCK

    assert client.act(uid, 1, told, through="push") == 0x0123
    assert client.act(uid, 1, told, through="watch") == 0x0123
    assert client.act(uid, 9, told) == 0x0123


@pytest.mark.parametrize("through", ["pull", "watch", "query"])
def test_a_query_finds_by_what_workitems_say(client: Performer, through: str) -> None:
    label = f"of {through}"
    mine = created(client, WorklistLabel=label)
    created(
        client,
        WorklistLabel=label,
        ScheduledWorkitemCodeSequence=Sequence([coded("110005", "Interpretation")]),
    )

    def found(**keys: object) -> list[str]:
        status, answers = client.find(through, WorklistLabel=label, **keys)
        assert status == SUCCESS
        return [str(each.SOPInstanceUID) for each in answers]

    assert len(found()) == 2
    assert found(ScheduledWorkitemCodeSequence=Sequence([coded("110004", "")])) == [mine]
    assert len(found(ProcedureStepState="SCHEDULED")) == 2
    assert found(ProcedureStepState="COMPLETED") == []
    assert found(SOPInstanceUID=[mine, "1.2.3"]) == [mine]
    assert len(found(ScheduledProcedureStepStartDateTime="20260302-20260302")) == 2
    assert found(ScheduledProcedureStepStartDateTime="20260303-") == []
    assert len(found(ScheduledProcedureStepStartDateTime="20260302093000+0200-")) == 2
    assert len(found(PatientName="ахметова*")) == 2


def test_a_moment_that_is_none_is_no_query(client: Performer) -> None:
    created(client)
    assert client.find(ScheduledProcedureStepStartDateTime="20269999")[0] == 0xA900


def test_a_filter_by_a_moment_that_is_none_is_refused_and_hinders_nobody(
    client: Performer,
) -> None:
    when = "tomorrow"

    assert client.watch(FILTERED, 3, "VAN1", ScheduledProcedureStepStartDateTime=when) == 0x0106
    created(client)


@pytest.mark.parametrize(
    ("keyword", "value", "status"),
    [
        ("ProcedureStepLabel", "", 0x0121),
        ("WorklistLabel", "", 0x0121),
        ("ScheduledProcedureStepStartDateTime", "", 0x0121),
        ("InputReadinessState", "", 0x0121),
        ("ScheduledProcedureStepStartDateTime", "tomorrow", 0x0106),
        ("CommentsOnTheScheduledProcedureStep", "", SUCCESS),
    ],
)
def test_what_each_workitem_says_is_never_set_to_nothing(
    client: Performer, keyword: str, value: str, status: int
) -> None:
    uid, change = created(client), Dataset()
    assign(change, keyword, value)

    assert client.set(uid, change) == status


def test_another_site_sees_nothing_of_it_and_a_centre_for_all_does(node: Node) -> None:
    uid = created(Performer(node.port))
    other, centre = Performer(node.port, "OTHER_SITE"), Performer(node.port, "READING")

    assert other.get(uid)[0] == 0xC307
    assert other.change(uid, "IN PROGRESS", LOCK) == 0xC307
    assert other.find(SOPInstanceUID=uid) == (SUCCESS, [])
    assert Performer(node.port, "VAN2").get(uid)[0] == SUCCESS
    assert centre.get(uid)[0] == SUCCESS


def test_who_subscribes_is_told_the_state_and_all_that_follows_in_order(node: Node) -> None:
    client = Performer(node.port)
    uid = created(client)
    with watching(node.database) as watcher:
        assert client.watch(uid, 3, "VAN1") == SUCCESS
        client.change(uid, "IN PROGRESS", LOCK)
        step = Dataset()
        step.ProcedureStepProgress = "40"
        progress = Dataset()
        progress.ProcedureStepProgressInformationSequence = Sequence([step])
        client.set(uid, progress, LOCK)
        client.set(uid, performed(), LOCK)
        client.change(uid, "COMPLETED", LOCK)
        assert tell_due(node.database) == 1
        assert tell_due(node.database) == 0

    assert watcher.states(uid) == ["SCHEDULED", "IN PROGRESS", "COMPLETED"]
    assert watcher.kinds(uid) == [1, 1, 3, 1]
    assert watcher.heard[2][2].ProcedureStepProgressInformationSequence[0].ProcedureStepProgress


def test_a_cancel_is_asked_of_the_performer_who_listens(node: Node) -> None:
    client = Performer(node.port)
    uid = begun(client)
    assert client.ask_cancel(uid, "wrong patient") == 0xC312  # nobody would hear of it
    with watching(node.database, "VAN2") as watcher:
        assert Performer(node.port, "VAN2").watch(uid, 3, "VAN2") == SUCCESS
        assert client.ask_cancel(uid, "wrong patient") == SUCCESS
        tell_due(node.database)

    *_, (_, kind, told) = watcher.heard
    assert (kind, told.RequestingAE, told.ReasonForCancellation) == (2, "VAN1", "wrong patient")
    assert client.get(uid)[1].ProcedureStepState == "IN PROGRESS"  # type: ignore[union-attr]


def test_what_nobody_performs_is_canceled_at_once_through_in_progress(node: Node) -> None:
    client = Performer(node.port)
    uid = created(client)
    with watching(node.database) as watcher:
        client.watch(uid, 3, "VAN1")
        assert client.ask_cancel(uid, "no images", through="watch") == SUCCESS
        tell_due(node.database)

    assert watcher.states(uid) == ["SCHEDULED", "IN PROGRESS", "CANCELED"]
    assert watcher.heard[-1][2].ReasonForCancellation == "no images"


def test_a_global_subscriber_is_told_of_what_comes_until_it_is_suspended(node: Node) -> None:
    client = Performer(node.port)
    with watching(node.database) as watcher:
        assert client.watch(GLOBAL, 3, "VAN1", lock="TRUE") == SUCCESS
        uid = created(client, ScheduledStationNameCodeSequence=Sequence([coded("A", "a", "99X")]))
        foreign = created(Performer(node.port, "OTHER_SITE"))
        assert client.watch(GLOBAL, 5, "VAN1") == SUCCESS
        unheard = created(client)
        client.change(uid, "IN PROGRESS", LOCK)
        tell_due(node.database)
        assert client.watch(GLOBAL, 4, "VAN1") == SUCCESS
        client.set(uid, discontinued(), LOCK)
        client.change(uid, "CANCELED", LOCK)
        tell_due(node.database)

    assert watcher.states(uid) == ["SCHEDULED", "IN PROGRESS"]
    assert watcher.kinds(uid) == [1, 5, 1]
    assert watcher.kinds(foreign) == watcher.kinds(unheard) == []


def test_a_filtered_subscriber_is_told_of_what_matches(node: Node) -> None:
    client = Performer(node.port)
    with watching(node.database) as watcher:
        assert client.watch(FILTERED, 3, "VAN1") == 0xC314  # no filter is a global subscription
        assert client.watch(FILTERED, 3, "VAN1", WorklistLabel="NIGHT") == SUCCESS
        wanted, unwanted = created(client, WorklistLabel="NIGHT"), created(client)
        tell_due(node.database)
        client.watch(GLOBAL, 4, "VAN1")

    assert watcher.kinds(wanted) == [1]
    assert watcher.kinds(unwanted) == []


def test_a_filter_that_cannot_be_matched_is_refused_before_it_hinders_anybody(
    tmp_path: Path,
) -> None:
    node = start(tmp_path)
    client = Performer(node.port)
    told = {"ScheduledProcedureStepStartDateTime": "20260231"}
    with watching(node.database):
        refused = client.watch(FILTERED, 3, "VAN1", **told)
        status, _ = client.create(a_workitem())
    node.listener.stop(timedelta(seconds=5))
    node.journal.close()
    node.database.dispose()
    assert (refused, status) == (0x0106, SUCCESS)


def test_only_ones_own_registered_devices_are_subscribed(node: Node) -> None:
    client = Performer(node.port)
    uid = created(client)

    assert client.watch(uid, 3, "NOBODY") == 0xC308
    assert client.watch(uid, 3, "OTHER_SITE") == 0xC308
    assert client.watch(uid, 4, "VAN2") in {SUCCESS, 0xC308}
    assert client.watch(uid, 3, "VAN1", lock="MAYBE") == 0x0106
    assert client.watch(uid, 5, "VAN1") == 0xC314


# pynetdicom leaves the socket of a refused connection to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_what_is_not_taken_is_told_later_in_the_same_order_and_given_up_in_the_end(
    node: Node,
) -> None:
    client, database = Performer(node.port), node.database
    uid = created(client)
    with watching(database) as watcher:
        client.watch(uid, 3, "VAN1")
        watcher.answer = 0x0110
        assert tell_due(database) == 1
        client.change(uid, "IN PROGRESS", LOCK)
        assert tell_due(database) == 0  # it waits
        watcher.answer = 0
        later = Database(database.url, clock=ahead(database.clock, timedelta(minutes=1)))
        assert tell_due(later) == 1
        later.dispose()
    assert watcher.states(uid) == ["SCHEDULED", "IN PROGRESS"]
    client.set(uid, discontinued(), LOCK)
    much_later = Database(database.url, clock=ahead(database.clock, HORIZON * 2))
    _, work = WorkitemReports(much_later, SendSettings(ae_title="TELERAD")).due_work()
    with much_later.reading() as tx:
        old = work.due(tx)
    assert old == ["ae:VAN1"]
    work.run(old[0])
    with much_later.reading() as tx:
        assert store.waiting(tx, "ae:VAN1") == []
        assert work.due(tx) == []
    much_later.dispose()


def test_what_changed_before_a_kill_is_told_after_it_in_order(tmp_path: Path) -> None:
    with victim(tmp_path) as port:
        client = Performer(port)
        first, second = created(client), created(client)
        for uid in (first, second):
            assert client.watch(uid, 3, "VAN1") == SUCCESS
            assert client.change(uid, "IN PROGRESS", LOCK) == SUCCESS
        assert client.set(first, performed(), LOCK) == SUCCESS
        assert client.change(first, "COMPLETED", LOCK) == SUCCESS

    database = Database(f"sqlite:///{tmp_path / 'telerad.db'}")
    with watching(database) as watcher:
        assert tell_due(database) == 1
    database.dispose()

    assert watcher.states(first) == ["SCHEDULED", "IN PROGRESS", "COMPLETED"]
    assert watcher.states(second) == ["SCHEDULED", "IN PROGRESS"]


def test_two_tellers_tell_once_and_in_order(node: Node) -> None:
    client = Performer(node.port)
    uid = created(client)
    with watching(node.database) as watcher:
        client.watch(uid, 3, "VAN1")
        client.change(uid, "IN PROGRESS", LOCK)
        reports = WorkitemReports(node.database, SendSettings(ae_title="TELERAD"))
        threads = [threading.Thread(target=reports.report, args=("ae:VAN1",)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert watcher.states(uid) == ["SCHEDULED", "IN PROGRESS"]


def test_who_watches_all_is_told_once_that_the_node_was_started_anew(node: Node) -> None:
    client = Performer(node.port)
    with watching(node.database) as watcher:
        client.watch(GLOBAL, 3, "VAN1")
        for _ in range(2):
            with node.database.transaction() as tx:
                tell_of_restart(tx)
        tell_due(node.database)
        client.watch(GLOBAL, 4, "VAN1")

    ((_, kind, told),) = [each for each in watcher.heard if each[0] == GLOBAL]
    assert (kind, told.SCPStatus, told.SubscriptionListStatus) == (4, "RESTARTED", "WARM START")


def test_what_could_not_be_read_again_is_not_kept(client: Performer) -> None:
    many = Sequence([coded(str(at), "x") for at in range(4000)])
    uid = begun(client)
    told = Dataset()
    told.CommentsOnTheScheduledProcedureStep = "a\x01b"
    filtered = {"WorklistLabel": "a\x01b"}

    assert client.create(a_workitem(ScheduledWorkitemCodeSequence=many))[0] == 0x0106
    assert client.set(uid, told, LOCK) == 0x0106
    assert client.ask_cancel(uid, "a\x01b") == 0x0106
    assert client.watch(FILTERED, 3, "VAN1", **filtered) == 0x0106
    assert client.find(SOPInstanceUID=uid)[0] == SUCCESS
    created(client)


def test_a_workitem_is_about_who_stands_for_its_patient(node: Node, client: Performer) -> None:
    label = str(generate_uid())
    told = {"PatientID": "P-OLD", "WorklistLabel": label, "PatientName": "Old^Name"}
    uid = created(client, **told)
    unissued = created(client, **told, IssuerOfPatientID="")
    other = Performer(node.port, "OTHER_SITE")
    status, guessed = other.create(a_workitem(**told))
    assert status == SUCCESS
    with node.database.transaction() as tx:
        goes = _registered(tx, "P-OLD", "Old^Name")
        stays = _registered(tx, "P-NEW", "New^Name")
        made = corrections.merge(tx, goes, stays, reason="one card", actor=ENGINE)

    for each in (uid, unissued):
        _, found = client.get(each)
        assert found is not None
        assert (found.PatientID, str(found.PatientName)) == ("P-NEW", "New^Name")
        assert found.IssuerOfPatientID == "site-1"
    keys = {"WorklistLabel": label, "PatientName": "", "IssuerOfPatientID": ""}
    _, answers = client.find(PatientID="P-NEW", **keys)
    assert {str(each.SOPInstanceUID) for each in answers} == {uid, unissued}
    assert {str(each.PatientName) for each in answers} == {"New^Name"}
    assert client.find(PatientID="P-OLD", **keys)[1] == []
    _, unseen = other.get(guessed)  # who guesses an id of another site learns nothing
    assert unseen is not None
    assert (unseen.PatientID, str(unseen.PatientName)) == ("P-OLD", "Old^Name")
    assert client.change(uid, "IN PROGRESS", LOCK) == SUCCESS
    with node.database.transaction() as tx:
        corrections.withdraw(tx, made.number, reason="two persons", actor=ENGINE)
    _, found = client.get(uid)
    assert found is not None
    assert (found.PatientID, str(found.PatientName)) == ("P-OLD", "Old^Name")
    assert found.ProcedureStepState == "IN PROGRESS"


def test_what_was_corrected_of_a_patient_is_told_and_nothing_else(
    node: Node, client: Performer
) -> None:
    uid = created(client, PatientID="P-DESC", PatientName="Old^Name", PatientBirthDate="19700101")
    with node.database.transaction() as tx:
        ref = _registered(tx, "P-DESC", "Old^Name")
        name = {"name": "Right^Name"}
        corrections.correct_patient(tx, ref, name, reason="typed wrong", actor=ENGINE)
    _, found = client.get(uid)
    assert found is not None
    assert (str(found.PatientName), found.PatientBirthDate) == ("Right^Name", "19700101")


def test_a_subscriber_is_told_of_who_stands_for_a_patient(node: Node) -> None:
    with node.database.transaction() as tx:
        goes, stays = _registered(tx, "P-F1", "One^A"), _registered(tx, "P-F2", "Two^B")
        corrections.merge(tx, goes, stays, reason="one card", actor=ENGINE)
    client = Performer(node.port)
    with watching(node.database) as watcher:
        assert client.watch(FILTERED, 3, "VAN1", PatientID="P-F2") == SUCCESS
        uid = created(client, PatientID="P-F1")
        tell_due(node.database)
        client.watch(GLOBAL, 4, "VAN1")
    assert watcher.kinds(uid) == [1]


def _registered(tx: Transaction, patient_id: str, name: str) -> str:
    return patients.register(
        tx, issuer="site-1", patient_id=patient_id, name=name, sex="F", birth_date=None
    )

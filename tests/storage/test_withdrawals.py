"""Withdrawn is hidden at every level, restored is as before, and frozen manifests never change."""

from pathlib import Path

import pytest

from kernel.facts import StudyRestored, StudyWithdrawn
from kernel.people import Actor, Role
from storage import (
    archive,
    archive_find,
    archive_queries,
    audit,
    contents,
    hidden,
    outbox,
    prefetch,
    series_queries,
    withdrawals,
)
from storage.archive import Admission, InstanceWithdrawn, StudyUnknown
from storage.archive_find import Level, Narrowing
from storage.engine import Database
from storage.retention import Keeping, Reason, Retention, UnderHold, WithdrawalUnknown
from storage.withdrawals import Withdrawal
from tests.storage.test_archive import AT, Room

BY = Actor("user:admin", Role.ADMINISTRATOR)
STUDY, FIRST, SECOND = "1.2.3", "1.2.3.1.1", "1.2.3.1.2"


@pytest.fixture
def room(each_database: Database, tmp_path: Path) -> Room:
    """A settled study of two instances, and another beside it."""
    room = Room(each_database, tmp_path)
    room.receive(FIRST, b"first")
    room.receive(SECOND, b"second")
    room.receive("1.2.4.1.1", b"other", study="1.2.4")
    room.freeze()
    room.freeze("1.2.4")
    return room


def withdraw(room: Room, *instances: str, study: str = STUDY) -> Withdrawal:
    with room.database.transaction() as tx:
        return withdrawals.withdraw(
            tx,
            Keeping(
                study_uid=study,
                owner="east",
                modalities=("CT",),
                last_arrival_at=AT,
                held=withdrawals.is_held(tx, study),
            ),
            Reason.QUALITY,
            Retention(),
            instance_uids=frozenset(instances) or None,
            actor=BY,
        )


def restore(room: Room, number: int) -> None:
    with room.database.transaction() as tx:
        withdrawals.restore(tx, number, actor=BY)


def seen(room: Room) -> dict[str, object]:
    """Return everything that any question about the study answers."""
    with room.database.reading() as tx:
        held = series_queries.held(tx, STUDY)
        of_ct = Narrowing(modalities_in_study=("CT",))
        rows = {
            level: [
                row.get("instance_uid") or row.get("series_uid") or row.get("study_uid")
                for row in archive_find.page(tx, level, of_ct, None)
            ]
            for level in (Level.STUDY, Level.SERIES, Level.IMAGE)
        }
        study = contents.of_studies(tx, [STUDY])[STUDY]
        return {
            "held": [each.instance_uid for each in held],
            "rows": rows,
            "patients": len(archive_find.page(tx, Level.PATIENT, Narrowing(), None)),
            "contents": (study.series, study.instances, study.modalities),
            "in series": contents.instances_of_series(tx, [f"{STUDY}.1"]),
            "classes": sorted(archive_find.classes_of(tx, [FIRST, SECOND])),
            "sees": archive_find.sees(tx, STUDY, None),
            "series": [len(each.instances) for each in archive_queries.series_of(tx, STUDY)],
            "studies": [
                (each.study_uid, each.series, each.instances, each.modalities)
                for each in archive_queries.find_studies(tx, archive_queries.StudyQuery())
            ],
            "listed": room.archive.instances_of(STUDY),
            "prior": prefetch.priors(tx, "1.2.4"),
        }


def test_a_withdrawn_study_is_seen_nowhere_and_comes_back_as_it_was(room: Room) -> None:
    before = seen(room)
    assert before["prior"] == [STUDY]
    made = withdraw(room)
    after = seen(room)
    assert made.instances == 2
    assert STUDY not in str(after)
    assert after["rows"] == {
        Level.STUDY: ["1.2.4"],
        Level.SERIES: ["1.2.4.1"],
        Level.IMAGE: ["1.2.4.1.1"],
    }
    assert after["contents"] == (0, 0, set())
    assert after["sees"] is False
    with pytest.raises(InstanceWithdrawn):
        room.archive.read(FIRST)
    assert room.archive.read_kept(FIRST) == b"first"
    restore(room, made.number)
    assert seen(room) == before
    assert room.archive.read(FIRST) == b"first"


def test_a_patient_of_whom_nothing_is_shown_is_not_found(room: Room) -> None:
    withdraw(room)
    withdraw(room, study="1.2.4")
    assert seen(room)["patients"] == 0


def test_one_instance_goes_and_the_next_manifest_lists_what_is_left(room: Room) -> None:
    made = withdraw(room, FIRST)
    after = seen(room)
    assert (made.instance_uid, after["held"], after["series"]) == (FIRST, [SECOND], [1])
    assert after["contents"] == (1, 1, {"CT"})
    with room.database.reading() as tx:
        latest, frozen = archive.manifest(tx, STUDY), archive.manifest(tx, STUDY, 1)
    assert [each.instance_uid for each in latest.entries] == [SECOND]
    assert [each.instance_uid for each in frozen.entries] == [FIRST, SECOND]
    restore(room, made.number)
    with room.database.reading() as tx:
        assert archive.manifest(tx, STUDY).version == 3
        assert len(archive.manifest(tx, STUDY).entries) == 2
        assert list(archive.verify_manifests(tx)) == []


def test_a_new_instance_of_a_withdrawn_study_shows_itself_alone(room: Room) -> None:
    withdraw(room)
    assert room.receive("1.2.3.1.3", b"third") is Admission.STORED
    assert seen(room)["held"] == ["1.2.3.1.3"]
    manifest = room.freeze()
    assert manifest is not None
    assert [each.instance_uid for each in manifest.entries] == ["1.2.3.1.3"]


@pytest.mark.parametrize("body", [b"first", b"other bytes"])
def test_what_was_withdrawn_does_not_come_back_by_being_sent_again(room: Room, body: bytes) -> None:
    withdraw(room)
    assert room.receive(FIRST, body) is Admission.QUARANTINED
    assert seen(room)["held"] == []
    with room.database.reading() as tx:
        assert [each.code for each in archive.quarantined(tx)] == ["archive.was_withdrawn"]


def test_an_arriving_study_all_of_which_is_withdrawn_waits_for_its_restoring(room: Room) -> None:
    room.receive("1.2.5.1.1", b"x", study="1.2.5")
    made = withdraw(room, study="1.2.5")
    assert room.freeze("1.2.5") is None
    with room.database.reading() as tx:
        assert list(archive.unsettled(tx, arrived_before=AT)) == []
    restore(room, made.number)
    with room.database.reading() as tx:
        assert [each.study_uid for each in archive.unsettled(tx, arrived_before=AT)] == ["1.2.5"]


def test_a_withdrawal_is_made_and_undone_once_and_told_both_times(room: Room) -> None:
    made = withdraw(room)
    with pytest.raises(StudyUnknown):
        withdraw(room)
    restore(room, made.number)
    for number in (made.number, 99):
        with pytest.raises(WithdrawalUnknown):
            restore(room, number)
    with room.database.reading() as tx:
        told = [
            (type(fact), fact.withdrawal)
            for fact in outbox.facts_of(tx, STUDY)
            if isinstance(fact, StudyWithdrawn | StudyRestored)
        ]
        actions = [entry.action for entry in audit.latest(tx)]
        assert hidden.is_shown(tx, STUDY)
    assert told == [(StudyWithdrawn, made.number), (StudyRestored, made.number)]
    assert {"study.withdrawn", "study.restored"} <= set(actions)


def test_under_a_hold_nothing_is_withdrawn_until_it_is_released(room: Room) -> None:
    with room.database.transaction() as tx:
        withdrawals.hold(tx, STUDY, reason="court order", actor=BY)
    with pytest.raises(UnderHold):
        withdraw(room)
    with pytest.raises(UnderHold), room.database.transaction() as tx:
        withdrawals.hold(tx, STUDY, reason="another", actor=BY)
    with room.database.transaction() as tx:
        withdrawals.release(tx, STUDY, reason="it is over", actor=BY)
    assert withdraw(room).instances == 2
    with room.database.reading() as tx:
        (kept,) = withdrawals.holds(tx, STUDY)
    assert (kept.reason, kept.released_reason) == ("court order", "it is over")

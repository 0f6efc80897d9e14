"""What was kept aside for its patient alone is admitted once the two are one; nothing else is."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from sqlalchemy import text

from dicom_node.admission import Route, Source
from dicom_node.headers import Defaults
from dicom_node.intake import Intake
from dicom_node.outgoing import shown_of
from dicom_node.readmitting import LEASE, Readmission
from dicom_node.statuses import Outcome
from kernel.clock import system_clock
from kernel.people import Actor, Role
from storage import archive, audit, corrections, patients, purge, readmission, withdrawals
from storage.archive import Archive
from storage.correction import Correction
from storage.engine import Database, Transaction
from storage.journal import Journal
from storage.migrate import upgrade
from storage.objects import LocalObjects
from storage.packs import Packer, verify_packs
from storage.purge import Purger
from storage.retention import Keeping, Reason, Retention
from storage.shown import of_others
from tests.dicom_node.samples import ROOT, a_slice, a_source, as_file, as_sent
from tests.storage.before_0029 import aged

BY = Actor("user:clerk", Role.ADMINISTRATOR)
STUDY = f"{ROOT}.1"
WHY = "one person"


class Room:
    """A node with what it takes to keep aside and to admit, and a clock that is pushed on."""

    def __init__(self, directory: Path, url: str) -> None:
        self.directory = directory
        self.now = datetime(2026, 11, 22, 9, tzinfo=UTC)
        self.database = Database(url, clock=self.clock)
        upgrade(self.database)
        self.journal = Journal(directory / "journal", node="test", segment_bytes=4 << 20)
        self.objects = LocalObjects(directory / "objects")
        self.archive = Archive(self.database, self.journal, self.objects)
        self.packer = Packer(self.database, self.journal, self.objects, directory / "scratch")
        self.intake = Intake(self.database, self.journal, clock=self.clock)
        self.work = Readmission(self.database, self.objects, node="test")

    def clock(self) -> datetime:
        self.now += timedelta(milliseconds=1)
        return self.now

    def store(self, data_set: Dataset, source: Source | None = None) -> Outcome:
        announced, data = as_sent(as_file(data_set))
        return self.intake.store(announced, source or a_source(), data).outcome

    def merge(self, goes: str, stays: str) -> Correction:
        with self.database.transaction() as tx:
            (one,), (two,) = patients.find(tx, goes), patients.find(tx, stays)
            return corrections.merge(tx, one.ref, two.ref, reason=WHY, actor=BY)

    def withdraw(self, made: Correction) -> None:
        with self.database.transaction() as tx:
            corrections.withdraw(tx, made.number, reason="two persons", actor=BY)

    def turn(self) -> int:
        """Do what is due, as the upkeep and the relay do; return how much that was."""
        self.packer.move_quarantine()
        (due,) = self.work.due_work()
        with self.database.reading() as tx:
            ids = due.due(tx)
        for id in ids:
            due.run(id)
        return len(ids)

    def kept_aside(self) -> list[str]:
        with self.database.reading() as tx:
            return [each.code for each in archive.quarantined(tx)]

    def held(self) -> list[str]:
        return self.archive.instances_of(STUDY)

    def audited(self, action: str) -> list[audit.Entry]:
        with self.database.reading() as tx:
            return [each for each in audit.latest(tx, limit=200) if each.action == action]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.service)])
def room(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Room]:
    url = f"sqlite:///{tmp_path / 'telerad.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("blank_postgresql_url")
    made = Room(tmp_path, url)
    yield made
    made.journal.close()
    made.database.dispose()


def named(patient_id: str, number: int, *, seed: int = 0) -> Dataset:
    """Return a slice of one study that names whomever."""
    data_set = a_slice(number, seed=seed)
    data_set.PatientID = patient_id
    return data_set


def test_a_merge_admits_what_it_makes_right(room: Room) -> None:
    assert room.store(named("P1", 1)) is Outcome.STORED
    with room.database.transaction() as tx:
        archive.freeze_manifest(tx, STUDY)
    assert room.store(named("P9", 2)) is Outcome.CONFLICTING
    room.turn()
    assert room.kept_aside() == ["archive.patient_conflict"]
    assert (room.turn(), room.held()) == (0, [f"{STUDY}.1.1"])

    room.merge("P9", "P1")
    room.turn()

    assert (room.kept_aside(), room.turn()) == ([], 0)
    assert room.held() == [f"{STUDY}.1.1", f"{STUDY}.1.2"]
    assert room.archive.read(f"{STUDY}.1.2").endswith(as_sent(as_file(named("P9", 2)))[1])
    with room.database.transaction() as tx:
        late = archive.freeze_manifest(tx, STUDY)
    assert late is not None
    assert (late.version, len(late.entries)) == (2, 2)
    shown = shown_of(room.archive, STUDY)
    assert shown is not None
    own = shown.of(f"{STUDY}.1.2")
    assert own is not None
    assert own.patient is not None
    assert own.patient.patient_id == "P1"
    (entry,) = room.audited("instance.readmitted")
    assert entry.subject == f"instance:{STUDY}.1.2"
    assert entry.detail["reason"] == readmission.REASON
    assert list(verify_packs(room.database, room.objects)) == []
    assert list(room.archive.verify()) == []


def test_to_admit_what_a_web_client_sent_is_no_beginning_of_another_request(room: Room) -> None:
    web = a_source("portal", route=Route.STOW)
    assert room.store(named("P1", 1), web) is Outcome.STORED
    assert room.store(named("P9", 2), web) is Outcome.CONFLICTING
    room.turn()
    room.merge("P9", "P1")
    room.turn()

    assert len(room.audited("instance.readmitted")) == 1
    assert [entry.detail["instance"] for entry in room.audited("study.storing_began")] == [
        f"{STUDY}.1.1"
    ]


@pytest.mark.parametrize("sent_again", ["before", "after", "with other bytes"])
def test_what_a_version_before_0029_kept_aside_is_told_from_what_came_since(
    room: Room, sent_again: str
) -> None:
    room.store(named("P1", 1))
    room.store(named("P9", 2))
    room.turn()
    aged(room.database, room.journal, room.objects)
    room.merge("P9", "P1")
    if sent_again == "after":
        room.turn()
    came = room.store(named("P9", 2, seed=sent_again == "with other bytes"))
    room.turn()

    assert came is (Outcome.DUPLICATE if sent_again == "after" else Outcome.STORED)
    odd = ["archive.uid_conflict"] if sent_again == "with other bytes" else []
    assert (room.kept_aside(), room.turn()) == (odd, 0)
    assert room.held() == [f"{STUDY}.1.1", f"{STUDY}.1.2"]
    assert list(verify_packs(room.database, room.objects)) == []
    assert list(room.archive.verify()) == []


@pytest.mark.parametrize("merged_first", [True, False])
def test_a_study_of_who_was_merged_takes_the_one_who_stays(room: Room, merged_first: bool) -> None:
    if merged_first:
        room.store(a_slice(1, study=3))
        room.store(named("P1", 1))
        room.merge("P1", "P3")
        assert room.store(named("P3", 2)) is Outcome.STORED
    else:
        room.store(named("P1", 1))
        assert room.store(named("P3", 2)) is Outcome.CONFLICTING
        room.merge("P1", "P3")
        room.turn()
    assert len(room.held()) == 2


def test_a_chain_of_merges_admits_too_and_the_journal_can_be_freed(room: Room) -> None:
    room.store(named("P1", 1))
    room.store(named("P2", 2))
    room.store(named("P3", 3))
    room.merge("P2", "P3")
    room.turn()
    assert len(room.kept_aside()) == 2
    made = room.merge("P3", "P1")
    room.turn()
    assert len(room.held()) == 3
    with room.database.transaction() as tx:
        archive.freeze_manifest(tx, STUDY)
    room.packer.pack(STUDY)
    room.journal.close()
    assert room.packer.free_segments()
    assert len([room.archive.read(uid) for uid in room.held()]) == 3
    room.withdraw(made)
    room.turn()
    assert len(room.held()) == 3  # they leave under their own name: it was they who came


def test_who_was_kept_apart_and_is_not_any_more(room: Room) -> None:
    van = Source(Route.DIMSE, "VAN1", "org-1", Defaults(patients.unstated_issuer("org-1")))
    room.store(named("P1", 1))
    room.store(a_slice(1, study=4, seed=9), van)
    with room.database.transaction() as tx:
        patients.register(
            tx,
            issuer=van.defaults.issuer,
            patient_id="P1",
            name="A^B",
            sex="F",
            birth_date=None,
        )
        one, two = patients.find(tx, "P1")
        apart = corrections.keep_apart(tx, one.ref, two.ref, reason="twins", actor=BY)
    assert room.store(named("P1", 2), van) is Outcome.CONFLICTING
    room.turn()
    assert len(room.kept_aside()) == 1
    room.withdraw(apart)
    room.turn()
    assert (room.kept_aside(), len(room.held())) == ([], 2)


def test_a_study_moved_to_whom_an_instance_names_takes_it(room: Room) -> None:
    room.store(named("P1", 1))
    assert room.store(named("P9", 2)) is Outcome.CONFLICTING
    room.turn()
    with room.database.transaction() as tx:
        (right,) = patients.find(tx, "P9")
        made = corrections.move_study(tx, STUDY, right.ref, reason="wrong line", actor=BY)
    room.turn()
    assert (room.kept_aside(), len(room.held())) == ([], 2)
    shown = shown_of(room.archive, STUDY)
    assert shown is not None
    assert shown.of(f"{STUDY}.1.2") is None
    room.withdraw(made)
    assert shown_of(room.archive, STUDY) is None
    with room.database.reading() as tx:
        assert of_others(tx, STUDY) == 1


def test_other_bytes_stay_where_they_are(room: Room) -> None:
    room.store(named("P1", 1))
    assert room.store(named("P1", 1, seed=5)) is Outcome.CONFLICTING
    assert room.store(named("P9", 1, seed=6)) is Outcome.CONFLICTING
    assert room.store(named("P8", 2)) is Outcome.CONFLICTING
    room.merge("P9", "P1")
    room.turn()
    assert sorted(room.kept_aside()) == [
        "archive.patient_conflict",
        "archive.uid_conflict",
        "archive.uid_conflict",
    ]
    assert room.held() == [f"{STUDY}.1.1"]
    assert (room.turn(), len(room.audited("instance.readmitted"))) == (0, 0)


def test_the_same_twice_is_admitted_once(room: Room) -> None:
    room.store(named("P1", 1))
    for _ in range(2):
        room.store(named("P9", 2))
    room.merge("P9", "P1")
    assert room.store(named("P9", 2)) is Outcome.STORED
    room.turn()
    assert (room.kept_aside(), room.held()) == ([], [f"{STUDY}.1.1", f"{STUDY}.1.2"])
    outcomes = {entry.detail["outcome"] for entry in room.audited("instance.readmitted")}
    assert outcomes == {"duplicate"}


def test_a_merge_that_was_taken_back_in_time_admits_nothing(room: Room) -> None:
    room.store(named("P1", 1))
    room.store(named("P9", 2))
    room.packer.move_quarantine()
    made = room.merge("P9", "P1")
    with room.database.transaction() as tx:
        (id,) = readmission.due(tx)
        waiting = readmission.claim(tx, id, until=tx.at + LEASE)
    assert waiting is not None
    room.withdraw(made)
    room.turn()
    with room.database.transaction() as tx:
        assert not readmission.fits(tx, waiting)
    room.now += LEASE
    room.turn()
    assert (room.kept_aside(), room.turn()) == (["archive.patient_conflict"], 0)
    assert room.held() == [f"{STUDY}.1.1"]


def test_what_was_admitted_so_can_be_purged(room: Room) -> None:
    room.store(named("P1", 1))
    room.store(named("P9", 2))
    room.merge("P9", "P1")
    room.turn()
    with room.database.transaction() as tx:
        archive.freeze_manifest(tx, STUDY)
        withdrawals.withdraw(
            tx,
            _free(tx, STUDY),
            Reason.QUALITY,
            Retention(grace=timedelta(days=1)),
            instance_uids=frozenset({f"{STUDY}.1.2"}),
            actor=BY,
        )
    purger = Purger(
        room.database,
        room.packer,
        room.objects,
        keeping_of=_free,
        derived_of=lambda _tx, _uid, _gone: [],
    )
    for days in (2, 400):
        room.now += timedelta(days=days)
        for due in purger.due_work():
            with room.database.reading() as tx:
                ids = due.due(tx)
            for id in ids:
                due.run(id)
    with room.database.reading() as tx:
        assert tx.execute(text("SELECT count(*) FROM packs")).scalar() == 1  # of what stays
        assert list(purge.verify(tx)) == []
    assert not list((room.directory / "objects/quarantine").iterdir())
    assert room.held() == [f"{STUDY}.1.1"]


def _free(_tx: Transaction, study_uid: str) -> Keeping:
    return Keeping(
        study_uid=study_uid,
        owner="org-1",
        modalities=("CT",),
        last_arrival_at=datetime(2026, 1, 1, tzinfo=UTC),
        held=False,
        open_cases=(),
    )


STEPS = [
    ("storage.readmission:claim", "call"),
    ("storage.readmission:claim", "return"),
    ("dicom_node.readmitting:Readmission._header", "return"),
    ("storage.arrivals:admit_many", "return"),
    ("storage.readmission:settle", "return"),
    ("storage.audit:record", "return"),
    ("dicom_node.readmitting:Readmission._admit", "return"),
    ("dicom_node.readmitting:Readmission.readmit", "return"),
]


@pytest.mark.parametrize(("target", "when"), STEPS)
def test_killed_at_any_step_it_is_admitted_once(tmp_path: Path, target: str, when: str) -> None:
    room = Room(tmp_path, f"sqlite:///{tmp_path / 'telerad.db'}")
    room.store(named("P1", 1))
    room.store(named("P9", 2))
    room.packer.move_quarantine()
    room.merge("P9", "P1")
    command = [sys.executable, "-m", "tests.dicom_node.victim", str(tmp_path), "readmission"]

    ended = subprocess.run(
        [*command, target, when], start_new_session=True, capture_output=True, check=False
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    room.now = system_clock() + 2 * LEASE
    room.turn()

    assert (room.kept_aside(), room.held()) == ([], [f"{STUDY}.1.1", f"{STUDY}.1.2"])
    assert len(room.audited("instance.readmitted")) == 1
    assert list(room.archive.verify()) == []
    with room.database.reading() as tx:
        rows = tx.execute(text("SELECT count(*) FROM packs")).scalar()
    assert rows == 1
    room.journal.close()
    room.database.dispose()

"""An archive of an earlier version says after a while what it would have said had it been new."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from dicom_node import commands
from dicom_node.admission import Route, Source
from dicom_node.arrears import LEASE, Arrears
from dicom_node.headers import Defaults
from dicom_node.outgoing import shown_of
from dicom_node.peers import Peer
from dicom_node.statuses import Outcome
from kernel.clock import system_clock
from kernel.people import ENGINE
from storage import archive, arrears, patients
from storage.archive import Archive
from storage.journal import Journal
from storage.migrate import downgrade, upgrade
from storage.shown import of_others
from storage.work import DueWork
from tests.dicom_node.samples import a_slice
from tests.dicom_node.test_readmitting import STUDY, Room, named

BEFORE = "0019"
"""The last schema that did not note whom an instance names."""

VAN = Peer(ae_title="VAN1", host="127.0.0.1", port=1, organisation_id="org-1", issuer="hospital-1")


class OldRoom(Room):
    """A node of which the database is brought down to an earlier version, and up again."""

    def upgraded(self) -> None:
        with self.database.engine.begin() as connection:
            downgrade(connection, BEFORE)
        upgrade(self.database)

    def read_on(self, *, at_once: int = 100, node: str = "test") -> int:
        """Read what an earlier version did not note; return how often that was done."""
        journal = self.journal
        if node != "test":
            journal = Journal(self.directory / node, node=node, segment_bytes=4 << 20)
        whole = Archive(self.database, journal, self.objects)
        (due,) = Arrears(whole, self.objects, at_once=at_once).due_work()
        turns = 0
        while ids := self.due_of(due):
            due.run(ids[0])
            turns += 1
        if journal is not self.journal:
            journal.close()
        return turns

    def due_of(self, work: DueWork) -> list[str]:
        with self.database.reading() as tx:
            return work.due(tx)

    def left(self) -> tuple[int, int]:
        with self.database.reading() as tx:
            return arrears.left(tx)

    def rows(self) -> dict[str, str]:
        """Return the patient ids that are noted of instances, by UID."""
        with self.database.reading() as tx:
            found = tx.execute(
                text(
                    "SELECT i.instance_uid, p.patient_id, p.issuer FROM instance_patients i "
                    "JOIN patients p ON p.ref = i.patient_ref"
                )
            )
            return {each.instance_uid: f"{each.patient_id} of {each.issuer}" for each in found}

    def others(self) -> int:
        with self.database.reading() as tx:
            return of_others(tx, STUDY)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.service)])
def room(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OldRoom]:
    url = f"sqlite:///{tmp_path / 'telerad.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("blank_postgresql_url")
    made = OldRoom(tmp_path, url)
    yield made
    made.journal.close()
    made.database.dispose()


def filled(room: OldRoom) -> None:
    """Store a study with images of one who was merged, and a study of nobody else."""
    room.store(named("P1", 1))
    room.store(a_slice(1, study=7))
    room.store(a_slice(1, study=9))
    room.merge("P9", "P1")
    for number in (2, 3, 4):
        assert room.store(named("P9", number)) is Outcome.STORED


@pytest.mark.parametrize("packed", [True, False])
def test_an_upgraded_archive_knows_again_whom_its_instances_name(
    room: OldRoom, packed: bool
) -> None:
    filled(room)
    if packed:
        with room.database.transaction() as tx:
            archive.freeze_manifest(tx, STUDY)
        room.packer.pack(STUDY)
    known = room.rows()
    assert len(known) == 3

    room.upgraded()

    assert (room.rows(), room.left()) == ({}, (2, 0))  # of the two whose patients were merged
    assert room.read_on() == 2
    assert (room.rows(), room.left(), room.read_on()) == (known, (0, 0), 0)


def test_until_then_it_answers_wrongly_once_a_merge_is_taken_back(room: OldRoom) -> None:
    room.store(named("P1", 1))
    room.store(a_slice(1, study=9))
    made = room.merge("P9", "P1")
    room.store(named("P9", 2))
    room.upgraded()
    room.withdraw(made)
    assert (room.others(), shown_of(room.archive, STUDY)) == (0, None)
    room.read_on()
    assert room.others() == 1

    room.upgraded()  # the merge is no more, and was: that is enough to look
    assert room.left()[0] == 2
    room.read_on()
    assert room.others() == 1


def test_a_new_archive_and_one_without_merges_have_nothing_to_read(room: OldRoom) -> None:
    assert room.left() == (0, 0)
    room.store(named("P1", 1))
    room.store(a_slice(1, study=7))
    room.upgraded()
    assert room.left() == (0, 0)


def test_a_large_study_is_read_a_part_at_a_time(room: OldRoom) -> None:
    filled(room)
    known = room.rows()
    room.upgraded()
    assert room.read_on(at_once=2) == 3
    assert (room.rows(), room.left()) == (known, (0, 0))


def test_what_lies_in_the_journal_of_another_node_is_read_once_it_is_packed(room: OldRoom) -> None:
    filled(room)
    known = room.rows()
    room.upgraded()
    assert room.read_on(node="other") == 2
    assert (room.rows(), room.left()) == ({}, (2, 0))
    for study in (STUDY, str(a_slice(study=9).StudyInstanceUID)):
        with room.database.transaction() as tx:
            archive.freeze_manifest(tx, study)
        room.packer.pack(study)
    room.now += timedelta(hours=1)
    assert room.read_on(node="other") == 2
    assert (room.rows(), room.left()) == (known, (0, 0))


def test_a_damaged_instance_keeps_no_other_from_being_read(room: OldRoom) -> None:
    filled(room)
    known = room.rows()
    with room.database.transaction() as tx:
        archive.freeze_manifest(tx, STUDY)
    room.packer.pack(STUDY)
    room.upgraded()
    with room.database.transaction() as tx:
        lost = f"{STUDY}.1.3"
        tx.execute(
            text("UPDATE instances SET pack_key = 'packs/none' WHERE instance_uid = :uid"),
            {"uid": lost},
        )
    room.read_on()
    assert (room.rows(), room.left()) == (
        {uid: told for uid, told in known.items() if uid != lost},
        (0, 0),
    )


def test_where_no_issuer_is_told_the_sender_says_who_is_meant(room: OldRoom) -> None:
    web = Source(Route.STOW, "sender", "org-1", Defaults(patients.unstated_issuer("org-1")))
    with room.database.transaction() as tx:
        commands.add_peer(tx, VAN, actor=ENGINE)
    room.store(named("P1", 1))
    assert room.store(named("P1", 2), web) is Outcome.STORED
    unnamed = named("", 3)
    assert room.store(unnamed) is Outcome.STORED
    known = room.rows()
    assert len(known) == 2
    room.upgraded()
    room.read_on()
    assert room.rows() == known


def test_what_was_kept_aside_is_admitted_once_its_patient_is_the_studys(room: OldRoom) -> None:
    with room.database.transaction() as tx:
        commands.add_peer(tx, VAN, actor=ENGINE)
    room.store(named("P1", 1))
    assert room.store(named("P9", 2)) is Outcome.CONFLICTING
    assert room.store(named("P1", 1, seed=8)) is Outcome.CONFLICTING  # not for its patient
    room.upgraded()
    assert room.left() == (0, 1)
    room.read_on()
    assert room.left() == (0, 1)  # its bytes are in the journal still
    room.packer.move_quarantine()
    room.merge("P9", "P1")
    room.turn()
    assert room.held() == [f"{STUDY}.1.1"]

    room.now += timedelta(hours=1)
    room.read_on()
    room.turn()

    assert (room.left(), room.held()) == ((0, 0), [f"{STUDY}.1.1", f"{STUDY}.1.2"])
    assert room.kept_aside() == ["archive.uid_conflict"]
    assert room.rows() == {f"{STUDY}.1.2": "P9 of hospital-1"}


STEPS = [
    ("storage.arrears:claim", "call"),
    ("storage.arrears:claim", "return"),
    ("dicom_node.arrears:Arrears._headers", "return"),
    ("storage.arrears:name", "return"),
    ("storage.arrears:go_on", "return"),
    ("storage.arrears:end", "return"),
    ("storage.kept_aside:keep", "return"),
    ("dicom_node.arrears:Arrears.read", "return"),
]


@pytest.mark.parametrize(("target", "when"), STEPS)
def test_killed_at_any_step_it_is_read_all_the_same(tmp_path: Path, target: str, when: str) -> None:
    room = OldRoom(tmp_path, f"sqlite:///{tmp_path / 'telerad.db'}")
    with room.database.transaction() as tx:
        commands.add_peer(tx, VAN, actor=ENGINE)
    filled(room)
    room.store(named("P8", 5))
    room.packer.move_quarantine()
    known = room.rows()
    room.upgraded()
    room.journal.close()
    command = [sys.executable, "-m", "tests.dicom_node.victim", str(tmp_path), "arrears"]

    ended = subprocess.run(
        [*command, target, when], start_new_session=True, capture_output=True, check=False
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    room.now = system_clock() + 2 * LEASE
    room.journal = Journal(tmp_path / "journal", node="test", segment_bytes=4 << 20)
    room.archive = Archive(room.database, room.journal, room.objects)
    room.read_on()
    room.merge("P8", "P1")
    room.turn()

    assert room.left() == (0, 0)
    assert room.rows() == known | {f"{STUDY}.1.5": "P8 of hospital-1"}
    room.journal.close()
    room.database.dispose()

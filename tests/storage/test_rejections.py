"""Rejection notes as rows, on both databases: entered once, due until done, then over."""

from datetime import timedelta
from pathlib import Path

import pytest

from storage import rejections
from storage.engine import Database
from storage.rejections import NamedState
from tests.storage.test_archive import AT, Room

STUDY, FIRST, SECOND, NOTE = "1.2.3", "1.2.3.1.1", "1.2.3.1.2", "1.2.3.1.9"


@pytest.fixture
def room(each_database: Database, tmp_path: Path) -> Room:
    """Two instances, one of them named by a note together with one that is not here."""
    room = Room(each_database, tmp_path)
    room.receive(FIRST, b"first")
    room.receive(SECOND, b"second")
    return room


def entered(room: Room, *notes: str) -> None:
    with room.database.transaction() as tx:
        for note in notes or (NOTE, NOTE):
            rejections.enter(
                tx, note, STUDY, actor="ae:VAN1", organisation_id="o-1", received_at=AT
            )


def test_a_key_object_is_read_once_and_what_it_names_is_due(room: Room) -> None:
    entered(room)
    with room.database.transaction() as tx:
        assert rejections.unread(tx) == [NOTE]
        assert rejections.awaited(tx, STUDY)
        assert rejections.claim(tx, NOTE, until=tx.at + timedelta(minutes=1)) is not None
        assert rejections.claim(tx, NOTE, until=tx.at + timedelta(minutes=1)) is None
        for _ in range(2):
            rejections.note_read(tx, NOTE, "113001", {STUDY: [FIRST, "1.2.3.1.3"], "4.5": [SECOND]})
        assert rejections.unread(tx) == []
        assert rejections.due(tx) == [NOTE]
        assert rejections.studies_named(tx, NOTE) == [STUDY]
        assert rejections.named_in(tx, NOTE, STUDY) == {FIRST}
        rejections.note_state(tx, NOTE, STUDY, NamedState.WITHDRAWN)
        rejections.note_outcome(tx, NOTE, code="", sentence="", due_at=None)
        assert rejections.studies_named(tx, NOTE) == []
        assert rejections.due(tx) == []
        assert not rejections.awaited(tx, STUDY)
        assert rejections.refused(tx) == []


def test_what_comes_after_its_note_is_due_while_it_arrives(room: Room) -> None:
    entered(room)
    with room.database.transaction() as tx:
        rejections.note_read(tx, NOTE, "113001", {STUDY: ["1.2.3.1.3"]})
        rejections.note_outcome(tx, NOTE, code="", sentence="", due_at=None)
        assert rejections.due(tx) == []
    room.receive("1.2.3.1.3", b"third")
    with room.database.reading() as tx:
        assert rejections.due(tx) == [NOTE]
        assert rejections.awaited(tx, STUDY)
    room.freeze(STUDY)
    with room.database.reading() as tx:
        assert rejections.due(tx) == []  # its study is at rest


def test_no_number_of_notes_that_wait_hides_another(room: Room) -> None:
    notes = [f"1.2.3.9.{number}" for number in range(120)]
    entered(room, *notes)
    with room.database.transaction() as tx:
        for note in notes:
            rejections.note_read(tx, note, "113001", {STUDY: ["1.2.3.1.3"]})
            rejections.note_outcome(tx, note, code="", sentence="", due_at=None)
    room.receive("1.2.3.1.3", b"third")
    with room.database.reading() as tx:
        assert rejections.due(tx) == sorted(notes)


def test_a_refused_note_is_listed_with_its_rule_until_it_is_not(room: Room) -> None:
    entered(room)
    with room.database.transaction() as tx:
        rejections.note_read(tx, NOTE, "113037", {STUDY: [FIRST, SECOND]})
        rejections.note_state(tx, NOTE, STUDY, NamedState.REFUSED)
        rejections.note_outcome(tx, NOTE, code="a.rule", sentence="a rule", due_at=None)
        (refused,) = rejections.refused(tx, study_uid=STUDY)
        assert (refused.instances, refused.code, refused.actor) == (2, "a.rule", "ae:VAN1")
        assert rejections.refused(tx, study_uid="4.5") == []
        assert not rejections.awaited(tx, STUDY)  # nobody waits for what a rule keeps


def test_a_key_object_that_rejects_nothing_is_done(room: Room) -> None:
    entered(room)
    with room.database.transaction() as tx:
        rejections.note_read(tx, NOTE, None, {})
        assert rejections.unread(tx) == []
        assert rejections.due(tx) == []

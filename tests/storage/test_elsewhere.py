"""What lies in the journal of another node of the same database is known, until it is packed."""

from pathlib import Path

import pytest
from sqlalchemy import update

from storage import archive_find
from storage.archive_find import Level, Narrowing
from storage.elsewhere import held_elsewhere
from storage.engine import Database
from storage.tables.archive import INSTANCES
from tests.storage.test_archive import Room

KEYS = {"study_uid": "1.2.3", "series_uid": "1.2.3.1", "instance_uid": "1.2.3.1.1"}
OTHERS = ["1.2.4", "1.2.4.1", "1.2.4.1.1"]


@pytest.fixture
def room(each_database: Database, tmp_path: Path) -> Room:
    """A node that took in two studies and packed the second."""
    room = Room(each_database, tmp_path, node="n1")
    room.receive("1.2.3.1.1", b"first")
    room.receive("1.2.4.1.1", b"other", study="1.2.4")
    room.freeze("1.2.4")
    room.packer.pack("1.2.4")
    return room


def elsewhere(room: Room, node: str) -> dict[str, frozenset[str]]:
    with room.database.reading() as tx:
        return {key: held_elsewhere(tx, key, [uid, *OTHERS], node) for key, uid in KEYS.items()}


# A name may begin as another does, and lie before or behind it.
@pytest.mark.parametrize("node", ["n", "n10", "a1", "z1"])
def test_what_another_node_has_not_packed_lies_elsewhere(room: Room, node: str) -> None:
    assert elsewhere(room, node) == {key: {uid} for key, uid in KEYS.items()}


@pytest.mark.parametrize("other", ["a-1.seg", "n-4.seg", "n1a-1.seg", "n10-1.seg", "z-1.seg"])
def test_one_segment_of_another_node_is_found_among_many(room: Room, other: str) -> None:
    segments = ["n1-2.seg", other, "n1-1.seg", "n1-9.seg"]
    uids = [f"1.2.5.1.{at}" for at in range(len(segments))]
    for uid, segment in zip(uids, segments, strict=True):
        room.receive(uid, uid.encode(), study="1.2.5")
        with room.database.transaction() as tx:
            mine = INSTANCES.c.instance_uid == uid
            tx.execute(update(INSTANCES).where(mine).values(segment=segment))

    with room.database.transaction() as tx:
        of_first = INSTANCES.c.study_uid == "1.2.3"
        tx.execute(update(INSTANCES).where(of_first).values(segment="n1-5.seg"))
        assert held_elsewhere(tx, "instance_uid", uids, "n1") == {uids[1]}


def test_what_this_node_holds_does_not(room: Room) -> None:
    assert elsewhere(room, "n1") == dict.fromkeys(KEYS, frozenset())
    with room.database.reading() as tx:
        assert held_elsewhere(tx, "study_uid", [], "n2") == frozenset()


def test_what_is_packed_or_withdrawn_does_not(room: Room) -> None:
    with room.database.transaction() as tx:
        tx.execute(update(INSTANCES).where(INSTANCES.c.study_uid == "1.2.3").values(withdrawn=1))
    assert elsewhere(room, "n2") == dict.fromkeys(KEYS, frozenset())
    with room.database.reading() as tx:
        assert len(archive_find.page(tx, Level.IMAGE, Narrowing(), None)) == 1

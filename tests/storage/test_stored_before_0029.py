"""What versions before 0029 stored, known by its SHA-256, goes on as if nothing had happened."""

from pathlib import Path

import pytest
from sqlalchemy import select

from storage import archive
from storage.archive import Admission, InstanceDamaged
from storage.cache import PackCache
from storage.digests import BLAKE3, digest_of
from storage.engine import Database, Transaction
from storage.journal import Place, PlaceLost
from storage.packs import PackDamaged, verify_packs
from storage.recovery import recover
from storage.tables.archive import INSTANCES, PACKS
from tests.storage.before_0029 import aged, sha256
from tests.storage.test_archive import Room, new_instance

UID, STUDY = "1.2.3.1.1", "1.2.3"
BODY = bytes(range(256)) * 100


@pytest.fixture
def room(each_database: Database, tmp_path: Path) -> Room:
    return Room(each_database, tmp_path)


def as_of_before(room: Room, *, packed: bool) -> None:
    """Store an instance as an earlier version did."""
    room.receive(UID, BODY)
    if packed:
        room.freeze()
        room.packer.pack(STUDY)
    aged(room.database, room.journal, room.objects)


def digests(room: Room) -> dict[str, str]:
    with room.database.reading() as tx:
        found = tx.execute(select(INSTANCES.c.instance_uid, INSTANCES.c.digest)).all()
    return {row.instance_uid: row.digest for row in found}


def sent_again(room: Room, body: bytes) -> Admission:
    place = room.journal.append({"uid": UID, "study": STUDY}, body)
    with room.database.transaction() as tx:
        row = new_instance(tx, UID, STUDY)
        return archive.admit(tx, row, place, digest_like=room.journal.digest_like)


@pytest.mark.parametrize("packed", [False, True])
def test_it_is_read_and_verified_by_its_own_digest(room: Room, packed: bool) -> None:
    as_of_before(room, packed=packed)
    assert digests(room) == {UID: sha256(BODY)}
    assert room.archive.read(UID) == BODY
    assert list(room.archive.verify()) == []
    assert list(verify_packs(room.database, room.objects)) == []


@pytest.mark.parametrize("packed", [False, True])
def test_its_damage_is_seen(room: Room, packed: bool) -> None:
    as_of_before(room, packed=packed)
    with room.database.reading() as tx:
        row = tx.execute(select(INSTANCES)).one()
    if packed:
        data = bytearray(room.objects.get(row.pack_key))
        data[row.offset] ^= 1
        room.objects.replace(row.pack_key, bytes(data), digest_of(bytes(data)))
    else:
        with (room.journal.directory / row.segment).open("r+b") as file:
            file.seek(row.offset)
            file.write(bytes([BODY[0] ^ 1]))
    with pytest.raises((InstanceDamaged, PlaceLost)):
        room.archive.read(UID)
    assert len(list(verify_packs(room.database, room.objects))) == packed


@pytest.mark.parametrize("packed", [False, True])
def test_the_same_bytes_again_are_the_same_answer(room: Room, packed: bool) -> None:
    as_of_before(room, packed=packed)
    assert sent_again(room, BODY) is Admission.DUPLICATE
    assert digests(room) == {UID: sha256(BODY)}


@pytest.mark.parametrize("packed", [False, True])
def test_other_bytes_are_kept_aside(room: Room, packed: bool) -> None:
    as_of_before(room, packed=packed)
    assert sent_again(room, BODY + b"x") is Admission.QUARANTINED
    assert room.archive.read(UID) == BODY


def test_one_that_is_sent_again_with_many_new_ones_is_told_from_them(room: Room) -> None:
    as_of_before(room, packed=False)
    uids = [UID, "1.2.3.1.2", "1.2.3.1.3"]
    places = [room.journal.append({"uid": uid, "study": STUDY}, BODY) for uid in uids]
    with room.database.transaction() as tx:
        rows = [
            (new_instance(tx, uid, STUDY), place) for uid, place in zip(uids, places, strict=True)
        ]
        admitted = archive.admit_many(tx, rows, digest_like=room.journal.digest_like)
    assert [each.admission for each in admitted] == [
        Admission.DUPLICATE,
        Admission.STORED,
        Admission.STORED,
    ]


def test_nothing_is_compared_where_nobody_reads_again(room: Room) -> None:
    as_of_before(room, packed=False)
    place = room.journal.append({}, BODY)
    with pytest.raises(ValueError, match="one algorithm"), room.database.transaction() as tx:
        archive.admit(tx, new_instance(tx, UID, STUDY), place)


def test_a_record_that_a_crash_left_is_indexed(room: Room) -> None:
    room.journal.append({"uid": UID, "study": STUDY}, BODY)
    aged(room.database, room.journal, room.objects)
    room.journal.close()

    def admit(tx: Transaction, note: object, data: bytes, place: Place) -> None:
        archive.admit(tx, new_instance(tx, note["uid"], note["study"]), place)

    assert recover(room.database, room.journal, admit) == 1
    assert digests(room) == {UID: sha256(BODY)}
    assert room.archive.read(UID) == BODY


def test_a_record_that_a_crash_left_half_written_is_none(room: Room) -> None:
    place = room.journal.append({"uid": UID, "study": STUDY}, BODY)
    aged(room.database, room.journal, room.objects)
    with (room.journal.directory / place.segment).open("r+b") as file:
        file.seek(place.offset + 5)
        file.write(b"\0")
    (record,) = room.journal.scan()
    assert record.place.digest == sha256(BODY)
    assert not room.journal.is_whole(record.place)


def test_it_is_packed_beside_what_comes_now(room: Room) -> None:
    as_of_before(room, packed=False)
    room.receive("1.2.3.1.2", b"later")
    room.freeze()
    room.packer.pack(STUDY)
    with room.database.reading() as tx:
        pack = tx.execute(select(PACKS)).one()
    assert pack.digest.startswith(BLAKE3)
    assert digests(room) == {UID: sha256(BODY), "1.2.3.1.2": digest_of(b"later")}
    assert room.archive.read(UID) == BODY
    assert list(verify_packs(room.database, room.objects)) == []


def test_its_damage_keeps_it_from_being_packed(room: Room) -> None:
    as_of_before(room, packed=False)
    with room.database.reading() as tx:
        row = tx.execute(select(INSTANCES)).one()
    with (room.journal.directory / row.segment).open("r+b") as file:
        file.seek(row.offset)
        file.write(b"\xff")
    room.freeze()
    with pytest.raises((PlaceLost, PackDamaged)):
        room.packer.pack(STUDY)
    with room.database.reading() as tx:
        assert tx.execute(select(PACKS)).all() == []


def test_a_pack_of_it_is_kept_at_hand(room: Room, tmp_path: Path) -> None:
    as_of_before(room, packed=True)
    cache = PackCache(room.objects, tmp_path / "cache", limit=1 << 20)
    with room.database.reading() as tx:
        pack = tx.execute(select(PACKS)).one()
    assert len(cache.get(pack.pack_key)) == pack.length
    assert cache.held().packs == 1

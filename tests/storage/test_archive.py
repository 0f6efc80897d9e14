"""Admission once, manifests that freeze what was there, packs that any unzip reads."""

import fcntl
import io
import os
import threading
import time
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from kernel.errors import Refused
from kernel.ids import UNIDENTIFIED, InstanceUID, SeriesUID, StudyUID
from kernel.pulse import Pulse
from storage import archive, audit, patients, scrub
from storage.archive import Admission, Admitted, Archive, Conflict, Known, NewInstance
from storage.digests import digest_of
from storage.engine import Database, Transaction
from storage.journal import Journal, Place, PlaceLost
from storage.memory import MemoryObjects
from storage.objects import ObjectStore, ObjectUnreadable
from storage.packs import PackDamaged, Packer, verify_packs
from storage.recovery import recover
from storage.series_queries import held
from storage.unindexed import unindexed

AT = datetime(2026, 11, 22, 9, tzinfo=UTC)


class Room:
    """A node's storage floor in one folder."""

    def __init__(self, database: Database, directory: Path, node: str = "n1") -> None:
        self.database = database
        self.journal = Journal(directory / "journal", node=node, segment_bytes=1 << 18)
        self.objects: ObjectStore = MemoryObjects()
        self.archive = Archive(database, self.journal, self.objects)
        self.packer = Packer(database, self.journal, self.objects, directory / "scratch")

    def receive(self, uid: str, body: bytes, *, study: str = "1.2.3") -> Admission:
        place = self.journal.append({"uid": uid, "study": study}, body)
        with self.database.transaction() as tx:
            return archive.admit(tx, new_instance(tx, uid, study), place)

    def freeze(self, study: str = "1.2.3") -> archive.Manifest | None:
        with self.database.transaction() as tx:
            return archive.freeze_manifest(tx, study)


def new_instance(
    tx: Transaction, uid: str, study: str, *, issuer: str = "SITE", patient_id: str = "P1"
) -> NewInstance:
    ref = patients.register(
        tx, issuer=issuer, patient_id=patient_id, name="DOE^J", sex="F", birth_date=None
    )
    return NewInstance(
        instance_uid=InstanceUID(uid),
        series_uid=SeriesUID(study + ".1"),
        study_uid=StudyUID(study),
        sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        modality="CT",
        patient_ref=ref,
        accession="A1",
        study_description="CHEST",
        study_date="20261122",
        study_time="0900",
        series_number="1",
        series_description="AX",
        instance_number=uid.rsplit(".", 1)[-1],
        body_part="CHEST",
        station_ae_title="VAN1",
        rows=512,
        columns=512,
        frames=None,
        received_at=AT,
        source="VAN1",
    )


@pytest.fixture
def room(each_database: Database, tmp_path: Path) -> Room:
    """A storage floor on each of the two databases."""
    return Room(each_database, tmp_path)


def test_the_same_bytes_again_are_the_same_answer(room: Room) -> None:
    assert room.receive("1.2.3.1.1", b"pixels") is Admission.STORED
    assert room.receive("1.2.3.1.1", b"pixels") is Admission.DUPLICATE
    assert room.archive.read("1.2.3.1.1") == b"pixels"


def test_the_same_uid_with_other_bytes_is_quarantined_and_the_first_kept(room: Room) -> None:
    room.receive("1.2.3.1.1", b"first")
    assert room.receive("1.2.3.1.1", b"second") is Admission.QUARANTINED
    assert room.archive.read("1.2.3.1.1") == b"first"
    with room.database.reading() as tx:
        kept = archive.quarantined(tx)
    assert [(q.code, q.instance_uid) for q in kept] == [("archive.uid_conflict", "1.2.3.1.1")]


def test_a_study_of_which_nothing_was_stored_is_never_complete(room: Room) -> None:
    room.receive("1.2.3.1.1", b"first")
    assert room.receive("1.2.3.1.1", b"second", study="4.5.6") is Admission.QUARANTINED
    with room.database.reading() as tx:
        (study,) = archive.unsettled(tx, arrived_before=AT)
    assert study.study_uid == "1.2.3"


def test_no_number_of_waiting_studies_hides_another(room: Room) -> None:
    uids = [f"1.2.{number}" for number in range(3, 12)]
    for uid in uids:  # of which some come at one moment
        room.receive(f"{uid}.1.1", b"x", study=uid)
    with room.database.reading() as tx:
        pages = list(archive.pages_of(tx, page=2))
        found = [study.study_uid for study in archive.unsettled(tx, arrived_before=AT)]
    assert [len(page) for page in pages] == [2, 2, 2, 2, 1]
    assert sorted(study.study_uid for page in pages for study in page) == sorted(uids)
    assert sorted(found) == sorted(uids)


def test_a_new_study_beside_a_known_one_is_unsettled_only_if_something_of_it_was_stored(
    room: Room,
) -> None:
    room.receive("1.2.3.1.1", b"first")
    bodies = {"1.2.3": ("1.2.3.1.2", b"more"), "4.5.6": ("1.2.3.1.1", b"not the first")}
    places = {study: room.journal.append({}, body) for study, (_, body) in bodies.items()}
    with room.database.transaction() as tx:
        rows = [(new_instance(tx, uid, study), places[study]) for study, (uid, _) in bodies.items()]
        archive.admit_many(tx, rows)
    with room.database.reading() as tx:
        assert [each.study_uid for each in archive.unsettled(tx, arrived_before=AT)] == ["1.2.3"]


@pytest.mark.parametrize("together", [True, False])
def test_the_last_arrival_of_a_study_is_that_of_its_newest_instance(
    room: Room, together: bool
) -> None:
    moments = {"1.2.3.1.2": AT + timedelta(seconds=2), "1.2.3.1.1": AT}
    places = {uid: room.journal.append({}, uid.encode()) for uid in moments}
    with room.database.transaction() as tx:
        rows = [
            (new_instance(tx, uid, "1.2.3")._replace(received_at=at), places[uid])
            for uid, at in sorted(moments.items())
        ]
        for group in [rows] if together else [[row] for row in rows]:
            archive.admit_many(tx, group)
        found = archive.unsettled_study(tx, "1.2.3")
    assert found is not None
    assert found.last_arrival_at == AT + timedelta(seconds=2)


def test_what_comes_for_settled_and_for_open_studies_at_once_opens_them_all(room: Room) -> None:
    known = Known()
    for study in ("1.2.3", "4.5.6"):
        room.receive(f"{study}.1.1", b"first", study=study)
    room.freeze("1.2.3")
    later = AT + timedelta(seconds=2)
    places = {study: room.journal.append({}, study.encode()) for study in ("1.2.3", "4.5.6")}
    with room.database.transaction() as tx:
        rows = [
            (new_instance(tx, f"{study}.1.2", study)._replace(received_at=later), place)
            for study, place in places.items()
        ]
        archive.admit_many(tx, rows, known=known)
    with room.database.reading() as tx:
        found = list(archive.unsettled(tx, arrived_before=later))
    assert {(each.study_uid, each.last_arrival_at) for each in found} == {
        ("1.2.3", later),
        ("4.5.6", later),
    }


def test_a_batch_that_holds_one_uid_twice_admits_it_once(room: Room) -> None:
    places = [room.journal.append({}, body) for body in (b"a", b"a", b"b")]
    with room.database.transaction() as tx:
        row = new_instance(tx, "1.2.3.1.1", "1.2.3")
        outcome = archive.admit_many(tx, [(row, place) for place in places])
    assert [each.admission for each in outcome] == [
        Admission.STORED,
        Admission.DUPLICATE,
        Admission.QUARANTINED,
    ]


def test_a_study_of_one_patient_takes_no_instance_of_another(room: Room) -> None:
    known = Known()

    def arrive(uid: str, patient_id: str, issuer: str = "SITE") -> Admitted:
        place = room.journal.append({}, uid.encode())
        with room.database.transaction() as tx:
            row = new_instance(tx, uid, "1.2.3", issuer=issuer, patient_id=patient_id)
            (admitted,) = archive.admit_many(tx, [(row, place)], known=known)
        known.confirm()
        return admitted

    assert arrive("1.2.3.1.1", "P1").admission is Admission.STORED
    for _ in range(2):  # asked, then known
        assert arrive("1.2.3.1.2", "P2") == Admitted(Admission.QUARANTINED, Conflict.OTHER_PATIENT)
    assert arrive("1.2.3.1.3", "P1").admission is Admission.STORED
    assert room.archive.instances_of("1.2.3") == ["1.2.3.1.1", "1.2.3.1.3"]
    with room.database.reading() as tx:
        assert {kept.code for kept in archive.quarantined(tx)} == {"archive.patient_conflict"}


@pytest.mark.parametrize(
    ("issuer", "patient_id"), [(patients.unstated_issuer("org"), "P1"), (UNIDENTIFIED, "1.2.3")]
)
def test_an_instance_that_says_less_of_the_patient_contradicts_nothing(
    room: Room, issuer: str, patient_id: str
) -> None:
    room.receive("1.2.3.1.1", b"first")
    place = room.journal.append({}, b"dose report")
    with room.database.transaction() as tx:
        row = new_instance(tx, "1.2.3.1.2", "1.2.3", issuer=issuer, patient_id=patient_id)
        assert archive.admit(tx, row, place) is Admission.STORED
    manifest = room.freeze()
    assert manifest is not None
    with room.database.reading() as tx:
        assert patients.get(tx, manifest.patient_ref).patient_id == "P1"


def test_of_two_patients_in_one_batch_the_first_has_the_study(room: Room) -> None:
    places = [room.journal.append({}, body) for body in (b"a", b"b", b"c")]
    with room.database.transaction() as tx:
        rows = [
            new_instance(tx, f"1.2.3.1.{n}", "1.2.3", patient_id=patient)
            for n, patient in enumerate(("P1", "P2", "P1"))
        ]
        outcome = archive.admit_many(tx, list(zip(rows, places, strict=True)))
    assert [each.conflict for each in outcome] == [None, Conflict.OTHER_PATIENT, None]


def test_what_a_transaction_rolled_back_is_not_known(room: Room) -> None:
    known = Known()
    place = room.journal.append({}, b"pixels")

    def arrive(*, fail: bool) -> None:
        with room.database.transaction() as tx:
            row = new_instance(tx, "1.2.3.1.1", "1.2.3")
            archive.admit_many(tx, [(row, place)], known=known)
            if fail:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        arrive(fail=True)
    arrive(fail=False)
    known.confirm()
    assert room.archive.read("1.2.3.1.1") == b"pixels"


def test_a_manifest_freezes_what_was_there_and_a_late_image_makes_the_next(room: Room) -> None:
    room.receive("1.2.3.1.1", b"one")
    first = room.freeze()
    assert first is not None
    assert room.freeze() is None
    room.receive("1.2.3.1.1", b"one")  # a resend is nothing new
    assert room.freeze() is None
    room.receive("1.2.3.1.2", b"two")
    second = room.freeze()
    assert second is not None
    assert (first.version, second.version) == (1, 2)
    assert [e.instance_uid for e in second.entries] == ["1.2.3.1.1", "1.2.3.1.2"]
    with room.database.reading() as tx:
        assert archive.manifest(tx, "1.2.3", 1) == first
        assert list(archive.verify_manifests(tx)) == []


def test_a_packed_study_reads_the_same_and_frees_the_journal(room: Room) -> None:
    bodies = {f"1.2.3.1.{n}": f"slice {n}".encode() * 100 for n in range(1, 9)}
    for uid, body in bodies.items():
        room.receive(uid, body)
    room.receive("1.2.3.1.1", bodies["1.2.3.1.1"])
    room.freeze()
    with room.database.reading() as tx:
        assert room.packer.due(tx) == ["1.2.3"]
    room.packer.pack("1.2.3")
    room.journal.rotate()
    room.receive("9.9.1.1", b"another", study="9.9")
    room.journal.close()
    freed = room.packer.free_segments()
    assert len(freed) == 1
    assert {uid: room.archive.read(uid) for uid in bodies} == bodies
    assert room.archive.read("9.9.1.1") == b"another"
    assert list(room.archive.verify()) == []
    assert list(verify_packs(room.database, room.objects)) == []


def test_packing_twice_makes_one_pack_that_any_unzip_reads(room: Room) -> None:
    room.receive("1.2.3.1.1", b"one")
    room.freeze()
    members = room.packer._members("1.2.3")
    room.packer.pack("1.2.3")
    room.packer.pack("1.2.3")
    assert members
    keys = [key for key in room.objects._objects if key.startswith("packs/")]  # type: ignore[attr-defined]
    assert len(keys) == 1
    with zipfile.ZipFile(io.BytesIO(room.objects.get(keys[0]))) as pack:
        assert pack.testzip() is None
        assert pack.read("1.2.3.1.1.dcm") == b"one"


def test_a_large_instance_is_packed_piece_by_piece_and_a_damaged_one_never(room: Room) -> None:
    body = bytes(range(256)) * (9 << 12)
    room.receive("1.2.3.1.1", body)
    room.receive("1.2.3.1.2", b"small")
    room.freeze()
    room.packer.pack("1.2.3")

    with room.database.reading() as tx:
        (packed, _) = held(tx, "1.2.3")
    pack = room.objects.get(str(packed.pack_key))
    with zipfile.ZipFile(io.BytesIO(pack)) as unzipped:
        assert unzipped.testzip() is None
        assert unzipped.read("1.2.3.1.1.dcm") == body == room.archive.read("1.2.3.1.1")

    room.receive("1.2.4.1.1", body, study="1.2.4")
    room.freeze("1.2.4")
    with room.database.reading() as tx:
        (lost,) = held(tx, "1.2.4")
    with (room.journal.directory / str(lost.segment)).open("r+b") as segment:
        segment.seek(lost.offset + len(body) - 5)
        segment.write(b"!")
    with pytest.raises(PlaceLost):
        room.packer.pack("1.2.4")


def test_a_segment_with_unmoved_quarantine_is_kept_until_it_is_moved(room: Room) -> None:
    room.receive("1.2.3.1.1", b"first")
    room.receive("1.2.3.1.1", b"second")
    room.freeze()
    room.packer.pack("1.2.3")
    room.journal.close()
    assert room.packer.free_segments() == []
    room.packer.move_quarantine()
    assert len(room.packer.free_segments()) == 1
    with room.database.reading() as tx:
        digest = archive.quarantined(tx)[0].digest
    assert room.objects.get(f"quarantine/{digest}") == b"second"


def test_recovery_indexes_what_the_database_lost_and_nothing_twice(room: Room) -> None:
    room.receive("1.2.3.1.1", b"indexed")
    room.journal.append({"uid": "1.2.3.1.2", "study": "1.2.3"}, b"lost row")
    assert recover(room.database, room.journal, _never) == 0  # its process still lives
    room.journal.close()

    def admit(tx: Transaction, note: object, data: bytes, place: Place) -> None:
        assert isinstance(note, dict)
        archive.admit(tx, new_instance(tx, note["uid"], note["study"]), place)

    assert recover(room.database, room.journal, admit) == 1
    assert recover(room.database, room.journal, admit) == 0
    assert room.archive.read("1.2.3.1.2") == b"lost row"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ZeroDivisionError(), "recovery.unforeseen.ZeroDivisionError"),
        (PlaceLost("the disk does not give back what the journal holds"), "storage.place_lost"),
        (Refused("a rule that nobody foresaw here"), "refused"),
    ],
)
def test_a_record_that_cannot_be_indexed_is_told_of_until_it_is(
    room: Room, error: Exception, code: str
) -> None:
    room.journal.append({"uid": "1.2.3.1.1", "study": "1.2.3"}, b"lost row")
    room.journal.append({"uid": "1.2.3.1.2", "study": "1.2.3"}, b"lost row")
    room.journal.close()
    broken = True

    def admit(tx: Transaction, note: object, data: bytes, place: Place) -> None:
        assert isinstance(note, dict)
        if broken and note["uid"] == "1.2.3.1.1":
            raise error
        archive.admit(tx, new_instance(tx, note["uid"], note["study"]), place)

    def told() -> tuple[tuple[tuple[str, int], ...], list[str]]:
        with room.database.reading() as tx:
            assert scrub.count_damages(tx) == len(unindexed(tx).codes)
            actions = [e.action for e in audit.latest(tx) if e.action.startswith("storage.")]
            return unindexed(tx).codes, actions

    assert recover(room.database, room.journal, admit) == 1
    assert recover(room.database, room.journal, admit) == 0
    assert told() == (((code, 1),), ["storage.damaged"])

    broken = False
    assert recover(room.database, room.journal, admit) == 1
    assert told() == ((), ["storage.whole_again", "storage.damaged"])


def test_recovery_beats_with_each_record_and_owes_nothing_while_another_recovers(
    room: Room,
) -> None:
    for number in (1, 2, 3):
        room.journal.append({"uid": f"1.2.3.1.{number}", "study": "1.2.3"}, b"lost row")
    room.journal.close()
    pulse = Pulse()
    counts: list[int] = []
    pulse.beat()

    def admit(tx: Transaction, note: object, data: bytes, place: Place) -> None:
        assert isinstance(note, dict)
        archive.admit(tx, new_instance(tx, note["uid"], note["study"]), place)
        counts.append(pulse.count())

    directory = os.open(room.journal.directory, os.O_RDONLY)
    fcntl.flock(directory, fcntl.LOCK_EX)  # as another process that recovers
    recovering = threading.Thread(target=recover, args=(room.database, room.journal, admit, pulse))
    recovering.start()
    while pulse.count() & 1:
        time.sleep(0.01)
    assert counts == []
    os.close(directory)
    recovering.join()

    assert len(set(counts)) == 3
    assert all(count & 1 for count in counts)


def _never(_tx: Transaction, _note: object, _data: bytes, _place: Place) -> None:
    raise AssertionError("the segment of a living process was recovered")


def test_damaged_bytes_are_named_by_verify(room: Room, tmp_path: Path) -> None:
    room.receive("1.2.3.1.1", b"good bytes")
    (segment,) = (tmp_path / "journal").iterdir()
    segment.write_bytes(segment.read_bytes().replace(b"good bytes", b"evil bytes"))
    assert len(list(room.archive.verify())) == 1


class _Lies(MemoryObjects):
    """The twin, which gives one byte of a pack wrongly."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at = at

    def get(self, key: str, *, start: int = 0, length: int | None = None) -> bytes:
        data = bytearray(super().get(key, start=start, length=length))
        if start <= self.at < start + len(data):
            data[self.at - start] ^= 1
        return bytes(data)


class _Unreadable(MemoryObjects):
    """A store whose disk gives nothing back of what was put, until that is put once more."""

    def __init__(self) -> None:
        super().__init__()
        self.lost: set[str] = set()

    def put(self, key: str, data: bytes | Path, digest: str) -> None:
        if key in self._objects:
            raise ObjectUnreadable("the disk does not give an object back", key=key)
        super().put(key, data, digest)
        self.lost.add(key)

    def replace(self, key: str, data: bytes | Path, digest: str) -> None:
        super().replace(key, data, digest)
        self.lost.discard(key)

    def get(self, key: str, *, start: int = 0, length: int | None = None) -> bytes:
        if key in self.lost:
            raise ObjectUnreadable("the disk does not give an object back", key=key)
        return super().get(key, start=start, length=length)


class _Loses(MemoryObjects):
    """A store that keeps less, or something else, of what is put, and says that all is well.

    As S3 does, it remembers the digest that it was told, and takes the same no second time.
    """

    def __init__(self, damaged: Callable[[bytes], bytes]) -> None:
        super().__init__()
        self.damaged = damaged

    def put(self, key: str, data: bytes | Path, digest: str) -> None:
        if key not in self._objects:
            super().put(key, data, digest)
            self._objects[key] = self.damaged(self._objects[key])


@pytest.mark.parametrize(
    "damaged",
    [
        lambda whole: whole[: len(whole) // 2],
        lambda whole: bytes([whole[0] ^ 1]) + whole[1:],  # of the ZIP, no part of an instance
        lambda whole: whole[:-1] + bytes([whole[-1] ^ 1]),
        lambda whole: b"",
    ],
)
def test_a_pack_that_the_store_did_not_keep_is_stored_again(
    database: Database, tmp_path: Path, damaged: Callable[[bytes], bytes]
) -> None:
    room = Room(database, tmp_path)
    room.receive("1.2.3.1.1", b"pixels")
    room.freeze()
    room.objects = objects = _Loses(damaged)
    packer = Packer(database, room.journal, objects, tmp_path / "scratch")

    packer.pack("1.2.3")

    assert list(verify_packs(database, objects)) == []
    assert Archive(database, room.journal, objects).read("1.2.3.1.1") == b"pixels"


def test_what_the_disk_does_not_give_back_is_stored_again(
    database: Database, tmp_path: Path
) -> None:
    room = Room(database, tmp_path)
    room.receive("1.2.3.1.1", b"first")
    room.receive("1.2.3.1.1", b"second")
    room.freeze()
    room.objects = objects = _Unreadable()
    packer = Packer(database, room.journal, objects, tmp_path / "scratch")
    quarantined = f"quarantine/{digest_of(b'second')}"
    objects.put(quarantined, b"second", digest_of(b"second"))

    packer.pack("1.2.3")
    packer.move_quarantine()

    assert list(verify_packs(database, objects)) == []
    assert Archive(database, room.journal, objects).read("1.2.3.1.1") == b"first"
    assert objects.get(quarantined) == b"second"


@pytest.mark.parametrize("at", [None, 100, 9 << 20, (16 << 20) + 5, (27 << 20) - 1])
def test_a_large_pack_is_verified_across_the_pieces_it_is_read_in(
    database: Database, tmp_path: Path, at: int | None
) -> None:
    room = Room(database, tmp_path)
    for number in range(3):
        room.receive(f"1.2.3.1.{number}", bytes([number]) * (9 << 20))
    room.freeze()
    if at is not None:
        room.objects = _Lies(at)
    packer = Packer(database, room.journal, room.objects, tmp_path / "scratch")
    if at is None:
        packer.pack("1.2.3")
        assert packer.free_segments()
        return
    with pytest.raises(PackDamaged):
        packer.pack("1.2.3")
    assert packer.free_segments() == []
    assert room.archive.read("1.2.3.1.0") == bytes(9 << 20)


def test_each_manifest_is_compared_with_what_its_study_holds(room: Room) -> None:
    for number in range(3):
        study = f"1.2.{number}"
        room.receive(f"{study}.1.1", b"x", study=study)
        room.freeze(study)
        room.receive(f"{study}.1.2", b"y", study=study)
        room.freeze(study)
    with room.database.reading() as tx:
        assert len(list(archive._all_manifests(tx, page=2))) == 6
        assert list(archive.verify_manifests(tx)) == []
    with room.database.transaction() as tx:
        tx.execute(text("UPDATE instances SET digest = 'other' WHERE instance_uid = '1.2.1.1.2'"))
        tx.execute(text("UPDATE manifests SET digest = 'other' WHERE study_uid = '1.2.2'"))
    with room.database.reading() as tx:
        assert list(archive.verify_manifests(tx)) == [
            "manifest 2 of study 1.2.1 names instance 1.2.1.1.2, which is not as it was",
            "manifest 1 of study 1.2.2 was changed after it was frozen",
            "manifest 2 of study 1.2.2 was changed after it was frozen",
        ]


def test_what_lies_in_the_journal_of_another_node_ends_no_verification(
    room: Room, tmp_path: Path
) -> None:
    for number in (1, 3):
        room.receive(f"1.2.3.1.{number}", b"x")
        other = Room(room.database, tmp_path / "other", node="n2")
        other.receive(f"1.2.3.1.{number + 1}", b"y")
        other.journal.close()
    (segment,) = room.journal.segments()
    with room.database.reading() as tx:
        (first, *_) = held(tx, "1.2.3")
    with segment.open("r+b") as file:
        file.seek(first.offset)
        file.write(b"X")
    assert list(room.archive.verify()) == [
        "instance 1.2.3.1.1: journal bytes do not match their digest"
    ]

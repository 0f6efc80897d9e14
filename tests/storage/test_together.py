"""Instances side by side in a pack are read at once; what hinders that leaves them to others."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from storage.archive import Archive
from storage.engine import Database
from storage.objects import LocalObjects
from storage.packs import Packer
from storage.series_queries import Held, held
from storage.together import read_together
from tests.storage.test_archive import Room

STUDY = "1.2.1"
FILES = {f"{STUDY}.1.{n}": bytes([64 + n]) * (3000 + n) for n in range(1, 6)}


class Packed(Room):
    """A floor with one packed study of five instances, and one in the journal."""

    def __init__(self, database: Database, directory: Path) -> None:
        super().__init__(database, directory)
        self.objects = LocalObjects(directory / "objects")
        self.archive = Archive(database, self.journal, self.objects)
        self.packer = Packer(database, self.journal, self.objects, directory / "scratch")
        self.packs = directory / "objects" / "packs"
        for uid, data in FILES.items():
            self.receive(uid, data, study=STUDY)
        self.freeze(STUDY)
        self.packer.pack(STUDY)
        self.receive("1.2.3.1.1", b"b" * 5000, study="1.2.3")

    def held(self, study: str = STUDY) -> list[Held]:
        with self.database.reading() as tx:
            return held(tx, study)

    def read(self, instances: Sequence[Held]) -> dict[str, bytes]:
        found = read_together(self.archive, instances)
        return {uid: bytes(file) for uid, file in found.items()}

    def pack(self) -> Path:
        (path,) = self.packs.rglob("*.zip")
        return path


@pytest.fixture
def room(database: Database, tmp_path: Path) -> Packed:
    return Packed(database, tmp_path)


def test_neighbours_are_read_in_one_go(room: Packed, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []
    get = room.objects.get

    def counted(key: str, *, start: int = 0, length: int | None = None) -> bytes:
        reads.append(key)
        return get(key, start=start, length=length)

    monkeypatch.setattr(room.objects, "get", counted)

    assert room.read(room.held()) == FILES
    assert len(reads) == 1


def test_they_are_read_into_the_memory_that_is_given_as_far_as_it_suffices(room: Packed) -> None:
    instances = room.held()
    memory = memoryview(bytearray(1 << 16))

    found = read_together(room.archive, instances, memory)

    assert {uid: bytes(file) for uid, file in found.items()} == FILES
    assert all(file.obj is memory.obj for file in found.values())
    few = read_together(room.archive, instances, memory[:5000])
    assert {uid: bytes(file) for uid, file in few.items()} == FILES


def test_what_is_alone_or_not_packed_is_left_to_be_read_alone(room: Packed) -> None:
    first, second, _, fourth, fifth = room.held()
    (loose,) = room.held("1.2.3")

    assert room.read([]) == {}
    assert room.read([first]) == {}
    assert room.read([loose, first]) == {}
    assert room.read([second, first]) == {}  # not in the order in which they lie
    assert set(room.read([first, second, loose, fourth, fifth])) == {
        each.instance_uid for each in (first, second, fourth, fifth)
    }


def test_a_damaged_one_is_left_out_and_its_neighbours_are_not(room: Packed) -> None:
    instances = room.held()
    with room.pack().open("r+b") as file:
        file.seek(instances[2].offset + 10)
        file.write(b"damage")

    found = room.read(instances)

    assert set(found) == {each.instance_uid for each in instances} - {instances[2].instance_uid}


def test_a_pack_that_is_gone_or_cut_short_gives_what_it_has(room: Packed) -> None:
    instances = room.held()
    with room.pack().open("r+b") as file:
        file.truncate(instances[3].offset + 5)
    assert len(room.read(instances)) == 3

    room.pack().unlink()
    assert room.read(instances) == {}

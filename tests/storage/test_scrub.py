"""The scrub: everything is read again in its time, from where it ended, and nothing is mended."""

import threading
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, select, update

from storage import audit, scrub
from storage.engine import Database
from storage.objects import LocalObjects
from storage.scrub import Pace, Scrub
from storage.tables.archive import INSTANCES, PACKS
from tests.storage.test_archive import Room

DAY = timedelta(days=1)


class Kept(Room):
    """A floor with two packed studies and one instance in the journal."""

    def __init__(self, database: Database, directory: Path) -> None:
        super().__init__(database, directory)
        for study in ("1.2.1", "1.2.2"):
            self.receive(f"{study}.1.1", b"a" * 5000, study=study)
            self.freeze(study)
            self.packer.pack(study)
        self.receive("1.2.3.1.1", b"b" * 5000, study="1.2.3")
        self.stop = threading.Event()

    def scrubber(self) -> Scrub:
        return Scrub(self.database, self.archive, self.objects, period=DAY)

    def pace(self) -> Pace:
        return Pace(1e12, lambda: False, self.stop)

    def damages(self) -> list[str]:
        with self.database.reading() as tx:
            return [each.sentence for each in scrub.damages(tx)]

    def held(self) -> scrub.Pass:
        with self.database.reading() as tx:
            (held,) = scrub.passes(tx)
        return held


@pytest.fixture
def room(database: Database, tmp_path: Path) -> Kept:
    return Kept(database, tmp_path)


def whole(room: Kept, pace: Pace | None = None) -> int:
    return sum(1 for _ in iter(lambda: room.scrubber().step(pace or room.pace()), False))


def test_a_pass_reads_all_and_the_next_waits_for_its_time(room: Kept) -> None:
    whole(room)
    held = room.held()
    assert held.bytes > 15_000
    assert held.ended_at is not None
    assert room.damages() == []
    assert whole(room) == 0
    assert room.held() == held


def test_damage_alarms_once_and_deletes_nothing(room: Kept) -> None:
    with room.database.reading() as tx:
        held = room.archive._row("1.2.1.1.1")
    key = held["pack_key"]
    good = room.objects.get(key)
    room.objects.delete(key)
    segment = next(iter(room.journal.segments()))
    place = room.archive._row("1.2.3.1.1")
    with segment.open("r+b") as file:
        file.seek(place["offset"])
        file.write(b"X")
    whole(room)
    assert len(room.damages()) == 2
    _again(room)
    with room.database.reading() as tx:
        told = [e for e in audit.latest(tx) if e.action == "storage.damaged"]
        assert scrub.count_damages(tx) == 2
    assert len(told) == 2
    room.objects.put(key, good, key.rsplit("/", 1)[1].removesuffix(".zip"))
    _again(room)
    assert room.damages() == ["journal bytes do not match their digest"]


def _again(room: Kept) -> None:
    scrubber = Scrub(room.database, room.archive, room.objects, period=timedelta(0))
    for _ in range(10):
        before = room.held().ended_at
        scrubber.step(room.pace())
        if room.held().ended_at != before:
            return
    raise AssertionError("the pass does not end")


def test_a_restart_goes_on_where_it_ended(room: Kept) -> None:
    stop, asked = threading.Event(), []

    def stops_after_the_first() -> bool:
        if asked:
            stop.set()
        asked.append(1)
        return False

    assert not room.scrubber().step(Pace(1e12, stops_after_the_first, stop))
    position = room.held().position
    assert position.startswith("1 pack ")
    assert room.held().ended_at is None
    whole(room)
    assert room.held().ended_at is not None
    with room.database.reading() as tx:
        lengths = [row.bytes for row in scrub.passes(tx)]
    assert lengths[0] < 2 * 3 * 5500


def test_it_waits_while_others_need_the_disk() -> None:
    stop = threading.Event()
    asked = threading.Event()
    busy = [True]

    def is_busy() -> bool:
        asked.set()
        return busy[0]

    pace = Pace(1e12, is_busy, stop)
    went: list[bool] = []
    waiting = threading.Thread(target=lambda: went.append(pace.go(1)))
    waiting.start()
    assert asked.wait(10)
    assert went == []
    busy[0] = False
    waiting.join(10)
    assert went == [True]
    busy[0] = True
    stop.set()
    assert not pace.go(1)


def test_what_the_disk_does_not_give_back_is_damage_and_the_pass_goes_on(
    room: Kept, tmp_path: Path
) -> None:
    stored = LocalObjects(tmp_path / "objects")
    with room.database.reading() as tx:
        keys = list(tx.execute(select(PACKS.c.pack_key)).scalars())
    for key in keys:
        stored.put(key, room.objects.get(key), key.rsplit("/", 1)[1].removesuffix(".zip"))
    lost = tmp_path / "objects" / keys[0]
    lost.unlink()
    lost.mkdir()  # to read it is an error of the file system, as a bad sector is
    scrubber = Scrub(room.database, room.archive, stored, period=DAY)
    while scrubber.step(room.pace()):
        pass
    assert room.held().ended_at is not None
    assert room.damages() == [f"pack {keys[0]} cannot be read"]


def test_a_record_that_the_disk_does_not_give_back_is_damage(room: Kept) -> None:
    (segment,) = room.journal.segments()
    room.journal.close()
    segment.unlink()
    segment.mkdir()
    whole(room)
    assert room.held().ended_at is not None
    assert room.damages() == ["the disk does not give back what the journal holds"]


def test_damage_of_what_is_kept_no_more_alarms_no_more(room: Kept) -> None:
    with room.database.reading() as tx:
        old = tx.execute(select(PACKS.c.pack_key).order_by(PACKS.c.pack_key)).scalars().all()[0]
    room.objects.delete(old)
    place = room.archive._row("1.2.3.1.1")
    with (room.journal.directory / place["segment"]).open("r+b") as file:
        file.seek(place["offset"])
        file.write(b"X")
    whole(room)
    assert len(room.damages()) == 2
    with room.database.transaction() as tx:  # as a purge leaves it
        tx.execute(delete(PACKS).where(PACKS.c.pack_key == old))
        tx.execute(update(INSTANCES).values(segment=None))
    _again(room)
    assert room.damages() == []
    with room.database.reading() as tx:
        told = [e.action for e in audit.latest(tx) if e.action.startswith("storage.")]
    assert told[:2] == ["storage.damage_gone"] * 2

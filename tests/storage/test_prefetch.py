"""Priors at hand when a case opens: a few, not too old, and the case never waits for them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from kernel.facts import CaseOpened
from storage import prefetch
from storage.cache import PackCache
from storage.engine import Database
from storage.memory import MemoryObjects
from storage.objects import ObjectStoreUnavailable
from storage.packs import Packer
from storage.prefetch import Prefetch
from storage.tables.archive import STUDIES
from tests.storage.test_archive import Room

AT = datetime(2026, 11, 22, 9, tzinfo=UTC)


class Away(MemoryObjects):
    """The twin, which can be out of reach."""

    away = False

    def get(self, key: str, *, start: int = 0, length: int | None = None) -> bytes:
        if self.away:
            raise ObjectStoreUnavailable("the object store does not answer")
        return super().get(key, start=start, length=length)


class Clock:
    now = AT

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def room(database: Database, tmp_path: Path) -> Room:
    """Seven earlier studies of a patient, one of them eleven years old, all packed."""
    database.clock = Clock()
    room = Room(database, tmp_path)
    room.objects = Away()
    room.packer = Packer(database, room.journal, room.objects, tmp_path / "scratch")
    for number in range(8):
        study = f"1.2.{number}"
        room.receive(f"{study}.1.1", bytes([number]) * 3000, study=study)
        room.freeze(study)
        day = "20151122" if number == 1 else f"2026010{number}"
        with database.transaction() as tx:
            changed = update(STUDIES).where(STUDIES.c.study_uid == study)
            tx.execute(changed.values(study_date=day))
        room.packer.pack(study)
    return room


def opened(room: Room) -> None:
    fact = CaseOpened(
        subject="c-1", at=AT, actor="t", case_id="c-1", request_id="r", study_uid="1.2.7",
        manifest_version=1, site_id="s", profile="p", form="planned",
    )  # fmt: skip
    with room.database.transaction() as tx:
        prefetch.reactions()[prefetch.CONSUMER][CaseOpened](tx, fact)
        prefetch.reactions()[prefetch.CONSUMER][CaseOpened](tx, fact)


def due(room: Room, work: Prefetch) -> list[str]:
    with room.database.reading() as tx:
        return sorted(work.due(tx))


def test_the_latest_priors_are_at_hand_and_no_old_ones(room: Room, tmp_path: Path) -> None:
    cache = PackCache(room.objects, tmp_path / "cache", limit=1 << 20)
    work = Prefetch(room.database, cache)
    opened(room)
    asked = due(room, work)
    assert asked == ["1.2.2", "1.2.3", "1.2.4", "1.2.5", "1.2.6", "1.2.7"]
    for study in asked:
        work.fetch(study)
    assert cache.held().packs == 6
    assert due(room, work) == []


def test_a_store_that_is_away_is_tried_a_few_times(room: Room, tmp_path: Path) -> None:
    assert isinstance(room.objects, Away)
    assert isinstance(room.database.clock, Clock)
    cache = PackCache(room.objects, tmp_path / "cache", limit=1 << 20)
    work = Prefetch(room.database, cache)
    opened(room)
    room.objects.away = True
    for _ in range(prefetch.ATTEMPTS):
        with pytest.raises(ObjectStoreUnavailable):
            work.fetch("1.2.7")
        work.fetch("1.2.7")  # another has it, as far as anybody knows
        room.database.clock.now += timedelta(hours=1)
    work.fetch("1.2.7")
    assert "1.2.7" not in due(room, work)
    assert cache.held().packs == 0


@pytest.mark.parametrize("day", ["00010101", "00041231", "99991231", "0000", ""])
def test_a_study_of_a_day_that_a_device_made_up_opens_its_case_like_any_other(
    room: Room, day: str
) -> None:
    with room.database.transaction() as tx:
        tx.execute(update(STUDIES).where(STUDIES.c.study_uid == "1.2.7").values(study_date=day))
    opened(room)
    with room.database.reading() as tx:
        found = prefetch.priors(tx, "1.2.7")
    assert len(found) == (0 if day == "99991231" else prefetch.MAX_PRIORS)

"""Many workers at once, on both databases: each run is done once, each case settles once."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from ai_assist import commands
from ai_assist.runs import ENDED
from storage import archive
from storage.engine import Database
from tests.ai_assist.films import STUDY, film, noise
from tests.ai_assist.room import Room, TestClock, opened

MODELS = 4


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.service)])
def busy_room(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Room]:
    """A room on each database."""
    if request.param == "sqlite":
        database: Database = request.getfixturevalue("database")
        yield Room(database, tmp_path, TestClock())
        return
    database = Database(request.getfixturevalue("postgresql_url"))
    yield Room(database, tmp_path, TestClock())
    database.dispose()


def test_workers_that_race_for_the_same_runs_settle_the_case_once(busy_room: Room) -> None:
    room = busy_room
    (card,) = room.shelf.cards
    cards = [replace(card, id=f"{card.id}{number or ''}") for number in range(MODELS)]
    room.receive(film(noise()))
    with room.database.transaction() as tx:
        archive.freeze_manifest(tx, STUDY)
        planned = commands.plan_triage(tx, opened(1), cards)
    assert len(planned) == MODELS
    with ThreadPoolExecutor(8) as workers:
        list(workers.map(room.work.run_triage, room.due() * 4))
    assert all(run.state in ENDED and run.attempts == 1 for run in room.runs())
    (fact,) = room.settled()
    assert (fact.outcome, fact.level) == ("settled", "advise")
    assert sorted(fact.run_ids) == sorted(run.id for run in planned)


def test_a_case_told_twice_at_once_is_planned_once(busy_room: Room) -> None:
    room = busy_room
    room.receive(film(noise()))
    with room.database.transaction() as tx:
        archive.freeze_manifest(tx, STUDY)

    def plan(_: int) -> int:
        with room.database.transaction() as tx:
            return len(commands.plan_triage(tx, opened(1), room.shelf.cards))

    with ThreadPoolExecutor(4) as workers:
        assert max(workers.map(plan, range(4))) == 1
    assert len(room.runs()) == 1

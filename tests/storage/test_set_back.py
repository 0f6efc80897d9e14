"""A clock that was set back: every moment that something waits for comes back with it, once."""

import importlib
import pkgutil
from datetime import UTC, datetime, timedelta

import storage.tables
from storage import audit, set_back
from storage.engine import Database
from storage.set_back import MOMENTS, STEP, SetBack, bring_back
from storage.tables import METADATA, UtcDateTime
from storage.tables.orthanc import ORTHANCS

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
DUE = {"due_at", "next_at", "leased_until", "held_until", "look_again_at", "brought_at"}
APART = {
    ("cases", "held_until"),  # of a person, and extended by a sign of life
    ("removals", "due_at"),  # what is thrown away is never hurried
    ("retention_ends", "due_at"),  # years ahead
}


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


def test_every_moment_that_something_waits_for_is_known() -> None:
    for module in pkgutil.iter_modules(storage.tables.__path__):
        importlib.import_module(f"storage.tables.{module.name}")
    tables = METADATA.tables.values()
    found = {(each.name, name) for each in tables for name in DUE & set(each.c.keys())}
    known = {(each.table, name) for each in MOMENTS for name in each.columns}

    assert found - known == APART
    for each in MOMENTS:
        table = METADATA.tables[each.table]
        assert [column.name for column in table.primary_key] == list(each.key)
        assert all(isinstance(table.c[name].type, UtcDateTime) for name in each.columns)
        assert each.state is None or each.state[0] in table.c


def orthanc(database: Database, name: str, next_at: datetime, held_until: datetime) -> None:
    with database.transaction() as tx:
        tx.execute(
            ORTHANCS.insert().values(
                name=name, url="http://x", organisation_id="o", issuer="i", username="",
                ca_file="", character_set="", added_at=tx.at, last_change=0, print="",
                newest=0, failures=0, started_over_why="", next_at=next_at,
                held_until=held_until,
            )
        )  # fmt: skip


def moments(database: Database) -> dict[str, tuple[datetime, datetime]]:
    with database.reading() as tx:
        rows = tx.execute(ORTHANCS.select()).all()
    return {row.name: (row.next_at, row.held_until) for row in rows}


def test_moments_come_back_by_the_step_and_not_before_now(each_database: Database) -> None:
    database = each_database
    database.clock = clock = Clock()
    watch = SetBack(database)
    watch.look()
    orthanc(database, "far", NOON + 3 * HOUR, NOON - HOUR)
    orthanc(database, "near", NOON + timedelta(minutes=1), NOON + timedelta(minutes=2))
    orthanc(database, "was due", NOON - timedelta(seconds=1), NOON)
    clock.now -= 2 * HOUR
    before = clock.now
    watch.look()

    assert moments(database) == {
        "far": (NOON + HOUR, before),
        "near": (before + timedelta(minutes=1), before + timedelta(minutes=2)),
        "was due": (before, before),
    }


def test_of_several_that_notice_one_brings_back(each_database: Database) -> None:
    database = each_database
    database.clock = clock = Clock()
    watches = [SetBack(database) for _ in range(3)]
    for each in watches:
        each.look()
    orthanc(database, "far", NOON + 3 * HOUR, NOON + 3 * HOUR)
    clock.now -= HOUR
    for each in watches:
        each.look()
        clock.now += timedelta(seconds=1)

    assert moments(database)["far"] == (NOON + 2 * HOUR, NOON + 2 * HOUR)
    with database.reading() as tx:
        assert len([one for one in audit.latest(tx) if one.action == set_back.ACTION]) == 1


def test_a_clock_that_is_set_back_twice_in_a_minute_was_set_back_twice(
    each_database: Database,
) -> None:
    database = each_database
    database.clock = clock = Clock()
    watch = SetBack(database)
    watch.look()
    orthanc(database, "far", NOON + 3 * HOUR, NOON + 3 * HOUR)
    for step in (HOUR, 2 * HOUR):
        clock.now -= step
        watch.look()

    assert moments(database)["far"] == (NOON, NOON)


def test_a_small_step_is_none(each_database: Database) -> None:
    database = each_database
    database.clock = clock = Clock()
    watch = SetBack(database)
    watch.look()
    orthanc(database, "far", NOON + HOUR, NOON + HOUR)
    clock.now -= STEP
    watch.look()

    assert moments(database)["far"] == (NOON + HOUR, NOON + HOUR)


def test_there_may_be_nothing_to_bring_back(each_database: Database) -> None:
    with each_database.transaction() as tx:
        assert bring_back(tx, was=tx.at + HOUR) == 0

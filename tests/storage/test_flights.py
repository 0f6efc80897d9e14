"""What nodes tell of the studies in flight, on both databases."""

from datetime import UTC, datetime, timedelta

import pytest

from storage import flights
from storage.engine import Database
from storage.flights import BUSY, EXPIRY, Watch

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
MOMENT = timedelta(seconds=0.1)


class Ticking:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Ticking:
    return Ticking()


@pytest.fixture
def database(each_database: Database, clock: Ticking) -> Database:
    each_database.clock = clock
    return each_database


def told(
    database: Database,
    node: str,
    *,
    came: set[str] | None = None,
    gone: set[str] | None = None,
    idle: timedelta = timedelta(),
) -> None:
    with database.transaction() as tx:
        flights.tell(tx, node, came=came or set(), gone=gone or set(), idle=idle)


def in_flight(database: Database, study_uid: str) -> int:
    with database.reading() as tx:
        return flights.count(tx, study_uid)


def test_a_study_is_in_flight_until_each_node_says_that_it_is_not(database: Database) -> None:
    told(database, "east", came={"1.2", "1.3"})
    told(database, "west", came={"1.2"})
    assert [in_flight(database, uid) for uid in ("1.2", "1.3", "1.4")] == [2, 1, 0]

    told(database, "east", gone={"1.2"})
    assert [in_flight(database, uid) for uid in ("1.2", "1.3")] == [1, 1]
    told(database, "west", gone={"1.2"})
    assert in_flight(database, "1.2") == 0


def test_what_a_killed_node_told_expires_and_what_a_living_one_told_does_not(
    database: Database, clock: Ticking
) -> None:
    told(database, "east", came={"1.2"})
    told(database, "west", came={"1.3"})
    clock.now += EXPIRY - MOMENT
    told(database, "west")
    clock.now += MOMENT
    assert [in_flight(database, uid) for uid in ("1.2", "1.3")] == [0, 1]


def test_a_node_that_begins_takes_back_its_own_and_nothing_else(database: Database) -> None:
    told(database, "east", came={"1.2"})
    told(database, "west", came={"1.2"})
    with database.transaction() as tx:
        flights.forget(tx, "east")
    assert in_flight(database, "1.2") == 1


def test_more_studies_than_one_statement_can_name(database: Database) -> None:
    many = {f"1.2.{number}" for number in range(1201)}
    told(database, "east", came=many)
    told(database, "east", came=many, gone=many - {"1.2.7"})
    assert in_flight(database, "1.2.7") == 1


def test_a_node_is_busy_while_instances_come_and_open_while_associations_are(
    database: Database, clock: Ticking
) -> None:
    def said(node: str) -> tuple[bool, bool]:
        with database.reading() as tx:
            return flights.is_busy(tx, node), flights.are_open(tx, node)

    assert said("east") == (False, False)
    told(database, "east", came={"1.2"})
    assert said("east") == (True, True)
    assert said("west") == (False, False)

    clock.now += BUSY
    told(database, "east", idle=BUSY)
    assert said("east") == (False, True)
    told(database, "east", gone={"1.2"})
    assert said("east") == (False, False)


def test_who_watches_asks_once_in_a_moment(database: Database) -> None:
    now = [0.0]
    watch = Watch(database, "east", clock=lambda: now[0])
    assert (watch.is_busy(), watch.are_open()) == (False, False)

    told(database, "east", came={"1.2"})
    assert not watch.is_busy()
    now[0] += 1
    assert (watch.is_busy(), watch.are_open()) == (True, True)

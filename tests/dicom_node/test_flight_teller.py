"""Telling of associations: what is written, how seldom, and what a study waits for."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import event, text

from dicom_node.completeness import CompletenessPolicy
from dicom_node.flight_teller import LONGEST_PAUSE, FlightTeller, pause_for
from dicom_node.in_flight import InFlight
from dicom_node.intake import Intake
from dicom_node.tasks import Settling
from storage import flights
from storage.engine import Database, DatabaseUnavailable
from tests.dicom_node.samples import a_slice, a_source, as_file, as_sent
from tests.wire.speaker import until

SOON = timedelta(milliseconds=20)


@pytest.fixture
def in_flight() -> InFlight:
    return InFlight()


@pytest.fixture
def teller(database: Database, in_flight: InFlight) -> Iterator[FlightTeller]:
    made = FlightTeller(database, "east", in_flight, pause=SOON)
    yield made
    made.stop()


@pytest.fixture
def written(database: Database) -> list[str]:
    """Statements that change something."""
    found: list[str] = []

    @event.listens_for(database.engine, "before_cursor_execute")
    def _note(_c: object, _k: object, statement: str, *_more: object) -> None:
        if not statement.startswith(("SELECT", "BEGIN", "PRAGMA")):
            found.append(statement)

    return found


def open_studies(database: Database) -> set[str]:
    with database.reading() as tx:
        return {uid for uid in ("1.2", "1.3") if flights.count(tx, uid)}


def renamed(database: Database, table: str, other: str) -> None:
    with database.transaction() as tx:
        tx.execute(text(f"ALTER TABLE {table} RENAME TO {other}"))


def test_it_tells_what_is_open_and_takes_it_back(
    database: Database, in_flight: InFlight, teller: FlightTeller
) -> None:
    teller.start()
    in_flight.brought("a", "1.2")
    in_flight.brought("a", "1.3")
    until(lambda: open_studies(database) == {"1.2", "1.3"})
    in_flight.ended("a")
    until(lambda: open_studies(database) == set())


def test_an_association_that_is_over_when_it_tells_costs_no_write(
    in_flight: InFlight, teller: FlightTeller, written: list[str]
) -> None:
    teller.tell()
    written.clear()
    in_flight.brought("a", "1.2")
    in_flight.ended("a")
    teller.tell()
    assert written == []


def test_what_was_left_by_a_killed_node_of_this_name_is_taken_back_at_the_start(
    database: Database, teller: FlightTeller
) -> None:
    with database.transaction() as tx:
        flights.tell(tx, "east", came={"1.2"}, gone=())
        flights.tell(tx, "west", came={"1.3"}, gone=())
    teller.start()
    assert open_studies(database) == {"1.3"}


def test_a_node_that_ends_takes_back_what_it_told(
    database: Database, in_flight: InFlight, teller: FlightTeller
) -> None:
    teller.start()
    in_flight.brought("a", "1.2")
    until(lambda: open_studies(database) == {"1.2"})
    in_flight.ended("a")
    teller.stop()
    assert open_studies(database) == set()


def test_after_a_telling_that_failed_all_is_told_again(
    database: Database, in_flight: InFlight, teller: FlightTeller
) -> None:
    in_flight.brought("a", "1.2")
    teller.tell()
    in_flight.brought("a", "1.3")
    renamed(database, "flights", "elsewhere")
    with pytest.raises(DatabaseUnavailable):
        teller.tell()
    renamed(database, "elsewhere", "flights")
    in_flight.ended("a")
    in_flight.brought("b", "1.3")
    teller.tell()
    assert open_studies(database) == {"1.3"}


@pytest.mark.parametrize("quiet", [timedelta(seconds=0.5), timedelta(seconds=20)])
def test_a_study_is_told_of_long_before_it_could_seem_at_rest(quiet: timedelta) -> None:
    assert pause_for(quiet) <= min(LONGEST_PAUSE, quiet / 4)


def test_a_study_is_not_complete_while_an_association_that_brought_it_is_open(
    database: Database, intake: Intake, in_flight: InFlight, teller: FlightTeller
) -> None:
    settling = Settling(database, CompletenessPolicy(quiet=timedelta()))
    announced, data = as_sent(as_file(a_slice()))
    assert intake.store(announced, a_source(), data).reason == ""
    study_uid = str(a_slice().StudyInstanceUID)
    in_flight.brought("a", study_uid)
    teller.tell()

    def due() -> list[str]:
        with database.reading() as tx:
            return settling.due_studies(tx)

    assert due() == []
    in_flight.ended("a")
    teller.tell()
    assert due() == [study_uid]

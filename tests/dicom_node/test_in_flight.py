"""Associations in flight: which studies they brought, and how long ago."""

from dicom_node.in_flight import InFlight


def test_a_study_is_in_flight_while_any_of_its_associations_is_open() -> None:
    flight = InFlight()
    flight.brought("a", "1.2")
    flight.brought("b", "1.2")
    flight.brought("b", "1.3")
    assert flight.studies() == {"1.2", "1.3"}

    flight.ended("b")
    assert flight.studies() == {"1.2"}
    flight.ended("a")
    assert flight.studies() == frozenset()


def test_only_a_study_that_was_not_in_flight_is_a_change() -> None:
    flight = InFlight()
    flight.brought("a", "1.2")
    assert flight.changed.is_set()

    flight.changed.clear()
    flight.brought("a", "1.2")
    assert not flight.changed.is_set()
    flight.brought("a", "1.3")
    assert flight.changed.is_set()


def test_it_knows_how_long_ago_the_last_instance_came() -> None:
    now = [100.0]
    flight = InFlight(clock=lambda: now[0])
    flight.brought("a", "1.2")
    now[0] += 3
    assert flight.idle_s() == 3
    flight.brought("a", "1.2")
    assert flight.idle_s() == 0

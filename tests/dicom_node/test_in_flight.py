"""Associations in flight: which studies they brought, and whether they are bringing just now."""

from dicom_node.in_flight import BUSY_S, InFlight


def test_it_is_busy_only_while_an_open_association_brings_instances() -> None:
    now = [100.0]
    flight = InFlight(clock=lambda: now[0])
    assert not flight.is_busy()

    flight.brought("a", "1.2")
    flight.brought("b", "1.3")
    assert flight.is_busy()
    now[0] += BUSY_S
    assert not flight.is_busy()

    flight.brought("a", "1.2")
    flight.ended("a")
    assert flight.is_busy()
    flight.ended("b")
    assert not flight.is_busy()

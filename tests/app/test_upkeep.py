"""The upkeep of a node: packing makes way for instances that arrive, within a bound."""

from app.upkeep import Upkeep
from storage.courtesy import ASIDE_S, Courtesy
from tests.app.clinic import Clinic


def test_a_study_is_packed_once_no_instances_arrive_or_the_bound_is_reached(
    clinic: Clinic,
) -> None:
    now, busy = [100.0], [True]
    courtesy = Courtesy(lambda: busy[0], clock=lambda: now[0])
    upkeep = Upkeep(clinic.parts.packer, clinic.parts, courtesy)

    clinic.send()
    clinic.settle()
    assert upkeep.turn() == 0
    now[0] += ASIDE_S
    assert upkeep.turn() == 1

    clinic.send("A-2", "P-2")
    clinic.settle()
    now[0] += ASIDE_S
    assert upkeep.turn() == 0
    busy[0] = False
    assert upkeep.turn() == 1
    assert upkeep.turn() == 0

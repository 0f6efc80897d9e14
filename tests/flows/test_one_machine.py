"""The main job on the embedded default: as a whole, and killed at every step.

Real processes, a real node, real HTTP, a real model, a real signature.  Each step is killed twice,
when its function is entered and when it returns, before the study goes on.
"""

from collections.abc import Iterator

import pytest

from app.bootstrap import Parts
from app.cli.care import problems_of
from app.demo.network import seed
from kernel.clock import system_clock
from tests.flows.actors import Study
from tests.flows.deployment import Deployment, one_machine
from tests.flows.steps import STEPS, Step
from tests.flows.world import World, check_exactly_once


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    deployment = one_machine(tmp_path_factory.mktemp("one"))
    parts = Parts(deployment.settings(), system_clock)
    parts.prepare(migrate=True)
    seed(parts, say=lambda _line: None)
    parts.database.dispose()
    deployment.start()
    yield deployment
    deployment.stop()


@pytest.fixture
def world(deployment: Deployment) -> Iterator[World]:
    with deployment.parts() as parts:
        yield World(deployment, parts)


def test_a_study_goes_from_c_store_to_the_health_record(world: World) -> None:
    study = Study()
    study.ask(world.parts)
    world.carry(study)
    check_exactly_once(world.parts, study)


@pytest.mark.parametrize("step", STEPS, ids=str)
def test_killed_at_every_step_the_case_ends_exactly_once(world: World, step: Step) -> None:
    study = Study()
    study.ask(world.parts)
    for when in ("call", "return"):
        world.carry_until_killed(study, step.role, step.at(when))
    world.carry(study)
    check_exactly_once(world.parts, study)


def test_after_all_of_it_everything_verifies_and_it_ends_in_order(world: World) -> None:
    assert problems_of(world.parts) == {}
    assert world.deployment.doing("serve").stop() == 0

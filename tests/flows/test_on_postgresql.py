"""``telerad up`` on PostgreSQL: its processes killed while images come, and nothing is lost."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.cli.care import problems_of
from tests.flows.actors import Study
from tests.flows.test_processes import a_world, kill, log, stream, until
from tests.flows.world import World, check_exactly_once
from worklist.case import CaseState

pytestmark = pytest.mark.service


@pytest.fixture
def world(tmp_path: Path, postgresql_url: str) -> Iterator[World]:
    yield from a_world(tmp_path, {"TELERAD_STORAGE__DATABASE_URL": postgresql_url})


def test_a_study_goes_its_way_while_the_node_and_the_web_are_killed(world: World) -> None:
    deployment, study = world.deployment, Study()
    study.ask(world.parts)
    acknowledged: list[str] = []
    sender = threading.Thread(target=stream, args=(deployment.dicom_port, 506, acknowledged))
    sender.start()
    until(lambda: len(acknowledged) > 5, deployment)
    study.send(deployment.dicom_port)
    kill(deployment, "node")
    sender.join()  # it saw its association break
    kill(deployment, "web")

    world.carry(study, until=CaseState.OFFERED)
    kill(deployment, "web")
    world.carry(study)

    check_exactly_once(world.parts, study)
    for uid in acknowledged:
        assert world.parts.archive.read_kept(uid)
    assert problems_of(world.parts) == {}
    assert log(deployment).count("supervisor.process_died") == 3

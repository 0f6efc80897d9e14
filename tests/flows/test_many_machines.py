"""The main job on many machines: as a whole, killed at every step, and with every server real.

PostgreSQL, RabbitMQ quorum queues with a Celery worker, packs on S3, a FHIR server as the health
record, two listeners, and an Orthanc that sends.
"""

from collections.abc import Iterator

import pytest

import reporting
from app.bootstrap import Parts
from app.cli.care import problems_of
from app.demo.network import BY, ISSUER, seed
from dicom_node import commands as dicom_node
from dicom_node.peers import Peer
from storage import archive
from tests.flows.actors import Study
from tests.flows.deployment import Deployment
from tests.flows.many import many_machines
from tests.flows.steps import STEPS, Step
from tests.flows.world import World, check_exactly_once
from tests.services.orthanc import Orthanc
from tests.services.postgresql import PostgreSQL
from tests.services.rabbitmq import RabbitMQ
from tests.services.sekmet import Sekmet
from tests.services.swift import Swift

pytestmark = pytest.mark.service


@pytest.fixture(scope="module")
def deployment(
    tmp_path_factory: pytest.TempPathFactory,
    postgresql: PostgreSQL,
    rabbitmq: RabbitMQ,
    swift: Swift,
    sekmet: Sekmet,
) -> Iterator[Deployment]:
    deployment = many_machines(
        tmp_path_factory.mktemp("many"),
        {
            "TELERAD_STORAGE__DATABASE_URL": postgresql.url(postgresql.create()),
            "TELERAD_STORAGE__OBJECTS_URL": f"http://{swift.endpoint}/studies",
            "TELERAD_STORAGE__S3_ACCESS_KEY": swift.access_key,
            "TELERAD_STORAGE__S3_SECRET_KEY": swift.secret_key,
            "TELERAD_BROKER__URL": rabbitmq.fresh_url(),
            "TELERAD_RECORD__ADAPTER": "fhir_r4",
            "TELERAD_RECORD__FHIR_URL": sekmet.url,
        },
    )
    with deployment.parts() as parts:
        parts.prepare(migrate=True)
        seed(parts, say=lambda _line: None)
    deployment.start()
    yield deployment
    deployment.stop()


@pytest.fixture
def world(deployment: Deployment) -> Iterator[World]:
    with deployment.parts() as parts:
        yield World(deployment, parts)


def reports_filed(sekmet: Sekmet, study: Study, parts: Parts) -> int:
    """Count the reports of a study that the FHIR server holds."""
    case = study.case(parts)
    assert case is not None
    with parts.database.reading() as tx:
        (document,) = reporting.sealed_for_case(tx, case.id)
    found = sekmet.find("DiagnosticReport")
    return sum(document.report_id in str(report) for report in found)


def test_a_study_goes_from_c_store_to_the_fhir_server(world: World, sekmet: Sekmet) -> None:
    study = Study()
    study.ask(world.parts)
    world.carry(study)
    check_exactly_once(world.parts, study)
    assert reports_filed(sekmet, study, world.parts) == 1


@pytest.mark.parametrize("step", STEPS, ids=str)
def test_killed_at_every_step_the_case_ends_exactly_once(
    world: World, step: Step, sekmet: Sekmet
) -> None:
    study = Study()
    study.ask(world.parts)
    for when in ("call", "return"):
        world.carry_until_killed(study, step.role, step.at(when))
    world.carry(study)
    check_exactly_once(world.parts, study)
    assert reports_filed(sekmet, study, world.parts) == 1


def test_the_broker_may_die_in_between(world: World, rabbitmq: RabbitMQ) -> None:
    study = Study()
    study.ask(world.parts)
    study.send(world.deployment.dicom_port)
    rabbitmq.kill9()
    rabbitmq.restart()
    world.carry(study)
    check_exactly_once(world.parts, study)


def test_a_study_that_comes_by_two_listeners_is_one_study(world: World) -> None:
    first, second = Study(), Study()
    second.accession = first.accession
    second.number = 2
    first.patient_id = second.patient_id
    first.ask(world.parts)
    first.send(world.deployment.dicom_port)
    second.send(int(str(world.deployment.processes["node2"].ready["dicom_port"])))
    world.carry(first)
    with world.parts.database.reading() as tx:
        manifest = archive.manifest(tx, first.study_uid)
    assert {entry.instance_uid for entry in manifest.entries} == {
        first.instance_uid,
        second.instance_uid,
    }


def test_an_orthanc_sends_and_its_study_becomes_a_case(world: World, orthanc: Orthanc) -> None:
    with world.parts.database.transaction() as tx:
        dicom_node.add_peer(
            tx,
            Peer(
                ae_title="ORTHANC",
                host="127.0.0.1",
                port=4242,
                organisation_id="van1",
                issuer=ISSUER,
            ),
            actor=BY,
        )
    study = Study()
    study.ask(world.parts)
    orthanc.knows("telerad", ae_title="TELERAD", port=world.deployment.dicom_port)
    orthanc.send("telerad", [orthanc.upload(study.part10())])
    study.acknowledged = True
    world.carry(study)
    check_exactly_once(world.parts, study)


def test_after_all_of_it_everything_verifies(world: World) -> None:
    assert problems_of(world.parts) == {}

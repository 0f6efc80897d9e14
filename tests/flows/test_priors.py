"""Priors in the running engine: a case opens, they come and stand on its page, whatever is killed.

The archive that has them is DCMTK's; node, web and reader are real.
"""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from app.demo.network import BY, ISSUER, seed
from app.priors import told_of
from dicom_node import commands
from dicom_node.part10 import split
from dicom_node.peers import Peer
from dicom_node.send import Outgoing, SendSettings, send
from kernel.clock import monotonic_s
from tests.cli.command import telerad
from tests.dicom_node.samples import as_file
from tests.flows.actors import Study
from tests.flows.deployment import KillPoint, one_machine
from tests.flows.people import Person
from tests.flows.world import World
from tests.services.dcmqrscp import TITLE, Archive, dcmqrscp
from tests.services.missing import required
from tests.services.ports import free_port
from tests.wire.holdings import Held
from worklist import commands as worklist
from worklist.act import Act
from worklist.case import CancelReason, CaseState

pytestmark = pytest.mark.service
PATIENCE_S = 60.0
OLD = Held(number=31, patient_id="", name="Test^Person", accession="OLD-1", date="20240101")
NEWER = replace(OLD, number=32, accession="OLD-2", date="20260101", series=(("CT", 3), ("CR", 1)))
QUICK_LEASE = {"TELERAD_PRIORS__MOVE_MINUTES": "0.03"}


@pytest.fixture
def deployed(tmp_path: Path) -> Iterator[tuple[World, Archive]]:
    port = free_port()
    deployment = one_machine(tmp_path, QUICK_LEASE)
    process = deployment.doing("work")
    process.arguments[process.arguments.index("--dicom-port") + 1] = str(port)
    with (
        required(),
        dcmqrscp(destination="TELERAD", destination_port=port) as archive,
        deployment.parts() as parts,
    ):
        parts.prepare(migrate=True)
        seed(parts, say=lambda _line: None)
        with parts.database.transaction() as tx:
            commands.add_peer(tx, marked(archive.port), actor=BY)
        yield World(deployment, parts), archive
        deployment.stop()


def marked(port: int) -> Peer:
    return Peer(
        ae_title=TITLE,
        host="127.0.0.1",
        port=port,
        organisation_id="van1",
        issuer=ISSUER,
        priors=True,
    )


def held_there(archive: Archive, study: Study) -> list[Held]:
    """Put two earlier studies of the patient into the archive."""
    held = [replace(one, patient_id=study.patient_id) for one in (OLD, NEWER)]
    sent = [as_file(each) for one in held for each in one.instances()]
    outgoing = [Outgoing(split(file).sop_instance_uid, file) for file in sent]
    accounts = send(outgoing, marked(archive.port), SendSettings(ae_title="TELERAD"))
    assert all(each.ok for each in accounts)
    return held


def until(happened: Callable[[], bool], told: Callable[[], object]) -> None:
    deadline = monotonic_s() + PATIENCE_S
    while not happened():
        if monotonic_s() > deadline:
            raise AssertionError(f"it did not happen: {told()}")
        time.sleep(0.1)


def priors(world: World, study: Study) -> list[tuple[str, str]]:
    case = study.case(world.parts)
    if case is None:
        return []
    with world.parts.database.reading() as tx:
        return [(each.study_uid, each.state) for each in told_of(tx, case.patient_ref)]


CAME = [("", "done"), (NEWER.uid, "came"), (OLD.uid, "came")]


def stored(world: World) -> dict[str, int]:
    with world.parts.database.reading() as tx:
        rows = tx.execute(
            text(
                "SELECT instance_uid, count(*) AS times FROM arrivals"
                " WHERE outcome = 'stored' GROUP BY 1"
            )
        )
        return {row.instance_uid: row.times for row in rows}


def unsettled(world: World) -> int:
    with world.parts.database.reading() as tx:
        return int(
            tx.execute(text("SELECT count(*) FROM studies WHERE unsettled = 1")).scalar_one()
        )


def test_priors_stand_with_the_case_and_ask_for_no_reading(
    deployed: tuple[World, Archive],
) -> None:
    world, archive = deployed
    study = Study()
    held_there(archive, study)
    study.ask(world.parts)
    world.deployment.start()
    world.carry(study, until=CaseState.OFFERED)
    until(lambda: priors(world, study) == CAME, lambda: priors(world, study))
    until(lambda: unsettled(world) == 0, lambda: unsettled(world))
    world.carry(study)  # the relay told of each study before it told of this case's end
    person = Person(world.deployment, "alpha-admin")
    case = study.case(world.parts)
    assert case is not None
    page = person.see(f"/cases/{case.id}").text
    assert "Earlier studies at other archives" in page
    assert "It has 2 other studies: 2 fetched." in page
    assert NEWER.uid in page
    assert "2026-01-01" in page
    desk = person.see("/desk").text
    assert "OLD-1" not in desk
    assert "OLD-2" not in desk
    person.close()
    told = telerad("case", "show", case.id, "--data", world.deployment.data, "--json")
    assert [each["state"] for each in json.loads(told.stdout)["priors"]] == ["done", "came", "came"]
    shown = telerad("case", "show", case.id, "--data", world.deployment.data).stdout
    assert "priors   PACS: asked, done: It has 2 other studies: 2 fetched." in shown
    assert f"{NEWER.uid}, came: It is here." in shown


@pytest.mark.parametrize(
    "kill",
    [
        KillPoint("dicom_node.prior_work", "PriorWork._keep", "return"),
        KillPoint("dicom_node.priors", "fetch", "call"),
        KillPoint("dicom_node.priors", "fetch", "return"),
    ],
    ids=str,
)
def test_killed_on_the_way_every_prior_comes_and_once(
    deployed: tuple[World, Archive], kill: KillPoint
) -> None:
    world, archive = deployed
    study = Study()
    held = held_there(archive, study)
    study.ask(world.parts)
    process = world.deployment.doing("work")
    process.start(kill)
    study.send(world.deployment.dicom_port)
    until(process.killed, lambda: process.log.read_text()[-2000:])
    process.kill()
    process.start()
    study.send(world.deployment.dicom_port)
    until(lambda: priors(world, study) == CAME, lambda: priors(world, study))
    came = stored(world)
    for one in held:
        for instance in one.instances():
            assert came[instance.SOPInstanceUID] == 1


def test_killed_while_it_is_called_off_a_search_is_called_off_all_the_same(tmp_path: Path) -> None:
    deployment = one_machine(tmp_path, QUICK_LEASE)
    process = deployment.doing("work")
    with deployment.parts() as parts:
        parts.prepare(migrate=True)
        seed(parts, say=lambda _line: None)
        with parts.database.transaction() as tx:
            commands.add_peer(tx, marked(free_port()), actor=BY)  # nobody is there
        world, study = World(deployment, parts), Study()
        study.ask(parts)
        process.start(KillPoint("dicom_node.prior_work", "call_off", "return"))
        study.send(deployment.dicom_port)
        until(lambda: bool(priors(world, study)), lambda: process.log.read_text()[-2000:])
        case = study.case(parts)
        assert case is not None
        with parts.database.transaction() as tx:
            worklist.cancel(tx, case.id, CancelReason.BY_SITE, act=Act(tx.at, BY))
        until(process.killed, lambda: process.log.read_text()[-2000:])
        process.kill()
        assert priors(world, study) != [("", "given_up")]
        process.start()
        until(
            lambda: priors(world, study) == [("", "given_up")],
            lambda: (priors(world, study), process.log.read_text()[-2000:]),
        )
        process.kill()

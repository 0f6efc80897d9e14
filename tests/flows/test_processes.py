"""The processes of ``telerad up``: each may die or hang; nothing that was acknowledged is lost."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from app.demo.network import SENDER, seed
from dicom_node.uids import EXPLICIT_LITTLE
from kernel.clock import monotonic_s
from storage import flights
from tests.dicom_node.samples import CT, a_slice, as_file, as_sent
from tests.flows.actors import Study
from tests.flows.deployment import Deployment, one_machine
from tests.flows.world import World, check_exactly_once
from tests.wire.speaker import Speaker
from worklist.case import CaseState

PATIENCE_S = 60.0
SILENT_S = 5.0


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    yield from a_world(tmp_path, {})


@pytest.fixture
def impatient(tmp_path: Path) -> Iterator[World]:
    """A world whose supervisor ends what shows no life for a few seconds."""
    bounds = ("TELERAD_SUPERVISOR__SILENT_S", "TELERAD_SUPERVISOR__START_S")
    yield from a_world(tmp_path, dict.fromkeys(bounds, str(SILENT_S)))


def a_world(tmp_path: Path, told: Mapping[str, str]) -> Iterator[World]:
    deployment = one_machine(tmp_path / "data", {"TELERAD_DICOM__QUIET_S": "2", **told})
    with deployment.parts() as parts:
        parts.prepare(migrate=True)
        seed(parts, say=lambda _line: None)
        deployment.start()
        yield World(deployment, parts)
    deployment.stop()


def until(happened: Callable[[], bool], deployment: Deployment) -> None:
    deadline = monotonic_s() + PATIENCE_S
    while not happened():
        assert monotonic_s() < deadline, log(deployment)[-3000:]
        time.sleep(0.02)


def log(deployment: Deployment) -> str:
    return deployment.doing("serve").log.read_text()


def children(deployment: Deployment) -> dict[str, int]:
    """Return the processes that the supervisor keeps, by name."""
    pid = deployment.doing("serve").pid()
    found: dict[str, int] = {}
    for child in map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
        with suppress(FileNotFoundError, ProcessLookupError):  # one that was killed is gone
            found[name_of(child).removeprefix("telerad-")] = child
    return found


def name_of(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def lives(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def stop(pid: int, deployment: Deployment) -> None:
    """Stop a process; return when each of its threads stands, which may take a moment."""
    os.kill(pid, signal.SIGSTOP)
    until(lambda: all(") T " in each for each in threads(pid)), deployment)


def threads(pid: int) -> list[str]:
    """Return what the system tells of each thread of a process."""
    found = []
    for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
        with suppress(OSError):  # it ended meanwhile
            found.append(stat.read_text())
    return found


def kill(deployment: Deployment, name: str) -> int:
    pid = children(deployment)[name]
    os.kill(pid, signal.SIGKILL)
    return pid


def ready(deployment: Deployment) -> bool:
    try:
        return httpx.get(f"{deployment.web}/health/ready", timeout=30).status_code == 200
    except httpx.TransportError:
        return False


def node_check(deployment: Deployment) -> dict[str, object]:
    return health_check(deployment, "dicom")


def health_check(deployment: Deployment, name: str) -> dict[str, object]:
    checks = httpx.get(f"{deployment.web}/health/ready", timeout=30).json()["checks"]
    (found,) = [check for check in checks if check["name"] == name]
    return dict(found)


def hung(deployment: Deployment) -> list[str]:
    """Return who was found to hang, in order."""
    told = [each for each in log(deployment).splitlines() if "supervisor.process_hangs" in each]
    return [line.partition("process=")[2].split()[0] for line in told]


def speak(port: int) -> Speaker:
    speaker = Speaker(port, calling=SENDER)
    speaker.associate((CT, EXPLICIT_LITTLE))
    return speaker


def stream(port: int, study: int, acknowledged: list[str]) -> None:
    """Send until the association breaks."""
    with speak(port) as speaker:
        for number in range(1, 100_000):
            announced, data = as_sent(as_file(a_slice(number, study=study)))
            try:
                status = speaker.store(announced, data)
            except (OSError, AssertionError):
                return
            assert status == 0
            acknowledged.append(announced.sop_instance_uid)


def test_a_node_that_is_killed_while_it_receives_loses_nothing_and_is_back_on_its_port(
    world: World,
) -> None:
    deployment, port = world.deployment, world.deployment.dicom_port
    web = children(deployment)["web"]
    acknowledged: list[str] = []
    for study in (501, 502):
        sender = threading.Thread(target=stream, args=(port, study, acknowledged))
        before = len(acknowledged)
        sender.start()
        until(lambda wanted=before + 5: len(acknowledged) > wanted, deployment)  # type: ignore[misc]
        kill(deployment, "node")
        sender.join()  # it saw its association break
        speak(port).sock.close()  # it waits in the queue of the port until the node is back

    assert children(deployment)["web"] == web
    with world.parts.database.reading():
        for uid in acknowledged:
            assert world.parts.archive.read(uid)
    assert "supervisor.process_died" in log(deployment)
    until(lambda: ready(deployment), deployment)


def test_what_a_killed_node_had_open_settles_all_the_same(world: World) -> None:
    study = Study()
    study.ask(world.parts)
    study.send(world.deployment.dicom_port)
    assert study.acknowledged
    kill(world.deployment, "node")

    world.carry(study)
    check_exactly_once(world.parts, study)


def test_the_node_goes_on_while_the_web_is_away_and_its_work_goes_on_after(world: World) -> None:
    deployment, port = world.deployment, world.deployment.dicom_port
    study = Study()
    study.ask(world.parts)
    speaker = speak(port)
    node = children(deployment)["node"]
    killed = kill(deployment, "web")
    announced, data = as_sent(as_file(a_slice(study=503)))
    assert speaker.store(announced, data) == 0
    speaker.sock.close()
    study.send(port)
    assert study.acknowledged

    world.carry(study, until=CaseState.OFFERED)
    assert children(deployment)["node"] == node
    assert children(deployment)["web"] != killed


def test_no_process_outlives_a_supervisor_that_is_killed(world: World) -> None:
    deployment = world.deployment
    kept = children(deployment)
    assert set(kept) == {"node", "web"}
    os.kill(deployment.doing("serve").pid(), signal.SIGKILL)
    until(lambda: not any(lives(pid) for pid in kept.values()), deployment)


def test_a_node_that_cannot_start_again_is_tried_later_and_later_and_shown(world: World) -> None:
    deployment = world.deployment
    journal, aside = deployment.data / "journal", deployment.data / "aside"
    until(lambda: ready(deployment), deployment)
    journal.rename(aside)
    journal.write_text("no folder")
    kill(deployment, "node")

    until(lambda: log(deployment).count("supervisor.process_died") >= 4, deployment)
    assert "File exists" in log(deployment)
    pauses = [
        float(line.partition("again_in_s=")[2].split()[0])
        for line in log(deployment).splitlines()
        if "supervisor.process_died" in line
    ]
    assert pauses == sorted(pauses)
    assert pauses[-1] > pauses[1] > 0
    assert not ready(deployment)
    assert node_check(deployment)["ok"] is False
    assert httpx.get(f"{deployment.web}/health/live").status_code == 200

    journal.unlink()
    aside.rename(journal)
    until(lambda: ready(deployment), deployment)
    speak(deployment.dicom_port).sock.close()


def test_it_ends_in_order_with_an_association_open(world: World) -> None:
    deployment = world.deployment
    study_uid = str(a_slice(study=504).StudyInstanceUID)
    with speak(deployment.dicom_port) as speaker:
        announced, data = as_sent(as_file(a_slice(study=504)))
        assert speaker.store(announced, data) == 0

        def in_flight() -> int:
            with world.parts.database.reading() as tx:
                return flights.count(tx, study_uid)

        until(lambda: in_flight() == 1, deployment)
        assert deployment.doing("serve").stop() == 0
        assert in_flight() == 0
    assert world.parts.archive.read(announced.sop_instance_uid).endswith(data)


def test_a_node_that_hangs_is_started_anew_and_serves_who_waited_for_it(impatient: World) -> None:
    deployment, port = impatient.deployment, impatient.deployment.dicom_port
    until(lambda: ready(deployment), deployment)
    before = children(deployment)
    acknowledged: list[str] = []
    sender = threading.Thread(target=stream, args=(port, 505, acknowledged))
    sender.start()
    until(lambda: len(acknowledged) > 5, deployment)
    stop(before["node"], deployment)

    with Speaker(port, calling=SENDER) as waiting:
        waiting.sock.settimeout(PATIENCE_S)
        assert waiting.associate() == 2
        assert waiting.echo() == 0
    sender.join()
    until(lambda: ready(deployment), deployment)

    assert hung(deployment) == ["node"]
    assert not lives(before["node"])
    assert children(deployment)["web"] == before["web"]
    assert "started anew once, because" in str(node_check(deployment)["sentence"])
    assert "it took no connections" in str(node_check(deployment)["sentence"])
    for uid in acknowledged:
        assert impatient.parts.archive.read(uid)


def test_a_node_that_hangs_while_it_starts_is_begun_anew_until_it_serves(
    impatient: World,
) -> None:
    deployment = impatient.deployment
    until(lambda: ready(deployment), deployment)
    stands = deployment.data / "journal" / "node1-stands.seg"
    os.mkfifo(stands)  # to open it waits for ever, as for a share whose server is gone
    kill(deployment, "node")

    until(lambda: hung(deployment) == ["node"], deployment)
    assert not ready(deployment)
    assert "its start went no further" in str(node_check(deployment)["sentence"])
    stands.unlink()
    until(lambda: ready(deployment), deployment)
    assert "its start went no further" in str(node_check(deployment)["sentence"])
    assert "in is_held" in log(deployment)
    speak(deployment.dicom_port).sock.close()


def test_a_web_that_hangs_is_started_anew_and_answers_who_waited_for_it(impatient: World) -> None:
    deployment = impatient.deployment
    until(lambda: ready(deployment), deployment)
    before = children(deployment)
    stop(before["web"], deployment)

    answer = httpx.get(f"{deployment.web}/health/live", timeout=PATIENCE_S)
    assert answer.json() == {"live": True}
    assert hung(deployment) == ["web"]
    assert children(deployment)["node"] == before["node"]
    assert "it answered no requests" in str(health_check(deployment, "web")["sentence"])


def test_a_machine_that_slept_finds_nobody_hanging(impatient: World) -> None:
    deployment = impatient.deployment
    until(lambda: ready(deployment), deployment)
    kept = children(deployment)
    everyone = [deployment.doing("serve").pid(), *kept.values()]
    for pid in everyone:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(2 * SILENT_S)  # what happens to it, and nothing is hoped for meanwhile
    for pid in everyone:
        os.kill(pid, signal.SIGCONT)

    until(lambda: ready(deployment), deployment)
    stop(kept["web"], deployment)
    until(lambda: bool(hung(deployment)), deployment)  # so there were looks after it slept
    assert hung(deployment) == ["web"]
    assert children(deployment)["node"] == kept["node"]

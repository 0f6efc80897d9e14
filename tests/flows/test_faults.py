"""What goes wrong in hospitals: a clear refusal, everything visible, and nothing lost."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

import worklist
from app.authority import ensure_authority, issue
from app.bootstrap import DEMO_PASSPHRASE
from app.cli.care import problems_of
from app.demo.network import BY, ISSUER, SENDER, seed
from app.identity import commands as identity
from dicom_node.peers import Peer
from dicom_node.send import Outgoing, SendSettings, echo, send
from health_record import commands as health_record
from health_record.delivery import Delivery, DeliveryState
from kernel.clock import monotonic_s, system_clock
from storage import archive
from tests.cli.command import listed
from tests.flows.actors import Study
from tests.flows.deployment import one_machine
from tests.flows.people import Person
from tests.flows.world import World, check_exactly_once
from tests.services.missing import required
from tests.services.ports import free_port
from tests.services.postgresql import PostgreSQL
from tests.services.sekmet import running_sekmet
from worklist.case import Case, CaseState

PATIENCE_S = 60.0
DISK_MB = 48
MAX_FILMS = 60
READ_BY_A_PERSON = (CaseState.OFFERED, CaseState.READING)


@contextmanager
def deployed(data: Path, **environment: str) -> Iterator[World]:
    """Run the demo network on one machine for the time of a block."""
    deployment = one_machine(data, environment)
    with deployment.parts() as parts:
        parts.prepare(migrate=True)
        seed(parts)
    deployment.start()
    try:
        with deployment.parts() as parts:
            yield World(deployment, parts)
    finally:
        deployment.stop()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with deployed(tmp_path_factory.mktemp("faults")) as world:
        yield world


@pytest.fixture
def head(world: World) -> Iterator[Person]:
    """The administrator of a consulting organisation, who looks at the desk."""
    person = Person(world.deployment, "alpha-admin")
    yield person
    person.close()


def until(happened: Callable[[], bool], world: World) -> None:
    """Wait for something, with the end of the log if it does not come."""
    deadline = monotonic_s() + PATIENCE_S
    while not happened():
        if monotonic_s() > deadline:
            log = world.deployment.doing("serve").log.read_text()
            raise AssertionError(f"it did not happen: {log[-3000:]}")
        time.sleep(0.1)


def state_of(world: World, study: Study) -> CaseState | None:
    case = study.case(world.parts)
    return None if case is None else case.state


def node(world: World) -> Peer:
    return Peer(
        ae_title="TELERAD",
        host="127.0.0.1",
        port=world.deployment.dicom_port,
        organisation_id="van1",
        issuer=ISSUER,
    )


def answer_to(world: World, instance_uid: str, part10: bytes) -> int | None:
    (told,) = send([Outgoing(instance_uid, part10)], node(world), SendSettings(ae_title=SENDER))
    return told.status


# Only one of the two has come


def test_a_study_without_a_request_waits_on_the_desk_until_the_request_comes(
    world: World, head: Person
) -> None:
    study = Study()
    study.send(world.deployment.dicom_port)

    until(lambda: study.accession in head.see("/desk").text, world)
    until(lambda: "No request asks for this study." in head.see("/desk").text, world)
    assert study.accession in head.see("/desk").text
    assert listed("case", "list", "--data", world.deployment.data) == []

    study.ask(world.parts)
    world.carry(study)
    assert study.accession not in head.see("/desk").text
    check_exactly_once(world.parts, study)


def test_a_request_without_its_study_is_listed_and_has_no_running_clock(
    world: World, head: Person
) -> None:
    study = Study()
    study.ask(world.parts)

    until(lambda: study.accession in head.see("/desk").text, world)
    assert "The study has not arrived." in head.see("/desk").text
    (row,) = [
        row
        for row in listed("order", "list", "--data", world.deployment.data)
        if row["accession"] == study.accession
    ]
    assert row["state"] == "received"
    assert study.case(world.parts) is None

    world.carry(study)
    case = study.case(world.parts)
    assert case is not None
    with world.parts.database.reading() as tx:
        request = worklist.get_request(tx, case.request_id)
        manifest = archive.manifest(tx, study.study_uid)
    assert request.received_at < manifest.last_received_at <= case.legal_clock_start


def test_a_study_of_another_patient_is_not_joined_by_its_accession_number(
    world: World, head: Person
) -> None:
    study, other = Study(), Study()
    other.accession = study.accession
    study.ask(world.parts)
    other.send(world.deployment.dicom_port)

    until(lambda: "for another patient" in head.see("/desk").text, world)
    assert other.case(world.parts) is None


# Bytes


def test_unreadable_bytes_are_kept_listed_and_answered_for(world: World, head: Person) -> None:
    study = Study()
    whole = study.part10()

    status = answer_to(world, study.instance_uid, whole[: len(whole) // 2])

    assert status is not None
    assert status & 0xF000 == 0xC000
    with world.parts.database.reading() as tx:
        kept = archive.quarantined(tx)[0]
    assert kept.source == SENDER
    assert kept.length >= len(whole) // 2 - 1000
    page = head.see("/desk").text
    assert kept.reason
    assert kept.code in page
    assert answer_to(world, study.instance_uid, whole) == 0


# Signing


@pytest.fixture
def offered(world: World) -> Case:
    """A case that waits for its consultant."""
    study = Study()
    study.ask(world.parts)
    study.send(world.deployment.dicom_port)
    until(lambda: state_of(world, study) is CaseState.OFFERED, world)
    case = study.case(world.parts)
    assert case is not None
    return case


@pytest.fixture
def reader(world: World, offered: Case) -> Iterator[Person]:
    """The consultant of the case, who has written and finalised the report."""
    assert offered.offered_to is not None
    person = Person(world.deployment, offered.offered_to.removeprefix("r-"))
    person.write(offered.id, "The marked words of the finding.")
    yield person
    person.close()


def refused_then_signed(
    world: World, case: Case, reader: Person, answer: httpx.Response, said: str
) -> None:
    """Check that nothing was lost by the refusal, and sign after all."""
    assert answer.status_code in {httpx.codes.CONFLICT, httpx.codes.UNPROCESSABLE_ENTITY}
    assert said in answer.text
    assert "The marked words of the finding." in answer.text
    with world.parts.database.reading() as tx:
        assert worklist.get_case(tx, case.id).state is CaseState.READING
    assert reader.sign(case.id, DEMO_PASSPHRASE).status_code == httpx.codes.OK

    def completed() -> bool:
        with world.parts.database.reading() as tx:
            return worklist.get_case(tx, case.id).state is CaseState.COMPLETED

    until(completed, world)


@contextmanager
def another_key(world: World, case: Case, content: bytes) -> Iterator[None]:
    """Put another key in place of the consultant's for the time of a block."""
    file = world.parts.key_file(case.offered_to or "")
    own = file.read_bytes()
    file.write_bytes(content)
    try:
        yield
    finally:
        file.write_bytes(own)


def test_a_wrong_passphrase_is_refused(world: World, offered: Case, reader: Person) -> None:
    answer = reader.sign(offered.id, "not the passphrase")

    refused_then_signed(world, offered, reader, answer, "passphrase")


def test_an_expired_certificate_is_refused(world: World, offered: Case, reader: Person) -> None:
    at = system_clock()
    file = world.parts.key_file(offered.offered_to or "")
    own = file.read_bytes()
    expired = issue(
        ensure_authority(world.parts.keys, at=at),
        reader_id=offered.offered_to or "",
        name="Somebody",
        organisation="Alpha",
        passphrase=DEMO_PASSPHRASE,
        valid_from=at - timedelta(days=20),
        valid_until=at - timedelta(days=10),
    )
    assert expired == file
    content = file.read_bytes()
    file.write_bytes(own)
    with another_key(world, offered, content):
        answer = reader.sign(offered.id, DEMO_PASSPHRASE)

    refused_then_signed(world, offered, reader, answer, "expired")


def test_the_key_of_somebody_else_is_refused(world: World, offered: Case, reader: Person) -> None:
    other = "r-hrytsak"
    assert other != offered.offered_to
    with another_key(world, offered, world.parts.key_file(other).read_bytes()):
        answer = reader.sign(offered.id, DEMO_PASSPHRASE)

    refused_then_signed(world, offered, reader, answer, "certificate")


def test_a_key_file_that_is_damaged_is_refused(world: World, offered: Case, reader: Person) -> None:
    with another_key(world, offered, b"no key at all"):
        answer = reader.sign(offered.id, DEMO_PASSPHRASE)

    refused_then_signed(world, offered, reader, answer, "key")


def test_after_these_faults_everything_verifies(world: World) -> None:
    assert problems_of(world.parts) == {}


# The health record


def deliveries(world: World, study: Study) -> Mapping[str, Delivery]:
    case = study.case(world.parts)
    assert case is not None
    with world.parts.database.reading() as tx:
        found = health_record.list_deliveries(tx, case_id=case.id)
    return {delivery.destination: delivery for delivery in found}


@pytest.mark.service
def test_an_unreachable_record_is_tried_again_seen_and_holds_up_nothing(tmp_path: Path) -> None:
    port = free_port()
    environment = {
        "TELERAD_RECORD__ADAPTER": "fhir_r4",
        "TELERAD_RECORD__FHIR_URL": f"http://127.0.0.1:{port}/fhir",
        "TELERAD_RECORD__FIRST_WAIT_S": "0.5",
    }
    with deployed(tmp_path, **environment) as world:
        studies = [Study(), Study()]
        for study in studies:
            study.ask(world.parts)
            world.carry(study, until=CaseState.DELIVERED)
            waiting = deliveries(world, study)["record"]
            assert deliveries(world, study)["requester"].state is DeliveryState.FILED
            assert waiting.state in {DeliveryState.PENDING, DeliveryState.ATTEMPTING}
        first = studies[0]
        until(lambda: deliveries(world, first)["record"].attempts >= 2, world)
        refusal = deliveries(world, first)["record"].refusal
        assert refusal is not None
        assert refusal.sentence
        head = Person(world.deployment, "alpha-admin")
        assert refusal.sentence.split(":")[0] in head.see("/desk").text
        assert head.see("/health/ready").status_code == httpx.codes.OK
        head.close()

        with required(), running_sekmet(port) as sekmet:
            for study in studies:
                until(lambda s=study: state_of(world, s) is CaseState.COMPLETED, world)  # type: ignore[misc]
                check_exactly_once(world.parts, study)
            assert len(sekmet.find("DiagnosticReport")) == len(studies)


# The disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own that is soon full."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a disk of its own")
    folder = tmp_path / "disk"
    folder.mkdir()
    size = f"size={DISK_MB}m"
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", folder])
    if mounted.returncode != 0:
        pytest.skip("this machine lets nobody mount")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder: Path) -> Path:
    """Take all room of a disk."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096):
            while True:
                try:
                    file.write(b"\0" * size)
                except OSError:
                    break
    return ballast


def stow(world: World, token: str, part10: bytes) -> httpx.Response:
    kind = 'multipart/related; type="application/dicom"; boundary=bounds'
    body = b"--bounds\r\nContent-Type: application/dicom\r\n\r\n" + part10 + b"\r\n--bounds--\r\n"
    headers = {
        "Authorization": f"Bearer {token}",
        "Content-Type": kind,
        "Accept": "application/dicom+json",
    }
    url = f"{world.deployment.web}/dicomweb/studies"
    return httpx.post(url, content=body, headers=headers, timeout=60)


def test_a_full_disk_refuses_loses_nothing_and_goes_on_when_there_is_room(
    small_disk: Path,
) -> None:
    data = small_disk / "data"
    data.mkdir()
    with deployed(data, TELERAD_STORAGE__SEGMENT_MB="1") as world:
        with world.parts.database.transaction() as tx:
            token = identity.add_token(tx, "test", ["dicomweb:write"], by=BY)
        study = Study()
        study.ask(world.parts)
        ballast = fill(small_disk)

        stored, refused = [], None
        for number in range(1, MAX_FILMS):
            film = Study(study.accession, study.patient_id, number=number)
            status = answer_to(world, film.instance_uid, film.part10())
            if status != 0:
                refused = film
                break
            stored.append(film)

        assert refused is not None, "the disk was never full"
        assert status == 0xA700
        answer = stow(world, token, refused.part10())
        assert answer.status_code == httpx.codes.INSUFFICIENT_STORAGE, answer.text
        echo(node(world), SendSettings(ae_title=SENDER))
        assert httpx.get(world.deployment.web + "/health/live").status_code == httpx.codes.OK
        assert world.deployment.doing("serve").is_alive()

        ballast.unlink()
        assert answer_to(world, refused.instance_uid, refused.part10()) == 0
        study.acknowledged = True
        world.carry(study)
        for film in (*stored, refused):
            kept = world.parts.archive.read(film.instance_uid)
            assert kept.endswith(film.part10()[-10_000:])
        assert problems_of(world.parts) == {}


# The database


@pytest.mark.service
def test_a_database_that_dies_in_between_loses_nothing(
    tmp_path: Path, postgresql: PostgreSQL
) -> None:
    name = postgresql.create()
    with deployed(tmp_path, TELERAD_STORAGE__DATABASE_URL=postgresql.url(name)) as world:
        study, later = Study(), Study()
        for one in (study, later):
            one.ask(world.parts)
        study.send(world.deployment.dicom_port)
        assert study.acknowledged
        postgresql.kill9()
        later.send(world.deployment.dicom_port)
        assert not later.acknowledged
        assert world.deployment.doing("serve").is_alive()
        ready = httpx.get(world.deployment.web + "/health/ready", timeout=60)
        assert ready.status_code == httpx.codes.SERVICE_UNAVAILABLE
        postgresql.restart()

        for one in (study, later):
            world.carry(one)
            check_exactly_once(world.parts, one)


def test_the_engine_killed_again_and_again_goes_on(world: World) -> None:
    study = Study()
    study.ask(world.parts)
    for state in (None, CaseState.RECEIVED, CaseState.OFFERED):
        study.send(world.deployment.dicom_port)
        if state is not None:
            until(lambda: state_of(world, study) not in (None, CaseState.RECEIVED), world)
        process = world.deployment.doing("serve")
        process.kill()
        process.start()

    world.carry(study)
    check_exactly_once(world.parts, study)

"""No patient data where it does not belong: marked data goes every way there is, then we look.

Looked through are the logs, what the commands said, the metrics, the audit chain, the facts and
the addresses that pages link to.
"""

import json
import re
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from io import BytesIO
from pathlib import Path

import httpx
import pydicom
import pytest
from sqlalchemy import text

from app.bootstrap import DEMO_PASSPHRASE, Parts
from app.demo.network import BY, ISSUER, SENDER, seed
from app.identity import commands as identity
from dicom_node.errors import AssociationRefused
from dicom_node.peers import Peer
from dicom_node.send import Outgoing, SendSettings, send
from kernel.clock import monotonic_s
from tests.cli.command import telerad
from tests.flows.actors import Study
from tests.flows.deployment import one_machine
from tests.flows.people import Person
from tests.flows.world import World
from worklist.case import CaseState

NAME = "Zqxname^Zqxgiven"
PATIENT_ID = "ZQXPATIENT77"
BIRTH = date(1913, 7, 9)
ACCESSION = "ZQXACCESSION1"
PROCEDURE = "Zqxprocedure of the chest"
REPORT = "Zqxreport words about the lungs."
PASSPHRASE = "zqxpassphrase-that-is-wrong"
PASSWORD = "zqxpassword-that-is-wrong"
LOGIN = "zqxlogin"
COMMENT = "Zqxcomment"

MARK = re.compile(rb"zqx\w*", re.IGNORECASE)
BIRTH_MARK = re.compile(rb"1913-?07-?09")
PATIENCE_S = 60


@dataclass
class Traces:
    """What the flow left where patient data does not belong."""

    world: World
    said: list[str] = field(default_factory=list)

    def log(self) -> bytes:
        return self.world.deployment.doing("serve").log.read_bytes()

    def rows(self, table: str) -> bytes:
        with self.world.parts.database.reading() as tx:
            rows = tx.execute(text(f"SELECT * FROM {table}")).mappings().all()
        assert rows
        return json.dumps([dict(row) for row in rows], default=str).encode()


def marks(content: bytes) -> set[bytes]:
    """Return every marked word in some bytes."""
    return set(MARK.findall(content)) | set(BIRTH_MARK.findall(content))


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traces]:
    """Everything that a marked patient goes through, well and badly."""
    data = tmp_path_factory.mktemp("privacy") / "data"
    data.mkdir()
    deployment = one_machine(data, {"PYTHONWARNINGS": "always"})
    with deployment.parts() as parts:
        parts.prepare(migrate=True)
        seed(parts)
    deployment.start()
    try:
        with deployment.parts() as parts:
            traces = Traces(World(deployment, parts))
            _go_every_way(traces)
            yield traces
    finally:
        deployment.stop()


def _go_every_way(traces: Traces) -> None:
    world = traces.world
    _orders(traces)
    _bad_objects(world)
    study = _Marked(accession=ACCESSION, patient_id=PATIENT_ID, patient_name=NAME)
    study.send(world.deployment.dicom_port)
    assert study.acknowledged
    _doors(world, study)
    case = _offered(world, study)
    reader = Person(world.deployment, case.removeprefix("r-"))
    found = study.case(world.parts)
    assert found is not None
    reader.write(found.id, REPORT)
    assert reader.sign(found.id, PASSPHRASE).status_code != httpx.codes.OK
    assert reader.sign(found.id, DEMO_PASSPHRASE).status_code == httpx.codes.OK
    reader.close()
    world.carry(study)
    _damage(world, found.id)
    process = world.deployment.doing("serve")
    process.kill()
    process.start()
    traces.said += [
        telerad(*command, "--data", world.deployment.data).stderr
        for command in (("verify",), ("doctor",), ("replay", "--list"), ("case", "list"))
    ]


class _Marked(Study):
    """A study whose film carries the marks in every field that speaks of the patient."""

    def part10(self) -> bytes:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data_set = pydicom.dcmread(BytesIO(super().part10()))
            data_set.PatientBirthDate = BIRTH.strftime("%Y%m%d")
            data_set.StudyDescription = PROCEDURE
            data_set.PatientComments = COMMENT
            data_set.ReferringPhysicianName = "Zqxreferrer"
            data_set.InstitutionName = "Zqxinstitution"
            out = BytesIO()
            data_set.save_as(out)
        return out.getvalue()


def _orders(traces: Traces) -> None:
    data = traces.world.deployment.data
    good = {
        "accession": ACCESSION,
        "patient_id": PATIENT_ID,
        "issuer": ISSUER,
        "name": NAME,
        "birth_date": BIRTH.isoformat(),
        "procedure": PROCEDURE,
        "modality": "DX",
        "station_ae_title": SENDER,
        "organisation": "van1",
    }
    for told in (
        json.dumps(good),
        json.dumps({**good, "name": "Zqxother"}),
        json.dumps({**good, "modality": "CT"}),
        json.dumps({**good, "birth_date": "zqxbirth"}),
        json.dumps({**good, "form": "zqxform"}),
        json.dumps({**good, "study_uid": "zqxuid"}),
        json.dumps(good)[:-1],
    ):
        traces.said.append(telerad("order", "add", "-", "--data", data, given=told).stderr)


def _bad_objects(world: World) -> None:
    """Send what cannot be read, what contradicts, and from a title that nobody knows."""
    study = _Marked(patient_id=PATIENT_ID, patient_name=NAME)
    whole = study.part10()
    odd = whole.replace(BIRTH.strftime("%Y%m%d").encode(), b"ZQXBIRTH")
    bad = [
        (study.instance_uid, whole[: len(whole) // 2]),
        (study.instance_uid, whole[:900]),
        (study.instance_uid, odd),
        (study.instance_uid, whole),
    ]
    node = Peer(
        ae_title="TELERAD",
        host="127.0.0.1",
        port=world.deployment.dicom_port,
        organisation_id="van1",
        issuer=ISSUER,
    )
    for uid, content in bad:
        send([Outgoing(uid, content)], node, SendSettings(ae_title=SENDER))
    with pytest.raises(AssociationRefused):
        send([Outgoing(study.instance_uid, whole)], node, SendSettings(ae_title="STRANGER"))


def _doors(world: World, study: Study) -> None:
    """Knock with marked words: addresses that do not exist, wrong passwords, bad bodies."""
    with world.parts.database.transaction() as tx:
        token = identity.add_token(
            tx, "test", ["dicomweb:read", "dicomweb:write", "fhir:read"], by=BY
        )
    shown = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=world.deployment.web, headers=shown, timeout=60) as client:
        for path in (
            f"/cases/{PATIENT_ID}",
            f"/{NAME}",
            f"/dicomweb/studies?PatientID={PATIENT_ID}&PatientName={NAME}",
            f"/dicomweb/studies/{PATIENT_ID}/metadata",
            f"/dicomweb/studies/{study.study_uid}/metadata",
            f"/dicomweb/studies/{study.study_uid}",
            f"/dicomweb/nothing/{NAME}?x={PASSPHRASE}",
            f"/fhir/Patient?identifier={PATIENT_ID}",
            f"/fhir/Nothing/{PATIENT_ID}",
            f"/fhir/DiagnosticReport?patient={PATIENT_ID}&zqxparameter={NAME}",
        ):
            client.get(path)
        kind = 'multipart/related; type="application/dicom"; boundary=zqx'
        for body in (b"--zqx\r\n\r\nZqxbody\r\n--zqx--", study.part10(), b"Zqxbody"):
            client.post("/dicomweb/studies", content=body, headers={"Content-Type": kind})
        client.request(f"ZQX{PATIENT_ID}", "/queue")
        client.get("/queue", headers={"Authorization": f"Bearer {PASSWORD}"})
        client.get("/queue", headers={"Cookie": f"session={PASSWORD}", "User-Agent": NAME})
    person = Person(world.deployment, "alpha-admin")
    person.do("/sign-in", "/sign-in", login=LOGIN, password=PASSWORD)
    person.do("/sign-in", "/sign-in", login="head", password=PASSWORD)
    person.close()


def _offered(world: World, study: Study) -> str:
    deadline = monotonic_s() + PATIENCE_S
    while monotonic_s() < deadline:
        case = study.case(world.parts)
        if case is not None and case.state is CaseState.OFFERED:
            return str(case.offered_to)
        time.sleep(0.1)
    raise AssertionError(world.deployment.doing("serve").log.read_text()[-3000:])


def _damage(world: World, case_id: str) -> None:
    """Break a stored document and have it read: a fault of the machine (500)."""
    documents = list((world.deployment.data / "objects" / "documents").rglob("report.pdf"))
    content = [document.read_bytes() for document in documents]
    for document in documents:
        document.chmod(0o600)
        document.write_bytes(b"Zqxdamaged" * 100)
    doctor = Person(world.deployment, "van1-doctor")
    answer = doctor.see(f"/cases/{case_id}/report/1.pdf")
    doctor.close()
    assert answer.status_code >= httpx.codes.INTERNAL_SERVER_ERROR
    for document, whole in zip(documents, content, strict=True):
        document.write_bytes(whole)


def test_the_flow_left_the_marks_where_they_belong(traces: Traces) -> None:
    """Else the other tests would find nothing because there is nothing."""
    assert marks(traces.rows("patients"))
    pdf = next((traces.world.deployment.data / "objects" / "documents").rglob("report.pdf"))
    assert pdf.stat().st_size > 0
    assert b"instance.refused" in traces.log() or b"refused" in traces.log()


def test_no_log_has_them(traces: Traces) -> None:
    log = traces.log()

    assert marks(log) == set(), _around(log)


def test_no_command_says_them_on_standard_error(traces: Traces) -> None:
    said = "\n".join(traces.said).encode()

    assert b"Error: " in said
    assert marks(said.replace(b"zqxform", b"")) == set(), _around(said)


def test_no_metric_has_them(traces: Traces) -> None:
    answer = httpx.get(traces.world.deployment.web + "/metrics")

    assert answer.status_code == httpx.codes.OK
    assert b"telerad_http_answers" in answer.content
    assert marks(answer.content) == set(), _around(answer.content)


def test_the_audit_chain_has_ids_and_no_words(traces: Traces) -> None:
    chain = traces.rows("audit")

    assert marks(chain) == set(), _around(chain)


def test_facts_have_no_words_about_the_patient(traces: Traces) -> None:
    """Beside accession number and procedure, which the modality worklist is made of."""
    with traces.world.parts.database.reading() as tx:
        bodies = [
            {k: v for k, v in _body(row).items() if k not in {"accession", "procedure"}}
            for row in tx.execute(text("SELECT body FROM facts")).scalars()
        ]
    told = json.dumps(bodies).encode()

    assert len(bodies) > 10
    assert marks(told) == set(), _around(told)


def test_no_page_links_to_an_address_that_has_them(traces: Traces) -> None:
    reader = Person(traces.world.deployment, "van1-doctor")
    found = [
        link
        for page in ("/queue", *(f"/cases/{case}" for case in _case_ids(traces.world.parts)))
        for link in re.findall(r'(?:href|src|action)="([^"]*)"', reader.see(page).text)
    ]
    reader.close()

    assert found
    assert [link for link in found if marks(link.encode())] == []


def test_the_temporary_files_of_the_process_hold_nothing(traces: Traces) -> None:
    spool = traces.world.deployment.data / "scratch"

    assert [file for file in spool.rglob("*") if file.is_file()] == []


def test_a_model_is_run_without_telling_anybody_outside(tmp_path: Path) -> None:
    """The runtime of the models can report its use to its maker: it must not."""
    done = telerad("demo", "--json", environment={"TMPDIR": str(tmp_path)})

    assert done.returncode == 0, done.stderr
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith(".")] == []


def _case_ids(parts: Parts) -> list[str]:
    with parts.database.reading() as tx:
        return [str(id) for id in tx.execute(text("SELECT id FROM cases")).scalars()]


def _body(stored: object) -> Mapping[str, object]:
    body = json.loads(stored) if isinstance(stored, str) else stored
    assert isinstance(body, dict)
    return body


def _around(content: bytes) -> list[bytes]:
    found = [*MARK.finditer(content), *BIRTH_MARK.finditer(content)]
    return [content[max(0, one.start() - 150) : one.end() + 30] for one in found[:5]]

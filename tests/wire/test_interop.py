"""Independent clients against a real ``telerad up``, without TLS and with it where they can.

DCMTK, odil, CTN, dicom-echo and dcmjs-dimse speak DIMSE, dicomweb-client for JavaScript DICOMweb;
the one for Python and OHIF's calls are in test_dicomweb_clients, Orthanc in test_orthanc.
"""

import json
import os
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from tests.cli.command import ROOT, Up, running, telerad
from tests.dicom_node.samples import a_slice, as_file
from tests.services.missing import ProgramMissing, program, required
from tests.wire.pki import Pair, make
from tests.wire.speaker import until

CALLED, CALLING, DESTINATION = "HOUSE", "CLIENT", "ARCHIVE"
PATIENT = "INTEROP-1"
SERVICES = ROOT / ".venv-services"
COUNT = 3


@dataclass
class House:
    """A running engine that holds a study, and the keys of itself and its client."""

    up: Up
    node: Pair
    client: Pair
    archive: Pair
    archive_port: int
    study: str
    files: Sequence[Path]
    token: str

    def port(self, tls: bool) -> str:
        return str(self.up.ready["dicom_tls_port" if tls else "dicom_port"])

    def dcmtk(self, name: str, *more: object, tls: bool) -> subprocess.CompletedProcess[str]:
        """Run a program of DCMTK."""
        secure = self.client.dcmtk(self.node) if tls else []
        where = ["-aet", CALLING, "-aec", CALLED, "127.0.0.1", self.port(tls)]
        return run(program_here(name), "-v", *secure, *where, *more)

    @contextmanager
    def reached(self, tls: bool) -> Iterator[str]:
        """Give the port of the node for programs that know no TLS: they come through a tunnel.

        Debian's getscu and movescu are such programs.
        """
        if not tls:
            yield self.port(tls)
            return
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = int(free.getsockname()[1])
        secure = (
            f"cert={self.client.certificate_file},key={self.client.key_file}"
            f",cafile={self.node.certificate_file},verify=1"
        )
        tunnel = subprocess.Popen(
            [
                program_here("socat"),
                f"TCP-LISTEN:{port},bind=127.0.0.1,fork,nodelay,reuseaddr",
                f"OPENSSL:127.0.0.1:{self.port(tls)},nodelay,{secure}",
            ]
        )
        try:
            until(lambda: _listens(port))
            yield str(port)
        finally:
            tunnel.terminate()
            tunnel.wait()

    def javascript(self, what: str, *, tls: bool = False, **more: object) -> dict[str, Any]:
        """Run a JavaScript client and return what it heard."""
        told: dict[str, object] = {
            "packages": packages(),
            "port": int(self.port(tls)),
            "calling": CALLING,
            "called": CALLED,
            "patient": PATIENT,
            "study": self.study,
            "destination": DESTINATION,
            **more,
        }
        if tls:
            told["tls"] = {
                "key": str(self.client.key_file),
                "certificate": str(self.client.certificate_file),
                "trusted": str(self.node.certificate_file),
            }
        script = Path(__file__).with_name("clients.js")
        done = run(program_here("node"), script, what, json.dumps(told))
        assert done.returncode == 0, done.stdout + done.stderr
        heard: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return heard


def run(*command: object, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        errors="replace",
        env={**os.environ, "TCP_NODELAY": "1"},
        cwd=folder,
        timeout=120,
    )


def program_here(name: str, *also_in: Path) -> Path:
    with required():
        return program(name, also_in=map(str, also_in))
    raise AssertionError("unreachable")


def packages() -> str:
    folder = SERVICES / "npm"
    with required():
        if not (folder / "node_modules" / "dcmjs-dimse").is_dir():
            raise ProgramMissing("npm's dcmjs-dimse")
    return str(folder)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("interop")
    data = folder / "data"
    node = make(data / "tls", "node")
    client, archive = make(folder, "client"), make(folder, "archive")
    with socket.create_server(("127.0.0.1", 0)) as free:
        archive_port = int(free.getsockname()[1])
    files = []
    for number in range(COUNT):
        data_set = a_slice(number, study=90, side=32)
        data_set.PatientID = PATIENT
        path = folder / f"{number}.dcm"
        path.write_bytes(as_file(data_set))
        files.append(path)
    with running(data, "--ae-title", CALLED, "--dicom-tls-port", "0") as up:
        add = ("peer", "add", "--data", data, "--host", "127.0.0.1")
        for arguments in (
            ("--ae", CALLING, "--port", 104, "--certificate", client.certificate_file, "--plain"),
            (
                *("--ae", DESTINATION, "--port", archive_port),
                *("--certificate", archive.certificate_file, "--tls"),
            ),
        ):
            added = telerad(*add, *arguments)
            assert added.returncode == 0, added.stderr
        order = {"accession": "IO-1", "patient_id": PATIENT, "modality": "CT"}
        entered = telerad("order", "add", "-", "--data", data, given=json.dumps(order))
        assert entered.returncode == 0, entered.stderr
        made = telerad("token", "add", "--data", data, "--scopes", "dicomweb:read dicomweb:write")
        study = str(a_slice(study=90).StudyInstanceUID)
        house = House(up, node, client, archive, archive_port, study, files, made.stdout.strip())
        stored = house.dcmtk("storescu", *files, tls=False)
        assert stored.returncode == 0, stored.stderr
        yield house


@pytest.fixture
def received(house: House, tmp_path: Path) -> Iterator[Path]:
    """The folder of DCMTK's archive, which takes calls over TLS alone."""
    out = tmp_path / "received"
    out.mkdir()
    secure = house.archive.dcmtk(house.node)
    server = subprocess.Popen(
        [
            *(program_here("storescp"), *secure, "-aet", DESTINATION),
            *("-od", out, str(house.archive_port)),
        ]
    )
    until(lambda: _listens(house.archive_port))
    yield out
    server.terminate()
    server.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


both = pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])


@both
def test_dcmtk_verifies_stores_and_finds(house: House, tls: bool) -> None:
    assert house.dcmtk("echoscu", tls=tls).returncode == 0
    assert house.dcmtk("storescu", *house.files, tls=tls).returncode == 0
    keys = ("-S", "-k", "QueryRetrieveLevel=STUDY", "-k", f"PatientID={PATIENT}")
    found = house.dcmtk("findscu", *keys, "-k", "StudyInstanceUID", tls=tls)
    assert found.returncode == 0
    assert house.study in found.stdout + found.stderr
    listed = house.dcmtk(
        "findscu", "-W", "-k", f"PatientID={PATIENT}", "-k", "AccessionNumber", tls=tls
    )
    assert "IO-1" in listed.stdout + listed.stderr


@both
def test_dcmtk_gets_and_moves(house: House, tls: bool, tmp_path: Path, received: Path) -> None:
    out = tmp_path / "got"
    out.mkdir()
    keys = ("-S", "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={house.study}")
    with house.reached(tls) as port:
        where = ("-v", "-aet", CALLING, "-aec", CALLED, "127.0.0.1", port)
        got = run(program_here("getscu"), *where, *keys, "-od", out)
        assert got.returncode == 0, got.stderr
        moved = run(program_here("movescu"), *where, *keys, "-aem", DESTINATION)
        assert moved.returncode == 0, moved.stderr
    for folder in (out, received):
        assert {dcmread(each).InstanceNumber for each in folder.iterdir()} == {
            dcmread(each).InstanceNumber for each in house.files
        }


def test_odil_verifies_stores_finds_and_gets(house: House, tmp_path: Path) -> None:
    odil = program_here("odil")
    where = ("127.0.0.1", house.port(tls=False), CALLING, CALLED)

    for command in (("echo", *where), ("store", *where, *house.files)):
        done = run(odil, *command)
        assert done.returncode == 0, done.stderr
    found = run(
        odil,
        "find",
        *where,
        "study",
        "QueryRetrieveLevel=STUDY",
        f"PatientID={PATIENT}",
        "StudyInstanceUID",
    )
    assert found.returncode == 0, found.stderr
    assert house.study in found.stdout
    got = run(
        odil,
        "get",
        "-d",
        tmp_path,
        *where,
        "study",
        "QueryRetrieveLevel=STUDY",
        f"StudyInstanceUID={house.study}",
    )
    assert got.returncode == 0, got.stderr
    assert len([each for each in tmp_path.rglob("*") if each.is_file()]) == COUNT


def test_ctn_verifies_stores_and_asks_for_the_worklist(house: House, tmp_path: Path) -> None:
    where = ("-a", CALLING, "-c", CALLED)
    there = ("localhost", house.port(tls=False))

    echoed = run(program_here("dicom_echo"), *where, "-r", 3, *there)
    assert (echoed.returncode, "error" in echoed.stderr.lower()) == (0, False), echoed.stderr
    bare = []
    for number, path in enumerate(house.files):  # CTN's own form has neither preamble nor group 2
        data_set = a_slice(number, study=91, side=32)
        bare.append(tmp_path / f"{number}.ctn")
        data_set.save_as(bare[-1], implicit_vr=True, little_endian=True, enforce_file_format=False)
        assert path.exists()
    sent = run(program_here("send_image"), *where, "-r", *there, *bare)
    assert sent.returncode == 0, sent.stdout + sent.stderr
    uid = str(a_slice(study=91).StudyInstanceUID)
    found = house.dcmtk(
        "findscu",
        "-S",
        "-k",
        "QueryRetrieveLevel=STUDY",
        "-k",
        f"StudyInstanceUID={uid}",
        "-k",
        "NumberOfStudyRelatedInstances",
        tls=False,
    )
    assert f"[{COUNT} ]" in found.stdout + found.stderr, sent.stdout
    listed = run(program_here("mwlQuery"), *where, *there, folder=tmp_path)
    assert listed.returncode == 0, listed.stderr
    assert listed.stdout.count("ff00") == 1  # the one item that is open


def test_dicom_echo_verifies(house: House) -> None:
    done = run(program_here("dicom-echo", SERVICES / "bin"), "--help")
    assert done.returncode == 0
    asked = (
        "import dicom_echo; print(dicom_echo.send("
        f"'127.0.0.1:{house.port(tls=False)}', {CALLED!r}, {CALLING!r}))"
    )
    done = run(SERVICES / "bin" / "python", "-c", asked)
    assert (done.returncode, done.stdout.strip()) == (0, "0"), done.stderr


@both
def test_dcmjs_dimse_verifies_stores_and_finds(house: House, tls: bool, tmp_path: Path) -> None:
    assert house.javascript("echo", tls=tls)["statuses"] == [0]
    # It writes data sets its own way, so that what we hold already would be other content.
    file = tmp_path / "new.dcm"
    file.write_bytes(as_file(a_slice(study=93 if tls else 92, side=32)))
    assert house.javascript("store", tls=tls, file=str(file))["statuses"] == [0]
    found = house.javascript("find", tls=tls)
    assert [each["StudyInstanceUID"] for each in found["found"]] == [house.study]
    assert found["statuses"][-1] == 0
    listed = house.javascript("worklist", tls=tls)
    assert [each["AccessionNumber"] for each in listed["found"]] == ["IO-1"]


@both
def test_dcmjs_dimse_gets_and_moves(house: House, tls: bool, received: Path) -> None:
    got = house.javascript("get", tls=tls)
    assert len(got["received"]) == COUNT
    assert got["statuses"][-1] == 0
    assert house.javascript("move", tls=tls)["statuses"][-1] == 0
    assert len(list(received.iterdir())) == COUNT


def test_dicomweb_client_for_javascript_stores_searches_and_retrieves(house: House) -> None:
    heard = house.javascript(
        "dicomweb",
        url=house.up.ready["dicomweb"],
        token=house.token,
        file=str(house.files[0]),
    )

    assert heard["studies"] == [house.study]
    assert (heard["series"], heard["metadata"]) == (1, COUNT)
    assert len(heard["bytes"]) == COUNT
    assert min(heard["bytes"]) > 32 * 32

"""The contract for scripts: ``telerad up`` and the commands beside it, against one directory."""

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pydicom
import pytest

from app.bootstrap import Parts
from app.settings import load
from dicom_node import commands
from dicom_node.peers import Peer
from kernel.clock import monotonic_s
from kernel.ids import derived_uid
from tests.cli.command import Up, listed, refused, running, telerad
from tests.flows.actors import Study

AE_TITLE = "HOUSE"
PATIENCE_S = 60
TWO_SITES = """
[[organisation]]
id = "north"
name = "North"
kind = "requesting"

[[organisation]]
id = "south"
name = "South"
kind = "requesting"
"""
ORTHANC = """
[[orthanc]]
name = "clinic"
url = "http://127.0.0.1:1/"
organisation = "north"
issuer = "CITY"
"""
STATION = """
[[peer]]
ae_title = "READ9"
host = "h"
port = 104
organisation = "north"
"""
needs_dcmtk = pytest.mark.skipif(shutil.which("storescu") is None, reason="needs DCMTK")


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """A fresh engine, as a script starts it."""
    with running(tmp_path_factory.mktemp("contract") / "data", "--ae-title", AE_TITLE) as up:
        yield up


@pytest.fixture(scope="module")
def device(up: Up) -> str:
    """The title of a modality that was registered while the engine ran."""
    title = "SCANNER"
    done = telerad("peer", "add", "--data", up.data, "--ae", title, "--host", "h", "--port", 104)
    assert (done.returncode, done.stderr) == (0, "")
    return title


def add_order(up: Up, told: object) -> subprocess.CompletedProcess[str]:
    return telerad("order", "add", "-", "--data", up.data, given=json.dumps(told))


def film(study: Study, folder: Path) -> Path:
    """Write the film of a study, which says nothing of who issued the patient's id."""
    data_set = pydicom.dcmread(BytesIO(study.part10()))
    del data_set.IssuerOfPatientID
    file = folder / f"{study.accession}.dcm"
    data_set.save_as(file)
    return file


def store(up: Up, calling: str, *files: Path) -> subprocess.CompletedProcess[str]:
    """Send with DCMTK."""
    where = ["-aet", calling, "-aec", AE_TITLE, "127.0.0.1", str(up.dicom_port)]
    command = ["storescu", "-xs", *where, *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)


def case_of(up: Up, study: Study, *, until: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Ask ``case list`` until the case of a study is as wanted."""
    deadline = monotonic_s() + PATIENCE_S
    while monotonic_s() < deadline:
        for case in listed("case", "list", "--data", up.data):
            if case["accession"] == study.accession and until(case):
                assert isinstance(case, dict)
                return case
        time.sleep(0.1)
    raise AssertionError(f"no such case: {up.errors.read_text()[-3000:]}")


def test_one_line_says_that_it_is_ready(up: Up) -> None:
    assert set(up.ready) == {
        "ready",
        "pid",
        "http",
        "dicomweb",
        "fhir",
        "dicom_port",
        "dicom_tls_port",
        "ae_title",
    }
    assert up.ready["ready"] is True
    assert up.ready["pid"] == up.pid
    assert up.ready["ae_title"] == AE_TITLE
    assert up.ready["dicomweb"] == up.ready["http"] + "/dicomweb"
    assert up.ready["fhir"] == up.ready["http"] + "/fhir"
    assert isinstance(up.ready["dicom_port"], int)
    assert httpx.get(up.ready["http"] + "/sign-in").status_code == httpx.codes.OK


@needs_dcmtk
def test_an_order_and_its_study_become_a_case(up: Up, device: str, tmp_path: Path) -> None:
    study = Study(accession="C-1", patient_id="P-1")
    order = {
        "accession": study.accession,
        "patient_id": study.patient_id,
        "issuer": "REGION",
        "name": study.patient_name,
        "sex": "M",
        "birth_date": "1960-03-02",
        "modality": "DX",
        "station_ae_title": device,
        "procedure": "Chest PA",
        "scheduled_time": "2026-11-22T10:30:00+05:00",
        "profile": "thoracic",
        "form": "urgent",
    }
    added = add_order(up, order)
    assert (added.returncode, added.stderr) == (0, "")

    sent = store(up, device, film(study, tmp_path))

    assert sent.returncode == 0, sent.stderr
    case = case_of(up, study, until=lambda case: case["state"] != "received")
    assert case["study_uid"] == study.study_uid
    assert case["form"] == "urgent"
    shown = listed("case", "show", case["id"], "--data", up.data)
    assert "case.opened" in {event["action"] for event in shown["events"]}
    assert shown["id"] in telerad("case", "show", case["id"], "--data", up.data).stdout


@needs_dcmtk
def test_a_list_in_any_spelling(up: Up, device: str, tmp_path: Path) -> None:
    studies = [Study(accession=f"S-{n}", patient_id=f"PS-{n}") for n in range(4)]
    spelt = [
        {"Accession Number": "S-0", "patient id": "PS-0", "station AE title": device},
        {"accessionNumber": "S-1", "patientId": "PS-1", "stationAeTitle": device},
        {"AccessionNumber": "S-2", "PatientID": "PS-2", "ScheduledStationAETitle": device},
        {"accession-number": "S-3", "patient_id": "PS-3", "PatientBirthDate": "19600302"},
    ]

    added = add_order(up, spelt)

    assert (added.returncode, added.stderr) == (0, "")
    assert [line.split()[0] for line in added.stdout.splitlines()] == [s.accession for s in studies]
    sent = store(up, device, *(film(study, tmp_path) for study in studies))
    assert sent.returncode == 0, sent.stderr
    for study in studies:
        case_of(up, study, until=lambda _case: True)


def test_the_same_order_again_is_the_same_answer_and_another_is_refused(up: Up) -> None:
    order = {"accession": "TWICE", "patient_id": "P-2", "modality": "CT"}
    first, again = (add_order(up, order) for _ in range(2))

    assert first.returncode == again.returncode == 0
    assert first.stdout == again.stdout
    sentence = refused(
        "order", "add", "-", "--data", up.data, given=json.dumps({**order, "modality": "MR"})
    )
    assert "requested before with other content" in sentence
    listing = listed("order", "list", "--data", up.data)
    assert [row["modality"] for row in listing if row["accession"] == "TWICE"] == ["CT"]


@needs_dcmtk
def test_a_title_that_nobody_registered_is_refused(up: Up, tmp_path: Path) -> None:
    sent = store(up, "STRANGER", film(Study(), tmp_path))

    assert sent.returncode != 0
    assert "Calling AE Title Not Recognized" in sent.stdout + sent.stderr


def test_a_peer_added_again_is_changed(up: Up, device: str) -> None:
    add = ("peer", "add", "--data", up.data, "--ae", device, "--host", "elsewhere", "--port", 11)
    assert telerad(*add).returncode == 0

    (row,) = [r for r in listed("peer", "list", "--data", up.data) if r["ae_title"] == device]
    assert (row["host"], row["port"]) == ("elsewhere", "11")


def test_of_a_peer_added_again_stays_what_is_not_named(up: Up, tmp_path: Path) -> None:
    (tmp_path / "network.toml").write_text(TWO_SITES)
    assert telerad("network", "load", "--data", up.data, tmp_path / "network.toml").returncode == 0
    add = ("peer", "add", "--data", up.data, "--ae", "VAN9", "--host", "h", "--port")
    first = ("--organisation", "north", "--issuer", "CITY", "--charset", "ISO_IR 144")
    moved = ("--organisation", "south")

    def told(*more: str | int) -> Peer:
        assert telerad(*add, *more).returncode == 0
        database = Parts(load(up.data)).database
        with database.reading() as tx:
            found = commands.get_peer(tx, "VAN9")
        database.dispose()
        return found

    before = told(104, *first, "--reader", "r-1")
    assert told(105) == replace(before, port=105)
    assert told(105, "--charset", "", "--reader", "") == replace(
        before, port=105, character_set="", reader_id=""
    )
    # Another site counts its patients from one again.
    assert told(105, *moved).issuer == "unstated:south"


def test_a_network_loaded_again_leaves_whose_workstation_a_peer_is(up: Up, tmp_path: Path) -> None:
    def told(more: str = "") -> str:
        file = tmp_path / "network.toml"
        file.write_text(TWO_SITES + STATION + more)
        assert telerad("network", "load", "--data", up.data, file).returncode == 0
        database = Parts(load(up.data)).database
        with database.reading() as tx:
            found = commands.get_peer(tx, "READ9").reader_id
        database.dispose()
        return found

    assert told() == ""
    add = ("peer", "add", "--data", up.data, "--ae", "READ9", "--host", "h", "--port", 104)
    assert telerad(*add, "--reader", "r-1").returncode == 0
    assert told() == "r-1"
    assert told('reader = "r-2"') == "r-2"
    assert told('reader = ""') == ""


@needs_dcmtk
def test_a_peer_is_taken_away_and_brought_back(up: Up, tmp_path: Path) -> None:
    where = ("peer", "add", "--data", up.data, "--ae", "GONE", "--host", "h", "--port", 104)
    assert telerad(*where, "--issuer", "CITY").returncode == 0
    assert (
        store(up, "GONE", film(Study(accession="G-1", patient_id="G-1"), tmp_path)).returncode == 0
    )
    remove = ("peer", "remove", "--data", up.data, "--ae", "GONE")
    assert telerad(*remove).returncode == 0

    assert "GONE" not in {row["ae_title"] for row in listed("peer", "list", "--data", up.data)}
    (row,) = listed("peer", "list", "--removed", "--data", up.data)
    assert (row["ae_title"], row["organisation"]) == ("GONE", "local")
    assert "GONE was removed on" in refused(*remove)
    assert store(up, "GONE", film(Study(accession="G-2"), tmp_path)).returncode != 0

    assert "It had been removed" in telerad(*where).stdout
    (row,) = [r for r in listed("peer", "list", "--data", up.data) if r["ae_title"] == "GONE"]
    assert row["issuer"] == "CITY"
    assert listed("peer", "list", "--removed", "--data", up.data) == []


def test_a_network_that_does_not_name_a_peer_leaves_it_and_says_so(up: Up, tmp_path: Path) -> None:
    where = ("--data", up.data, "--ae", "BESIDE", "--host", "h", "--port", 104)
    assert telerad("peer", "add", *where).returncode == 0
    file = tmp_path / "network.toml"
    file.write_text(TWO_SITES + STATION)

    said = telerad("network", "load", "--data", up.data, file).stdout

    assert "left as they are:" in said
    assert "BESIDE" in said
    assert "BESIDE" in {row["ae_title"] for row in listed("peer", "list", "--data", up.data)}


def test_of_an_orthanc_added_again_stays_what_is_not_named(up: Up, tmp_path: Path) -> None:
    (tmp_path / "network.toml").write_text(TWO_SITES + ORTHANC)
    assert telerad("network", "load", "--data", up.data, tmp_path / "network.toml").returncode == 0
    add = ("orthanc", "add", "clinic", "--data", up.data)

    def told(*more: str) -> dict[str, str]:
        assert telerad(*add, *more).returncode == 0
        (found,) = listed("orthanc", "list", "--data", up.data)
        return {name: found[name] for name in ("url", "organisation", "issuer")}

    kept = {"organisation": "north", "issuer": "CITY"}
    assert told("http://127.0.0.1:2/") == {"url": "http://127.0.0.1:2/", **kept}
    assert told("http://127.0.0.1:2/", "--organisation", "south")["issuer"] == "unstated:south"
    assert telerad("orthanc", "remove", "clinic", "--data", up.data).returncode == 0


def test_a_token_opens_what_its_scopes_say(up: Up) -> None:
    scopes = "dicomweb:read dicomweb:write fhir:read"
    added = telerad("token", "add", "--data", up.data, "--scopes", scopes)
    reading = telerad("token", "add", "--data", up.data, "--scopes", "fhir:read")
    assert added.returncode == reading.returncode == 0

    def studies(token: str) -> int:
        shown = {"Authorization": f"Bearer {token.strip()}"}
        return httpx.get(up.ready["dicomweb"] + "/studies", headers=shown).status_code

    assert len(added.stdout.split()) == 1
    assert studies(added.stdout) in {httpx.codes.OK, httpx.codes.NO_CONTENT}
    assert studies(reading.stdout) in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}
    assert studies("invented") == httpx.codes.UNAUTHORIZED


def test_a_token_is_listed_without_itself_and_opens_nothing_once_revoked(up: Up) -> None:
    add = ("token", "add", "--data", up.data, "--name", "lost", "--scopes", "metrics:read")
    token = telerad(*add).stdout.strip()
    shown = {"Authorization": f"Bearer {token}"}
    address = up.ready["dicomweb"] + "/studies"  # known, and not for this scope
    assert httpx.get(address, headers=shown).status_code == httpx.codes.FORBIDDEN

    (row,) = [r for r in listed("token", "list", "--data", up.data) if r["name"] == "lost"]
    assert row["scopes"] == "metrics:read"
    assert token not in row.values()
    revoke = ("token", "revoke", row["id"], "--data", up.data)
    assert telerad(*revoke).returncode == 0

    assert httpx.get(address, headers=shown).status_code == httpx.codes.UNAUTHORIZED
    assert "lost" not in {r["name"] for r in listed("token", "list", "--data", up.data)}
    assert "no token" in refused(*revoke)


def test_an_account_is_closed_and_opened_again(up: Up) -> None:
    add = ("user", "add", "gone", "--name", "Gone", "--role", "administrator")
    done = telerad(*add, "--password-stdin", "--data", up.data, given="a long password\n")
    assert done.returncode == 0

    def state() -> str:
        (row,) = [r for r in listed("user", "list", "--data", up.data) if r["login"] == "gone"]
        return str(row["state"])

    for command, becomes in (("close", "closed"), ("close", "closed"), ("open", "open")):
        assert telerad("user", command, "gone", "--data", up.data).returncode == 0
        assert state() == becomes
    assert "nobody" in refused("user", "close", "nobody", "--data", up.data)


def test_a_person_who_was_added_can_sign_in(up: Up) -> None:
    add = ("user", "add", "head", "--name", "Head", "--role", "administrator")
    done = telerad(*add, "--password-stdin", "--data", up.data, given="a long password\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert "taken" in refused(*add, "--password-stdin", "--data", up.data, given="another one\n")

    with httpx.Client(base_url=up.ready["http"], follow_redirects=True) as browser:
        page = browser.get("/sign-in").text
        form_token = page.split('name="form_token" value="')[1].split('"')[0]
        told = {"form_token": form_token, "login": "head", "password": "a long password"}
        answer = browser.post("/sign-in", data=told)

    assert answer.status_code == httpx.codes.OK
    assert "/sign-in" not in str(answer.url)


def test_while_it_runs_doctor_verify_and_replay_answer(up: Up) -> None:
    verified = telerad("verify", "--data", up.data, "--json")
    doctor = telerad("doctor", "--data", up.data, "--json")
    parked = telerad("replay", "--list", "--data", up.data)

    assert json.loads(verified.stdout) == {"ok": True, "problems": {}}
    assert verified.returncode == 0
    assert all(check["ok"] for check in json.loads(doctor.stdout)["checks"])
    assert doctor.returncode == 0
    assert (parked.returncode, parked.stdout) == (0, "Nothing is parked.\n")


def test_it_ends_with_0_at_sigterm_and_a_second_start_finds_its_state(tmp_path: Path) -> None:
    order = {"accession": "KEPT", "patient_id": "P-9"}
    with running(tmp_path / "data") as first:
        assert first.ready["ae_title"] == "TELERAD"
        assert add_order(first, order).returncode == 0
        ended, rest = first.end()
        assert (ended, rest) == (0, "")
    with running(tmp_path / "data") as second:
        assert [row["accession"] for row in listed("order", "list", "--data", second.data)] == [
            "KEPT"
        ]
        assert second.end() == (0, "")


def test_the_uid_of_an_order_finds_a_study_without_accession(
    up: Up, device: str, tmp_path: Path
) -> None:
    uid = derived_uid("test-study", "")
    added = add_order(up, {"StudyInstanceUID": uid, "PatientID": "P-7"})

    assert (added.returncode, added.stderr) == (0, "")
    study = Study(accession="", patient_id="P-7")
    assert study.study_uid == uid
    if shutil.which("storescu"):
        assert store(up, device, film(study, tmp_path)).returncode == 0
        case_of(up, study, until=lambda case: case["study_uid"] == uid)

"""The pages around the reading: queue, desk, health, problems, and what stands around each answer.

Not covered here: how they look (tests/browser).
"""

import logging
import re
import socket
import subprocess
import sys
from dataclasses import replace
from urllib.parse import urlsplit

import httpx
import pytest

from app.http.application import create_app
from kernel.errors import Transient
from storage import outbox, unpacked
from tests.app.clinic import BY, NAME, PASSPHRASE, Clinic, multipart
from tests.app.web_server import WebServer
from worklist import commands as worklist
from worklist.act import Act
from worklist.case import CaseState
from worklist.profile import Profile

PAGES = ("/sign-in", "/queue", "/health", "/nowhere", "/metrics", "/static/telerad.css")


@pytest.mark.parametrize("path", PAGES)
def test_every_answer_carries_the_security_headers(clinic: Clinic, path: str):
    answer = clinic.browser("head").get(path)

    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    kept = answer.headers["cache-control"]
    assert ("immutable" in kept) if path.startswith("/static") else (kept == "no-store")


@pytest.mark.parametrize("login", ["one", "east", "head", "patient", "pharmacist", "eastadmin"])
def test_pages_need_no_inline_script_or_style(clinic: Clinic, login: str):
    clinic.offered()
    browser = clinic.browser(login)
    for path in ("/queue", f"/cases/{clinic.case().id}", "/desk", "/health"):
        text = browser.get(path).text
        assert not re.search(r"<style|style=|\son\w+=|javascript:|<script(?![^>]*src=)", text), path


def test_pages_work_when_the_libraries_were_not_fetched(clinic: Clinic, tmp_path):
    web = tmp_path / "web"
    web.mkdir()
    (web / "telerad.css").write_text("body { color: red }")
    server = WebServer(create_app(clinic.engine, web=web))
    try:
        page = httpx.get(f"{server.url}/sign-in").text
    finally:
        server.close()

    assert "telerad.css" in page
    assert "htmx" not in page.replace("htmx-config", "")


def test_a_program_gets_a_problem_document_and_a_person_a_page(clinic: Clinic):
    case = clinic.offered()
    client = clinic.browser("two").client
    for_person = client.get(f"/cases/{case.id}", headers={"Accept": "text/html"})
    for_program = client.get(f"/cases/{case.id}", headers={"Accept": "application/json"})

    assert for_person.status_code == for_program.status_code == 403
    assert "not, or no longer, open to you" in for_person.text
    assert for_program.headers["content-type"] == "application/problem+json"
    problem = for_program.json()
    assert problem["code"] == "identity.access_refused"
    assert problem["clause"] == "KZ §35"
    assert problem["status"] == 403


def test_a_form_beyond_its_bound_is_refused(clinic: Clinic):
    browser = clinic.browser("one")
    browser.get("/queue")

    assert browser.post("/presence", present="1" * 600_000).status_code == 413


def test_a_form_that_is_cut_short_is_no_fault_of_ours(
    clinic: Clinic, caplog: pytest.LogCaptureFixture
):
    """Anybody can send half a form and go: that must not fill the log with traces."""
    address = urlsplit(clinic.server.url)
    with socket.create_connection((address.hostname, address.port), timeout=30) as peer:
        peer.sendall(
            b"POST /sign-in HTTP/1.1\r\nHost: here\r\nContent-Length: 50\r\n"
            b"Content-Type: application/x-www-form-urlencoded\r\n\r\nlogin=me"
        )
        peer.shutdown(socket.SHUT_WR)
        peer.recv(1)

    assert clinic.browser().client.get("/sign-in").status_code == 200
    assert not [each for each in caplog.records if each.name == "uvicorn.error"]


def test_a_form_of_another_content_type_is_refused(clinic: Clinic):
    answer = clinic.browser("one").client.post("/presence", json={"present": "1"})

    assert answer.status_code == 415


def test_the_queue_is_walked_page_by_page_in_its_order(clinic: Clinic):
    clinic.browser("one")
    for number in range(40):
        clinic.ask(f"A-{number:02}", f"P-{number}")
        clinic.send(f"A-{number:02}", f"P-{number}")
    clinic.settle()
    browser = clinic.browser("one")

    page = browser.get("/queue").text
    seen = re.findall(r"DX (A-\d\d)</a>", page)
    following = re.search(r"/queue\?profile=thoracic&amp;after=[0-9a-f-]{36}", page)
    assert following is not None
    rest = re.findall(
        r"DX (A-\d\d)</a>", browser.get(following.group(0).replace("&amp;", "&")).text
    )

    assert len(seen) == 25
    assert [*seen, *rest] == sorted({*seen, *rest})
    assert len({*seen, *rest}) == 37  # three are offered


def test_the_desk_shows_each_thing_that_does_not_move_with_its_reason(clinic: Clinic):
    clinic.ask("A-9", "P-9")
    clinic.send("A-8", "P-8")
    clinic.program("dicomweb:write").post("/dicomweb/studies", **multipart(b"no DICOM at all"))
    clinic.settle()

    desk = clinic.browser("head").get("/desk").text

    assert "The study has not arrived." in desk
    assert "No request asks for this study." in desk
    assert "the file has no DICM prefix" in desk
    assert clinic.browser("eastadmin").get("/desk").status_code == 403


def test_a_study_and_a_request_are_joined_by_a_person_who_vouches(clinic: Clinic):
    clinic.ask("A-9", "P-9")
    clinic.send("A-8", "P-8")
    clinic.settle()
    head = clinic.browser("head")
    desk = head.get("/desk").text
    study = re.search(r'name="study_uid" value="([\d.]+)"', desk)
    request = re.search(r'<option value="([0-9a-f-]{36})"', desk)
    assert study is not None
    assert request is not None
    fields = {"study_uid": study.group(1), "request_id": request.group(1)}

    assert head.post("/desk/attach", **fields).status_code == 409
    assert head.post("/desk/attach", **fields, same_person="1").status_code == 303
    assert clinic.case("A-9").state is CaseState.RECEIVED


def test_a_parked_step_is_shown_and_replayed(clinic: Clinic):
    clinic.ask()
    clinic.send()
    clinic.settle()
    with clinic.parts.database.transaction() as tx:
        telling = outbox.Telling(1, "dicom_node.orders")
        outbox.failed(tx, telling, outbox.TellingUnknown("for the test"))
    head = clinic.browser("head")
    assert "for the test" in head.get("/desk").text

    assert head.post("/desk/replay", fact_seq="1", consumer="dicom_node.orders").status_code == 303
    with clinic.parts.database.reading() as tx:
        assert outbox.parked(tx) == []


def test_an_escalated_case_is_put_back_by_a_dispatcher_with_a_reason(clinic: Clinic):
    case = clinic.offered()
    reader = clinic.browser("one")
    reader.get("/queue")
    reader.post(f"/cases/{case.id}/decline", reason="conflict")
    with clinic.parts.database.transaction() as tx:
        worklist.set_presence(tx, "r-two", present=True, act=Act(tx.at, BY))
    clinic.settle()
    reader = clinic.browser("two")
    reader.get("/queue")
    reader.post(f"/cases/{case.id}/decline", reason="conflict")
    clinic.settle()
    assert clinic.case().state is CaseState.ESCALATED

    head = clinic.browser("head")
    assert "A-1" in head.get("/queue").text
    assert head.post(f"/cases/{case.id}/put-back", note="asked them").status_code == 303
    assert clinic.case().state is CaseState.QUEUED


def test_the_desk_says_where_there_are_more_studies_that_wait_than_it_shows(clinic: Clinic):
    def arriving() -> str:
        page = clinic.browser("head").get("/desk").text
        return re.search(r'waited for <span class="count">([^<]*)<', page)[1]

    for number in range(1, 21):
        clinic.send(f"A-{number}")
    assert arriving() == "20"
    clinic.send("A-21")
    assert arriving() == "20+"


def test_what_health_cannot_look_for_is_told_as_failed(clinic: Clinic, monkeypatch):
    def away(_tx: object) -> None:
        raise Transient("the database did not answer")

    monkeypatch.setattr(unpacked, "waiting", away)
    server = WebServer(create_app(clinic.engine))
    try:
        health = httpx.get(f"{server.url}/health")
    finally:
        server.close()

    (check,) = [each for each in health.json()["checks"] if each["name"] == "packing"]
    assert (health.status_code, check["ok"]) == (200, False)
    assert check["sentence"] == "the database did not answer"


def test_health_says_which_part_fails_and_stays_alive(clinic: Clinic):
    def broken() -> None:
        raise Transient("the relay has not turned for a minute")

    server = WebServer(create_app(replace(clinic.engine, ready_checks={"relay": broken})))
    try:
        health = httpx.get(f"{server.url}/health")
        live = httpx.get(f"{server.url}/health/live")
        page = httpx.get(f"{server.url}/health", headers={"Accept": "text/html"})
    finally:
        server.close()

    assert (health.status_code, live.status_code) == (503, 200)
    checks = {check["name"]: check["ok"] for check in health.json()["checks"]}
    assert checks == {
        "database": True,
        "objects": True,
        "relay": False,
        "packing": True,
        "packs": True,
    }
    assert "the relay has not turned for a minute" in page.text
    assert httpx.get(f"{clinic.server.url}/health/ready").status_code == 200


def test_metrics_count_answers_and_name_nobody(clinic: Clinic):
    case = clinic.offered()
    clinic.browser("east").get(f"/cases/{case.id}")
    text = httpx.get(f"{clinic.server.url}/metrics").text

    assert 'telerad_cases{state="offered"} 1.0' in text
    assert 'route="/cases/{case_id}"' in text
    for secret in (case.id, "Marked", "P-1", "A-1"):
        assert secret not in text


@pytest.mark.parametrize(
    "header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "X-Forwarded-Host", "Via"]
)
def test_metrics_are_for_this_machine_and_for_those_who_may_watch(clinic: Clinic, header: str):
    through = {header: "127.0.0.1"}

    def asked(client: httpx.Client) -> int:
        return client.get("/metrics", headers=through).status_code

    nobody = clinic.browser().client
    assert nobody.get("/metrics").status_code == 200
    assert asked(nobody) == 401
    assert asked(clinic.program("fhir:read dicomweb:read")) == 403
    assert asked(clinic.program("metrics:read")) == 200
    assert clinic.browser("one").client.get("/metrics", headers=through).status_code == 403
    assert clinic.browser("eastadmin").client.get("/metrics", headers=through).status_code == 403
    assert clinic.browser("head").client.get("/metrics", headers=through).status_code == 200
    assert asked(clinic.program("metrics:read", "east")) == 200


def test_no_patient_data_reaches_the_log(
    clinic: Clinic, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
):
    caplog.set_level(logging.DEBUG)
    case = clinic.offered("ACC-MARKED", "P-1")
    reader = clinic.browser("one")
    reader.get("/queue")
    reader.post(f"/cases/{case.id}/accept")
    reader.write(case, "Marked findings.", "Marked impression.", then="finalise")
    reader.post(f"/cases/{case.id}/sign", version="1", passphrase="marked-wrong")
    reader.post(f"/cases/{case.id}/sign", version="1", passphrase=PASSPHRASE)
    clinic.program("dicomweb:read").get("/dicomweb/studies", params={"PatientID": "P-1"})
    clinic.browser().sign_in("marked-login", "marked-password")
    clinic.settle()

    # The test's own client logs its requests; the access log of uvicorn is off where it serves.
    others = ("httpx", "httpcore", "uvicorn.access")
    ours = [r.getMessage() for r in caplog.records if not r.name.startswith(others)]
    said = "\n".join(ours) + "".join(capsys.readouterr())
    assert "http.answered" in said
    for marked in (NAME, "Marked", "P-1", "ACC-MARKED", "marked-"):
        assert marked not in said


def test_the_web_starts_without_models_fonts_or_dicom_toolkits():
    heavy = ("torch", "onnxruntime", "monai", "typst", "pyhanko", "highdicom", "fhir", "pydicom")
    code = "import sys, app.http.application; print(*sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    loaded = {name.split(".")[0] for name in told.stdout.split()}
    assert not loaded & set(heavy)


def test_a_profile_that_nobody_put_into_words_is_still_shown(clinic: Clinic):
    with clinic.parts.database.transaction() as tx:
        worklist.add_profile(
            tx,
            Profile("new", "A <new> profile"),
            settings=clinic.parts.worklist,
            act=Act(tx.at, BY),
        )

    assert clinic.browser("one").get("/queue").status_code == 200

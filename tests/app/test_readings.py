"""Reading cases as workitems: one a claim, and the claim through the workitem."""

from typing import Any

import httpx
import pytest
from sqlalchemy import text

from app.orders import ensure_site
from dicom_node.workitems.subscriber import GLOBAL
from kernel.ids import PatientRef, StudyUID, derived_uid
from storage import corrections, patients
from tests.app.clinic import BY, NAME, Browser, Clinic
from tests.app.test_access import signed
from tests.app.test_workitem_events import channel, events, told
from tests.app.test_workitems import JSON, change, send, update, warning
from worklist import commands as worklist
from worklist.act import Act
from worklist.case import CancelReason, CaseState
from worklist.request import NewRequest

LOCK = "1.2.3.77"
PROGRESS, REASON, CODE = "00741002", "0074100E", "00080100"


def readings(clinic: Clinic) -> list[dict[str, Any]]:
    """Return the workitems of readings, as a program sees them, the oldest first."""
    program = clinic.program("dicomweb:read")
    answer = send(
        program, "GET", "/workitems", params={"ScheduledWorkitemCodeSequence.CodeValue": "110005"}
    )
    assert answer.status_code == 200, answer.text
    found = [item for item in answer.json() if item["00741202"]["Value"] == ["READING"]]
    order = {"COMPLETED": 0, "CANCELED": 0, "IN PROGRESS": 1, "SCHEDULED": 2}
    return sorted(found, key=lambda item: order[state_of(item)])


def state_of(item: dict[str, Any]) -> str:
    return str(item["00741000"]["Value"][0])


def states(clinic: Clinic) -> list[str]:
    return [state_of(item) for item in readings(clinic)]


def reason_of(item: dict[str, Any]) -> str:
    (step,) = item[PROGRESS]["Value"]
    return str(step[REASON]["Value"][0][CODE]["Value"][0])


def uid_of(item: dict[str, Any]) -> str:
    return str(item["00080018"]["Value"][0])


def person(clinic: Clinic, login: str) -> tuple[Browser, httpx.Client]:
    """Return a browser, and its client with the token of its pages for calls of scripts."""
    browser = clinic.browser(login)
    browser.client.headers["X-Form-Token"] = browser.token
    return browser, browser.client


def test_an_offered_case_has_a_scheduled_workitem_that_says_what_is_to_be_read(clinic: Clinic):
    case = clinic.offered()

    (item,) = readings(clinic)

    assert state_of(item) == "SCHEDULED"
    assert item["0020000D"]["Value"] == [str(case.study_uid)]
    assert item["00404021"]["Value"][0]["0020000D"]["Value"] == [str(case.study_uid)]
    assert item["00100010"]["Value"] == [{"Alphabetic": NAME}]
    (performer,) = item["00404034"]["Value"]
    assert performer["00404009"]["Value"][0][CODE]["Value"] == ["r-one"]


def test_a_search_that_cannot_ask_whose_a_reading_is_fails_and_finds_not_nothing(clinic: Clinic):
    clinic.offered()
    _, one = person(clinic, "one")
    engine = clinic.parts.database

    def renamed(old: str, new: str) -> None:
        with engine.transaction() as tx:
            tx.execute(text(f"ALTER TABLE {old} RENAME TO {new}"))

    assert len(send(one, "GET", "/workitems").json()) == 1
    renamed("cases", "cases_away")
    try:
        answer = send(one, "GET", "/workitems")
    finally:
        renamed("cases_away", "cases")

    assert (answer.status_code, answer.json()["code"]) == (503, "storage.database_unavailable")
    assert len(send(one, "GET", "/workitems").json()) == 1


def test_a_claim_in_the_engine_begins_it_and_the_signature_completes_it(clinic: Clinic):
    case = signed(clinic)

    (item,) = readings(clinic)
    assert state_of(item) == "COMPLETED"
    (performed,) = item["00741216"]["Value"]
    (output,) = performed["00404033"]["Value"]
    (reference,) = output["00081199"]["Value"]
    assert reference["00081155"]["Value"] == [
        derived_uid("report.sr", str(case.report_id), int(case.report_version or 0))
    ]
    assert performed["00404050"]["Value"] <= performed["00404051"]["Value"]


def test_a_case_given_back_ends_its_workitem_with_the_reason_and_schedules_another(clinic: Clinic):
    case = clinic.offered()
    with clinic.parts.database.transaction() as tx:
        worklist.accept(tx, case.id, "r-one", settings=clinic.parts.worklist, act=Act(tx.at, BY))
    clinic.settle()
    with clinic.parts.database.transaction() as tx:
        worklist.release(tx, case.id, act=Act(tx.at, BY))
    clinic.settle()

    ended, following = readings(clinic)
    assert (state_of(ended), state_of(following)) == ("CANCELED", "SCHEDULED")
    assert reason_of(ended) == "110530"


def test_a_cancelled_request_cancels_the_workitem(clinic: Clinic):
    case = clinic.offered()
    with clinic.parts.database.transaction() as tx:
        worklist.cancel(tx, case.id, CancelReason.DUPLICATE, act=Act(tx.at, BY))
    clinic.settle()

    (item,) = readings(clinic)
    assert (state_of(item), reason_of(item)) == ("CANCELED", "110510")


def test_the_consultant_to_whom_it_is_offered_claims_it_through_the_workitem(clinic: Clinic):
    case = clinic.offered()
    _, one = person(clinic, "one")
    (item,) = readings(clinic)
    uid = uid_of(item)

    taken = change(one, uid, "IN PROGRESS", LOCK)

    assert taken.status_code == 200, taken.text
    held = clinic.case()
    assert (held.id, held.state, held.holder) == (case.id, CaseState.READING, "r-one")
    clinic.settle()
    assert states(clinic) == ["IN PROGRESS"]  # the claim came through it: it is not begun twice
    assert change(one, uid, "IN PROGRESS", LOCK).status_code == 409
    completed = change(one, uid, "COMPLETED", LOCK)
    assert (completed.status_code, completed.json()["code"]) == (
        409,
        "workitems.final_state_unmet",
    )
    assert change(one, uid, "COMPLETED", "1.2.3.9").status_code == 400


def test_who_claimed_through_the_workitem_gives_back_through_it(clinic: Clinic):
    clinic.offered()
    _, one = person(clinic, "one")
    uid = uid_of(readings(clinic)[0])
    change(one, uid, "IN PROGRESS", LOCK)
    clinic.settle()
    why = {
        PROGRESS: {
            "vr": "SQ",
            "Value": [
                {
                    REASON: {
                        "vr": "SQ",
                        "Value": [
                            {
                                CODE: {"vr": "SH", "Value": ["110532"]},
                                "00080102": {"vr": "SH", "Value": ["DCM"]},
                                "00080104": {"vr": "LO", "Value": ["Requires specialist"]},
                            }
                        ],
                    }
                }
            ],
        }
    }
    assert update(one, uid, why, LOCK).status_code == 200
    assert change(one, uid, "CANCELED", LOCK).status_code == 200
    assert clinic.case().holder is None
    clinic.settle()

    ended, following = readings(clinic)
    assert (state_of(ended), reason_of(ended)) == ("CANCELED", "110532")
    assert (uid_of(ended), state_of(following)) == (uid, "SCHEDULED")


@pytest.mark.parametrize("login", ["two", "head", "east"])
def test_nobody_else_claims_it_whatever_else_is_open_to_them(clinic: Clinic, login: str):
    clinic.offered()
    uid = uid_of(readings(clinic)[0])
    _, other = person(clinic, login)

    refused = change(other, uid, "IN PROGRESS", LOCK)

    assert refused.status_code in {403, 404}, refused.text
    assert clinic.case().state is CaseState.OFFERED
    assert states(clinic) == ["SCHEDULED"]


def test_a_program_looks_and_does_not_read(clinic: Clinic):
    clinic.offered()
    uid = uid_of(readings(clinic)[0])
    program = clinic.program("dicomweb:read dicomweb:write")

    assert change(program, uid, "IN PROGRESS", LOCK).status_code == 403
    assert update(program, uid, {"00404005": {"vr": "DT", "Value": ["2026"]}}).status_code == 400
    asked = send(program, "POST", f"/workitems/{uid}/cancelrequest")
    assert (asked.status_code, warning(asked)) == (409, "Performer chooses not to cancel.")
    assert states(clinic) == ["SCHEDULED"]


def test_people_see_the_readings_that_are_open_to_them_and_patients_only_there(clinic: Clinic):
    clinic.offered()
    uid = uid_of(readings(clinic)[0])

    def seen(login: str) -> dict[str, Any] | None:
        answer = send(clinic.browser(login).client, "GET", f"/workitems/{uid}")
        return answer.json()[0] if answer.status_code == 200 else None

    offered, site = seen("one"), seen("east")
    assert offered is not None
    assert "00100010" not in offered  # who it is about is told to who holds the case
    assert site is not None
    assert site["00100010"]["Value"] == [{"Alphabetic": NAME}]
    assert seen("two") is None
    assert seen("west") is None
    for login in ("patient", "pharmacist"):
        answer = send(clinic.browser(login).client, "GET", "/workitems", headers={"Accept": JSON})
        assert answer.status_code == 403
    by_name = send(clinic.browser("one").client, "GET", "/workitems?PatientName=Marked*")
    assert by_name.json() == []
    by_name = send(clinic.browser("east").client, "GET", "/workitems?PatientName=Marked*")
    assert len(by_name.json()) == 1


def test_a_page_of_another_site_changes_nothing_with_a_persons_cookies(clinic: Clinic):
    clinic.offered()
    uid = uid_of(readings(clinic)[0])

    forged = change(clinic.browser("one").client, uid, "IN PROGRESS", LOCK)

    assert forged.status_code == 403
    assert clinic.case().state is CaseState.OFFERED


def test_who_watches_all_is_told_of_each_step_of_a_reading(clinic: Clinic):
    program = clinic.program("dicomweb:read dicomweb:write")
    send(program, "POST", f"/workitems/{GLOBAL}/subscribers/BOARD")
    case = clinic.offered()
    with clinic.parts.database.transaction() as tx:
        worklist.accept(tx, case.id, "r-one", settings=clinic.parts.worklist, act=Act(tx.at, BY))
    clinic.settle()
    uid = uid_of(readings(clinic)[0])

    with channel(program, "BOARD") as socket:
        heard = [told(event) for event in events(socket, 3)]

    assert heard == [(uid, 1, "SCHEDULED"), (uid, 5, ""), (uid, 1, "IN PROGRESS")]


def test_a_reading_is_about_who_stands_for_its_patient(clinic: Clinic):
    clinic.offered()
    with clinic.parts.database.transaction() as tx:
        (goes,) = patients.find(tx, "P-1")
        stays = patients.register(
            tx, issuer="CITY", patient_id="C-7", name="Right^Name", sex="F", birth_date=None
        )
        made = corrections.merge(tx, goes.ref, stays, reason="one person", actor=BY)
    clinic.settle()

    (item,) = readings(clinic)
    assert item["00100020"]["Value"] == ["C-7"]
    assert item["00100010"]["Value"] == [{"Alphabetic": "Right^Name"}]
    assert item["00100021"]["Value"] == ["CITY"]
    program = clinic.program("dicomweb:read")
    one = send(program, "GET", f"/workitems/{uid_of(item)}").json()[0]
    assert one["00100020"]["Value"] == ["C-7"]
    for asked, count in (("C-7", 1), ("P-1", 0)):
        found = send(program, "GET", "/workitems", params={"PatientID": asked})
        assert len(found.json() if found.content else []) == count
    with clinic.parts.database.transaction() as tx:
        said = {"name": "Other^Name"}
        corrections.correct_patient(tx, stays, said, reason="typed wrong", actor=BY)
    assert readings(clinic)[0]["00100010"]["Value"] == [{"Alphabetic": "Other^Name"}]
    with clinic.parts.database.transaction() as tx:
        corrections.withdraw(tx, made.number, reason="two persons", actor=BY)
    clinic.settle()
    assert readings(clinic)[0]["00100010"]["Value"] == [{"Alphabetic": NAME}]


def test_a_reading_that_follows_its_study_is_about_the_right_patient(clinic: Clinic):
    clinic.send()
    study = _asked_without_a_patient(clinic)
    clinic.settle()
    assert readings(clinic)[0]["00100020"]["Value"] == ["P-1"]
    with clinic.parts.database.transaction() as tx:
        right = patients.register(
            tx, issuer="CITY", patient_id="C-8", name="Right^Name", sex="F", birth_date=None
        )
        made = corrections.move_study(tx, study, right, reason="wrong line", actor=BY)
    clinic.settle()
    assert readings(clinic)[0]["00100020"]["Value"] == ["C-8"]
    with clinic.parts.database.transaction() as tx:
        corrections.withdraw(tx, made.number, reason="it was right", actor=BY)
    clinic.settle()
    assert readings(clinic)[0]["00100020"]["Value"] == ["P-1"]


def _asked_without_a_patient(clinic: Clinic) -> str:
    """Enter a request that names its study alone; return the study."""
    study = StudyUID(derived_uid("study", "A-1"))
    with clinic.parts.database.transaction() as tx:
        new = NewRequest(
            organisation_id=ensure_site(tx, "east", by=BY),
            patient_ref=PatientRef(""),  # it names the study alone
            accession="A-1",
            study_uid=study,
            modality="DX",
        )
        worklist.add_request(tx, new, act=Act(tx.at, BY))
    return study

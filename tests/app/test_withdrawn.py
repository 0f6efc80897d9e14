"""A withdrawn study over HTTP: on no route of DICOMweb, whoever asks."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text

from app import keeping
from app.http.application import create_app
from app.http.dicom_address import INSTANCE, SERIES, STUDY
from kernel.people import Actor, Role
from storage import audit, withdrawals
from storage.retention import Retention
from tests.app.clinic import Clinic
from tests.app.test_sight import SEARCHES, Site, routes
from tests.cli.command import listed, refused, telerad

BY = Actor("user:admin", Role.ADMINISTRATOR)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    clinic = Clinic(tmp_path_factory.mktemp("withdrawn"))
    yield Site(clinic)
    clinic.close()


def test_every_route_that_shows_a_study_shows_it_no_more_and_then_again(site: Site) -> None:
    walked = [
        template
        for method, template in routes(create_app(site.clinic.engine).routes)
        if method == "GET" and ("study" in template or template in SEARCHES or "wado" in template)
    ]
    assert len(walked) > 15
    before = {template: site.east.get(site.filled(template)).status_code for template in walked}
    assert set(before.values()) <= {200, 206}
    with site.clinic.parts.database.transaction() as tx:
        made = keeping.withdraw(
            tx, site.uids["study_uid"], "113001", Retention(), organisation="east", actor=BY
        )
    for template in walked:
        for who in (site.east, site.node):
            answer = who.get(site.filled(template))
            if template in SEARCHES:
                assert answer.status_code in (200, 204, 404), template
                assert site.uids["study_uid"] not in answer.text, template
            else:
                assert answer.status_code == 404, template
    with site.clinic.parts.database.transaction() as tx:
        withdrawals.restore(tx, made.number, actor=BY)
    for template in walked:
        assert site.east.get(site.filled(template)).status_code == before[template], template


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Site]:
    clinic = Clinic(tmp_path)
    yield Site(clinic)
    clinic.close()


def deleted(
    who: httpx.Client, address: str, reason: str | list[str] = "113001", *, token: str = ""
) -> tuple[int, str]:
    answer = who.delete(address, params={"reason": reason}, headers={"X-Form-Token": token})
    return answer.status_code, answer.json()["code"] if answer.content else ""


@pytest.mark.parametrize("level", [STUDY, SERIES, INSTANCE])
def test_the_program_that_sent_a_study_withdraws_it_and_the_desk_brings_it_back(
    own: Site, level: str
) -> None:
    address = own.filled(f"/dicomweb{level}")
    assert deleted(own.east, address) == (204, "")
    assert own.east.get(address).status_code == 404
    assert deleted(own.east, address)[0] == 404
    head = own.clinic.browser("head")
    assert "Rejected for Quality Reasons" in head.get("/desk").text
    assert head.post("/desk/restore", number="1").status_code == 303
    assert own.east.get(address).status_code == 200


def test_a_refusal_names_its_rule(own: Site) -> None:
    address = own.filled(f"/dicomweb{STUDY}")
    reader = own.clinic.program("dicomweb:read", "east")
    assert deleted(reader, address)[0] == 403
    assert deleted(own.west, address)[0] == 404
    assert deleted(own.east, "/dicomweb/studies/1.2.3.4.5")[0] == 404
    assert deleted(own.east, "/dicomweb/studies/not-a-uid")[0] == 404
    assert deleted(own.east, address, "") == (400, "retention.reason_unknown")
    twice = ["113037", "113001"]
    assert deleted(own.east, address, twice) == (400, "http.body_malformed")
    assert deleted(own.east, address, "113039") == (409, "retention.not_over")
    with own.clinic.parts.database.transaction() as tx:
        withdrawals.hold(tx, own.uids["study_uid"], reason="court order", actor=BY)
    assert deleted(own.east, address) == (409, "retention.under_hold")
    assert own.east.get(address).status_code == 200


def test_an_administrator_of_the_owner_withdraws_from_a_page_of_the_session(own: Site) -> None:
    address = own.filled(f"/dicomweb{STUDY}")
    for login, answer in (
        ("westadmin", (403, "retention.not_the_owner")),
        ("head", (403, "retention.not_the_owner")),
        ("east", (403, "identity.access_refused")),
    ):
        person = own.clinic.browser(login)
        person.get("/queue")
        assert deleted(person.client, address, token=person.token) == answer, login
    admin = own.clinic.browser("eastadmin")
    admin.get("/queue")
    assert deleted(admin.client, address)[0] == 403
    assert deleted(admin.client, address, token=admin.token) == (204, "")
    with own.clinic.parts.database.reading() as tx:
        refused = [each for each in audit.latest(tx) if each.action == "access.refused"]
    assert len(refused) == 3


def over(site: Site) -> str:
    """Let the retention of the study be over, and have the engine look."""
    uid = site.uids["study_uid"]
    with site.clinic.parts.database.transaction() as tx:
        long_ago = {"at": "1990-01-01 00:00:00", "uid": uid}
        aged = "UPDATE studies SET first_arrival_at = :at, last_arrival_at = :at"
        tx.execute(text(f"{aged} WHERE study_uid = :uid"), long_ago)
    site.clinic.settle()
    return uid


def test_the_desk_shows_whose_retention_is_over_and_a_person_decides(own: Site) -> None:
    head = own.clinic.browser("head")
    uid = over(own)
    assert uid in head.get("/desk").text
    kept = head.post("/desk/retention", study_uid=uid, decision="keep", reason="a study runs")
    assert kept.status_code == 303
    assert "Withdraw</button>" not in head.get("/desk").text
    assert head.post("/desk/retention", study_uid=uid, decision="withdraw").status_code == 404


def test_a_study_that_is_withdrawn_from_the_list_is_seen_no_more(own: Site) -> None:
    address = own.filled(f"/dicomweb{STUDY}")
    uid = over(own)
    assert own.east.get(address).status_code == 200
    head = own.clinic.browser("head")
    head.get("/desk")
    assert head.post("/desk/retention", study_uid=uid, decision="").status_code == 400
    assert head.post("/desk/retention", study_uid=uid, decision="withdraw").status_code == 303
    assert own.east.get(address).status_code == 404
    assert "Data Retention Policy Expired" in head.get("/desk").text
    assert head.post("/desk/restore", number="1").status_code == 303
    assert own.east.get(address).status_code == 200
    page = head.get("/desk").text
    assert "it stays until a person withdraws it" in page
    assert 'value="withdraw">Withdraw</button>' in page


def test_nobody_but_who_looks_after_the_desk_ends_retention(own: Site) -> None:
    uid = over(own)
    for login in ("east", "eastadmin"):
        person = own.clinic.browser(login)
        person.get("/queue")
        answer = person.post("/desk/retention", study_uid=uid, decision="withdraw")
        assert answer.status_code == 403, login


def test_the_commands_list_withdraw_and_keep(own: Site) -> None:
    uid = over(own)
    data = own.clinic.parts.settings.data
    (row,) = listed("retention", "list", "--data", data)
    assert (row["study"], row["state"], row["kept_until"]) == (uid, "proposed", "2015-01-01")
    assert "--all" in refused("retention", "withdraw", "--data", data)
    done = telerad("retention", "withdraw", uid, "1.2.3.4", "--data", data)
    assert f"{uid}  withdrawn" in done.stdout
    assert "1.2.3.4  stays: the retention of this study was not found to be over" in done.stdout
    assert (done.returncode, "1 of 2 stay" in done.stderr) == (1, True)
    assert listed("retention", "list", "--data", data) == []
    assert "not found to be over" in refused(
        "retention", "keep", uid, "--years", "2", "--reason", "x", "--data", data
    )
    assert telerad("study", "restore", uid, "--data", data).returncode == 0
    (row,) = listed("retention", "list", "--data", data)
    assert row["state"] == "restored"
    assert "Brought back by system:cli" in row["because"]
    all_of_them = telerad("retention", "withdraw", "--all", "--data", data)
    assert (all_of_them.returncode, all_of_them.stdout) == (0, "There are none.\n")
    assert telerad("retention", "withdraw", uid, "--data", data).returncode == 0
    assert telerad("study", "restore", uid, "--years", "3", "--data", data).returncode == 0
    assert listed("retention", "list", "--data", data) == []

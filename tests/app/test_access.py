"""Who sees what: every role against every page of a case, through its whole life (KZ §35, §40).

Not covered here: the rules of DICOMweb and FHIR for people, which are beside their protocols.
"""

import re
from enum import StrEnum

import pytest

from app.identity.person import Person
from app.identity.policy import Right, Surroundings, rights
from kernel.people import ENGINE, Role
from storage import audit
from tests.app.clinic import PASSPHRASE, Browser, Clinic
from tests.worklist.examples import a_case
from worklist.case import Case, CaseState

EVERYBODY = (
    "one",
    "two",
    "east",
    "west",
    "head",
    "eastadmin",
    "westadmin",
    "patient",
    "pharmacist",
)
PAGES = {
    "case": "/cases/{case}",
    "read": "/cases/{case}/read",
    "picture": "/cases/{case}/pictures/{image}.png",
    "pdf": "/cases/{case}/report/1.pdf",
    "sr": "/cases/{case}/report/1.dcm",
    "fhir": "/cases/{case}/report/1.fhir.json",
    "preview": "/cases/{case}/preview.pdf",
}


def doors(clinic: Clinic, case: Case) -> dict[str, set[str]]:
    """Return who gets through which door."""
    image = clinic.engine.archive.instances_of(case.study_uid)[0]
    open_to: dict[str, set[str]] = {page: set() for page in PAGES}
    for login in EVERYBODY:
        browser = clinic.browser(login)
        for page, path in PAGES.items():
            answer = browser.get(path.format(case=case.id, image=image))
            assert answer.status_code in {200, 403, 404}, (login, page, answer.status_code)
            if answer.status_code != 403:
                open_to[page].add(login)
    return open_to


def signed(clinic: Clinic) -> Case:
    case = clinic.offered()
    reader = clinic.browser("one")
    reader.get("/queue")
    reader.post(f"/cases/{case.id}/accept")
    reader.write(case, "Clear.", "Normal.", then="finalise")
    reader.post(f"/cases/{case.id}/sign", version="1", passphrase=PASSPHRASE)
    clinic.settle()
    return clinic.case()


RECORD = {"east", "patient"}
HEADS = {"head", "eastadmin"}


def test_an_offered_case_shows_its_place_to_the_asked_and_its_images_to_none_of_them(
    clinic: Clinic,
):
    assert doors(clinic, clinic.offered()) == {
        "case": {"one"} | RECORD | HEADS,
        "read": set(),
        "picture": RECORD,
        "pdf": RECORD,  # there is none yet: not found
        "sr": RECORD,
        "fhir": RECORD,
        "preview": set(),
    }


def test_a_case_being_read_is_open_to_its_holder_and_to_no_other_consultant(clinic: Clinic):
    case = clinic.offered()
    reader = clinic.browser("one")
    reader.get("/queue")
    reader.post(f"/cases/{case.id}/accept")

    assert doors(clinic, case) == {
        "case": {"one"} | RECORD | HEADS,
        "read": {"one"},
        "picture": {"one"} | RECORD,
        "pdf": {"one"} | RECORD,
        "sr": {"one"} | RECORD,
        "fhir": {"one"} | RECORD,
        "preview": {"one"},
    }


def test_access_of_the_consultant_ends_with_the_signature_but_for_the_own_words(clinic: Clinic):
    assert doors(clinic, signed(clinic)) == {
        "case": {"one"} | RECORD | HEADS,
        "read": set(),
        "picture": RECORD,
        "pdf": {"one"} | RECORD,
        "sr": {"one"} | RECORD,
        "fhir": {"one"} | RECORD,
        "preview": set(),
    }


def test_giving_the_case_back_ends_access_at_once(clinic: Clinic):
    case = clinic.offered()
    reader = clinic.browser("one")
    reader.get("/queue")
    reader.post(f"/cases/{case.id}/accept")
    reader.get(f"/cases/{case.id}/read")
    assert reader.post(f"/cases/{case.id}/release", note="on call").status_code == 303

    image = clinic.engine.archive.instances_of(case.study_uid)[0]
    assert reader.get(f"/cases/{case.id}/pictures/{image}.png").status_code == 403
    assert reader.get(f"/cases/{case.id}/read").status_code == 403
    assert clinic.case().state is CaseState.QUEUED


@pytest.mark.parametrize("login", ["head", "eastadmin"])
def test_administrators_see_where_a_case_stands_but_not_whose_it_is(clinic: Clinic, login: str):
    page = clinic.browser(login).get(f"/cases/{signed(clinic).id}")

    assert page.status_code == 200
    assert "Marked" not in page.text
    assert "not open to you" in page.text


def test_the_patient_sees_the_record_and_who_had_access(clinic: Clinic):
    case = signed(clinic)
    page = clinic.browser("patient").get(f"/cases/{case.id}")

    assert "Marked Patient" in page.text
    assert "signed the report" in page.text
    assert "Name of one" in page.text


def test_every_showing_and_every_refusal_is_in_the_journal_of_the_case(clinic: Clinic):
    case = clinic.offered()
    image = clinic.engine.archive.instances_of(case.study_uid)[0]
    clinic.browser("east").get(f"/cases/{case.id}/pictures/{image}.png")
    clinic.browser("two").get(f"/cases/{case.id}/pictures/{image}.png")
    clinic.browser("west").get(f"/cases/{case.id}")

    with clinic.parts.database.reading() as tx:
        seen = [
            (entry.action, entry.outcome, entry.role)
            for entry in audit.of_case(tx, case.id)
            if entry.role not in {"system", "device"}
        ]
        assert list(audit.verify(tx)) == []
    assert seen == [
        ("image.viewed", "success", "attending"),
        ("access.refused", "refused", "consultant"),
        ("access.refused", "refused", "technologist"),
    ]


class Former(StrEnum):
    """What rows say that were written before there was one word."""

    FAILURE = "failure"


def test_what_the_journal_once_called_otherwise_stays_in_the_chain_and_is_shown_as_the_rest(
    clinic: Clinic,
):
    case = clinic.offered()
    with clinic.parts.database.transaction() as tx:
        for outcome in (Former.FAILURE, audit.Outcome.FAILED):
            audit.record(
                tx,
                actor=ENGINE,
                action="delivery.rejected",
                subject="delivery:1",
                case_id=case.id,
                outcome=outcome,
            )
    page = clinic.browser("patient").get(f"/cases/{case.id}").text

    rows = re.findall("<td>noted a refused delivery</td><td>(.*?)</td>", page)
    assert rows == ["failed", "failed"]
    with clinic.parts.database.reading() as tx:
        written = [each.outcome for each in audit.latest(tx) if each.subject == "delivery:1"]
        assert written == ["failed", "failure"]
        assert list(audit.verify(tx)) == []


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/cases/{case}/accept", {}),
        ("/cases/{case}/decline", {"reason": "no_time"}),
        ("/cases/{case}/report", {"revision": "1"}),
        ("/cases/{case}/sign", {"version": "1", "passphrase": "x"}),
        ("/cases/{case}/release", {"note": "x"}),
        ("/cases/{case}/put-back", {"note": "x"}),
        ("/cases/{case}/late-images", {}),
        ("/desk/replay", {"fact_seq": "1", "consumer": "x"}),
        ("/desk/attach", {"study_uid": "1.2", "request_id": "x"}),
        ("/presence", {"present": "1"}),
    ],
)
def test_nobody_acts_on_what_is_not_theirs(clinic: Clinic, path: str, fields: dict[str, str]):
    case = clinic.offered()
    for login in ("west", "patient", "pharmacist", "westadmin"):
        browser = clinic.browser(login)
        assert browser.post(path.format(case=case.id), **fields).status_code == 403
    assert clinic.case() == case


def test_only_the_asked_consultant_may_answer_the_offer(clinic: Clinic):
    case = clinic.offered()
    other = clinic.browser("two")
    other.get("/queue")

    assert other.post(f"/cases/{case.id}/accept").status_code == 403
    assert clinic.case().offered_to == "r-one"


def test_the_waiting_list_of_a_profile_is_for_its_consultants(clinic: Clinic):
    with_one_absent(clinic)
    clinic.offered()

    assert "DX A-1" in clinic.browser("two").get("/queue").text
    assert "DX A-1" not in clinic.browser("west").get("/queue").text
    assert "DX A-1" not in clinic.browser("pharmacist").get("/queue").text


def test_no_name_of_a_patient_stands_in_any_list(clinic: Clinic):
    signed(clinic)
    clinic.offered("A-2")

    for login in EVERYBODY:
        assert "Marked" not in clinic.browser(login).get("/queue").text
    assert "Marked" not in clinic.browser("head").get("/desk").text


def with_one_absent(clinic: Clinic) -> None:
    browser: Browser = clinic.browser("one")
    assert re.search("on duty", browser.get("/queue").text)
    browser.post("/presence", present="0")


@pytest.mark.parametrize("state", list(CaseState))
def test_nobody_outside_the_case_ever_has_a_right_to_it(state: CaseState):
    case = a_case(state=state)
    around = Surroundings(
        consulting=frozenset({"clinic"}), profiles=frozenset(), author_sees_own_report=True
    )
    for role in Role:
        stranger = Person(
            id="u",
            login="u",
            name="U",
            roles=frozenset({role}),
            organisation_id="elsewhere",
            reader_id="r-9",
            patient_ref="somebody",
        )
        assert rights(stranger, case, around) == frozenset()


def test_the_right_to_write_comes_with_holding_alone():
    case = a_case(state=CaseState.READING, holder="r-1")
    around = Surroundings(
        consulting=frozenset({"clinic"}),
        profiles=frozenset({case.profile}),
        author_sees_own_report=True,
    )

    def of(reader_id: str) -> frozenset[Right]:
        person = Person(
            id="u", login="u", name="U", roles=frozenset({Role.CONSULTANT}), reader_id=reader_id
        )
        return rights(person, case, around)

    assert Right.WRITE in of("r-1")
    assert of("r-2") == frozenset()

"""The report editor over HTTP: saving by itself, conflicts, finalising, the lease."""

import re
from datetime import timedelta

import pytest

from reporting import VersionState, report_for_case
from tests.app.clinic import PASSPHRASE, Browser, Clinic
from worklist.case import Case, CaseState

FINDINGS, IMPRESSION = "section-59776-5", "section-19005-8"


def taken(clinic: Clinic) -> tuple[Browser, Case]:
    case = clinic.offered()
    reader = clinic.browser("one")
    reader.get("/queue")
    reader.post(f"/cases/{case.id}/accept")
    reader.get(f"/cases/{case.id}/read")
    return reader, clinic.case()


def revision_in(text: str) -> str:
    found = re.search(r'name="revision" value="(\d+)"', text)
    assert found is not None, text
    return found.group(1)


def test_saving_by_itself_stores_the_text_and_hands_back_the_next_revision(clinic: Clinic):
    reader, case = taken(clinic)
    path = f"/cases/{case.id}/report"
    first = reader.put(path, revision="1", **{FINDINGS: "Clear lungs."})
    second = reader.put(
        path, revision=revision_in(first.text), **{FINDINGS: "Clear lungs.", IMPRESSION: "Normal."}
    )

    assert (first.status_code, second.status_code) == (200, 200)
    assert "<html" not in second.text
    page = reader.get(f"/cases/{case.id}/read").text
    assert "Clear lungs." in page
    assert revision_in(page) == revision_in(second.text)


def test_a_second_window_is_told_and_overwrites_nothing(clinic: Clinic):
    reader, case = taken(clinic)
    path = f"/cases/{case.id}/report"
    reader.put(path, revision="1", **{FINDINGS: "From the first window."})

    late = reader.put(path, revision="1", **{FINDINGS: "From the second window."})

    assert late.status_code == 409
    assert "changed in another window" in late.text
    page = reader.get(f"/cases/{case.id}/read").text
    assert "From the first window." in page
    assert "second window" not in page


def test_what_was_typed_stays_on_the_page_when_it_cannot_be_stored(clinic: Clinic):
    reader, case = taken(clinic)
    reader.get(f"/cases/{case.id}/read")

    answer = reader.post(
        f"/cases/{case.id}/report", revision="1", then="finalise", **{FINDINGS: "Only findings."}
    )

    assert answer.status_code == 422
    assert "Impressions is empty" in answer.text
    assert "Only findings." in answer.text


def test_text_is_shown_as_text_whatever_it_holds(clinic: Clinic):
    reader, case = taken(clinic)
    evil = "</textarea><script>alert(1)</script>"
    reader.write(case, evil, evil)

    page = reader.get(f"/cases/{case.id}/read").text
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_every_saving_renews_the_lease(clinic: Clinic):
    reader, case = taken(clinic)
    clinic.clock.now += timedelta(minutes=40)
    reader.put(f"/cases/{case.id}/report", revision="1", **{FINDINGS: "Slow work."})
    clinic.clock.now += timedelta(minutes=40)
    clinic.settle()

    assert clinic.case().state is CaseState.READING
    clinic.clock.now += timedelta(minutes=61)
    clinic.settle()
    assert clinic.case().state is not CaseState.READING


def test_an_edit_after_finalising_makes_a_new_version_and_the_old_one_cannot_be_signed(
    clinic: Clinic,
):
    reader, case = taken(clinic)
    reader.write(case, "Clear.", "Normal.", then="finalise")
    reader.write(case, "Clear. One more word.", "Normal.", then="finalise")

    old = reader.post(f"/cases/{case.id}/sign", version="1", passphrase=PASSPHRASE)
    assert old.status_code == 409
    assert "version 2 is newer" in old.text
    assert reader.post(f"/cases/{case.id}/sign", version="2", passphrase=PASSPHRASE).is_redirect
    with clinic.parts.database.reading() as tx:
        report = report_for_case(tx, case.id)
    assert report is not None
    assert [v.state for v in report.versions] == [VersionState.SUPERSEDED, VersionState.SEALED]


def test_a_wrong_passphrase_signs_nothing_and_is_in_the_journal(clinic: Clinic):
    reader, case = taken(clinic)
    reader.write(case, "Clear.", "Normal.", then="finalise")

    answer = reader.post(f"/cases/{case.id}/sign", version="1", passphrase="guess")

    assert answer.status_code == 422
    assert "guess" not in answer.text
    journal = clinic.browser("head").get(f"/cases/{case.id}").text
    assert "was refused the signature" in journal
    assert clinic.case().state is CaseState.READING


def test_an_expired_certificate_is_told_and_nothing_is_lost(clinic: Clinic):
    reader, case = taken(clinic)
    reader.write(case, "Clear.", "Normal.", then="finalise")
    clinic.clock.now += timedelta(days=400)
    again = clinic.browser("one")

    answer = again.post(f"/cases/{case.id}/sign", version="1", passphrase=PASSPHRASE)
    if answer.status_code == 403:  # the form is of the page before signing in again
        again.get(f"/cases/{case.id}/read")
        answer = again.post(f"/cases/{case.id}/sign", version="1", passphrase=PASSPHRASE)

    assert answer.status_code == 409
    assert "certificate" in answer.text
    assert "Clear." in again.get(f"/cases/{case.id}/read").text


def test_a_missing_key_is_told(clinic: Clinic):
    reader, case = taken(clinic)
    reader.write(case, "Clear.", "Normal.", then="finalise")
    clinic.engine.key_file("r-one").unlink()

    answer = reader.post(f"/cases/{case.id}/sign", version="1", passphrase=PASSPHRASE)

    assert answer.status_code == 409
    assert "no key of yours" in answer.text


@pytest.mark.parametrize("fields", [{}, {"revision": "x"}, {"revision": "-1"}])
def test_a_saving_without_its_revision_is_refused(clinic: Clinic, fields: dict[str, str]):
    reader, case = taken(clinic)

    answer = reader.put(f"/cases/{case.id}/report", **fields)

    assert answer.status_code == 400


def test_declining_names_a_reason_and_puts_the_case_back(clinic: Clinic):
    case = clinic.offered()
    reader = clinic.browser("one")
    reader.get("/queue")

    assert reader.post(f"/cases/{case.id}/decline", reason="").status_code == 400
    answer = reader.post(f"/cases/{case.id}/decline", reason="needs_other_skill", note="child")

    assert answer.status_code == 303
    assert clinic.case().state is CaseState.QUEUED
    assert "child" in clinic.browser("head").get(f"/cases/{case.id}").text

"""Studies that wait, and those that came too late: each stands somewhere with its reason."""

from tests.app.clinic import BY, Clinic
from tests.app.test_late_images import one_more
from worklist import commands as worklist
from worklist.act import Act
from worklist.case import CancelReason


def test_the_desk_shows_what_is_still_waited_for_and_why(clinic: Clinic):
    desk = clinic.browser("head")
    assert "waited for" in desk.get("/desk").text
    clinic.send()

    page = desk.get("/desk").text
    assert "Images came a moment ago: it is whole when nothing comes for a while." in page
    clinic.settle()
    page = desk.get("/desk").text
    assert "Images came a moment ago" not in page
    assert "No request asks for this study." in page


def test_the_page_of_a_case_says_why_its_study_counts_as_whole(clinic: Clinic):
    case = clinic.offered()

    page = clinic.browser("east").get(f"/cases/{case.id}").text
    assert "A request asks for it, and nothing more came for the quiet time." in page


def test_late_images_of_a_case_that_was_called_off_stand_on_the_desk(clinic: Clinic):
    case = clinic.offered()
    with clinic.parts.database.transaction() as tx:
        worklist.cancel(tx, case.id, CancelReason.BY_SITE, act=Act(tx.at, BY))
    clinic.settle()
    desk = clinic.browser("head")
    assert "The request for this study was cancelled." not in desk.get("/desk").text
    one_more(clinic, 1)

    assert "The request for this study was cancelled." in desk.get("/desk").text
    assert clinic.case().late_version is None

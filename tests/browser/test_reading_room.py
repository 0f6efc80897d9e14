"""What a consultant does in a browser: sign in, accept, look, write, finalise, sign.

Not covered here: the other roles' pages, which need no script (tests/app).
"""

import re
from datetime import timedelta

import pytest
from playwright.sync_api import Page, expect

from tests.app.clinic import PASSPHRASE, Clinic
from tests.browser.conftest import sign_in
from worklist.case import CaseState

WCAG = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}}


def open_reading(page: Page, clinic: Clinic) -> None:
    clinic.offered()
    sign_in(page, clinic, "one")
    page.get_by_role("button", name="Accept and read").click()
    page.wait_for_url("**/read")


def test_a_case_is_read_and_signed_in_the_browser(page: Page, clinic: Clinic):
    open_reading(page, clinic)
    expect(page.get_by_text("Marked Patient")).to_be_visible()
    expect(page.get_by_text("not for diagnosis")).to_be_visible()
    page.wait_for_function("document.querySelector('#image').naturalWidth > 0")

    page.get_by_label("Findings").fill("The lungs are clear.")
    expect(page.locator("#save-state")).to_contain_text("Saved")
    page.get_by_label("Impression").fill("No acute disease.")
    page.get_by_role("button", name="Finalise for signing").click()

    page.get_by_label("Passphrase of your key").fill("wrong")
    page.get_by_role("button", name="Sign", exact=True).click()
    expect(page.get_by_role("alert").filter(has_text="passphrase")).to_be_visible()
    page.get_by_label("Passphrase of your key").fill(PASSPHRASE)
    page.get_by_role("button", name="Sign", exact=True).click()

    expect(page.get_by_role("link", name="Signed PDF")).to_be_visible()
    clinic.settle()
    assert clinic.case().state is CaseState.COMPLETED
    page.reload()
    expect(
        page.get_by_text("The document is filed and the requester was told.").first
    ).to_be_visible()


def test_what_is_typed_is_stored_without_a_button_and_survives_a_reload(page: Page, clinic: Clinic):
    open_reading(page, clinic)
    page.get_by_label("Findings").fill("Nothing was pressed.")
    expect(page.locator("#save-state")).to_contain_text("Saved 2026")

    page.reload()

    expect(page.get_by_label("Findings")).to_have_value("Nothing was pressed.")


def test_a_second_window_is_told_that_the_text_was_changed(page: Page, clinic: Clinic):
    open_reading(page, clinic)
    other = page.context.new_page()
    other.goto(page.url)
    page.get_by_label("Findings").fill("From the first window.")
    expect(page.locator("#save-state")).to_contain_text("Saved 2026")

    other.get_by_label("Findings").fill("From the second window.")

    expect(other.locator("#save-state")).to_contain_text("changed in another window")
    expect(other.get_by_label("Findings")).to_have_value("From the second window.")


def test_a_line_that_is_down_is_shown_and_saving_goes_on_after_it(page: Page, clinic: Clinic):
    open_reading(page, clinic)
    page.context.set_offline(True)
    page.get_by_label("Findings").fill("Written without a line.")
    expect(page.locator("#save-state")).to_contain_text("Not saved")

    page.context.set_offline(False)
    page.get_by_label("Impression").fill("Normal.")
    expect(page.locator("#save-state")).to_contain_text("Saved 2026")
    page.reload()
    expect(page.get_by_label("Findings")).to_have_value("Written without a line.")


def test_a_session_that_ended_is_told_and_the_text_stays(page: Page, clinic: Clinic):
    open_reading(page, clinic)
    clinic.clock.now += timedelta(hours=2)
    page.get_by_label("Findings").fill("Too late.")

    expect(page.locator("#problem")).to_contain_text("Sign in")
    expect(page.get_by_label("Findings")).to_have_value("Too late.")


def test_the_whole_way_goes_by_keyboard_alone(page: Page, clinic: Clinic):
    clinic.offered()
    sign_in(page, clinic, "one")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Accept and read")).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url("**/read")
    page.get_by_label("Findings").focus()
    page.keyboard.type("Typed.")
    expect(page.locator("#save-state")).to_contain_text("Saved 2026")


def test_offers_appear_by_themselves(page: Page, clinic: Clinic):
    sign_in(page, clinic, "one")
    expect(page.get_by_text("Nothing is offered to you now.")).to_be_visible()
    clinic.offered()

    page.evaluate("document.querySelector('[data-refresh]').dispatchEvent(new Event('refresh'))")

    expect(page.get_by_role("button", name="Accept and read")).to_be_visible()


def test_everything_works_without_scripts(page_without_scripts: Page, clinic: Clinic):
    page = page_without_scripts
    open_reading(page, clinic)
    page.get_by_label("Findings").fill("By hand.")
    page.get_by_label("Impression").fill("By hand too.")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_label("Findings")).to_have_value("By hand.")
    page.get_by_role("button", name="Finalise for signing").click()
    page.get_by_label("Passphrase of your key").fill(PASSPHRASE)
    page.get_by_role("button", name="Sign", exact=True).click()

    expect(page.get_by_role("link", name="Signed PDF")).to_be_visible()


@pytest.mark.parametrize(
    ("login", "paths"),
    [
        ("one", ["/queue", "/cases/{case}"]),
        ("head", ["/queue", "/desk", "/cases/{case}", "/health", "/nowhere"]),
        ("east", ["/queue", "/cases/{case}"]),
    ],
)
def test_pages_meet_wcag_aa_as_far_as_a_program_can_say(
    page: Page, clinic: Clinic, axe: str, login: str, paths: list[str]
):
    case = clinic.offered()
    clinic.ask("A-9", "P-9")
    clinic.send("A-8", "P-8")
    clinic.settle()
    sign_in(page, clinic, login)
    for path in paths:
        page.goto(clinic.server.url + path.format(case=case.id))
        assert violations(page, axe) == [], path


def test_the_reading_page_and_the_sign_in_page_meet_wcag_aa(page: Page, clinic: Clinic, axe: str):
    page.goto(f"{clinic.server.url}/sign-in")
    assert violations(page, axe) == []
    open_reading(page, clinic)
    assert violations(page, axe) == []
    page.get_by_label("Findings").fill("A.")
    page.get_by_label("Impression").fill("B.")
    page.get_by_role("button", name="Finalise for signing").click()
    expect(page.get_by_label("Passphrase of your key")).to_be_visible()
    assert violations(page, axe) == []


def violations(page: Page, axe: str) -> list[tuple[str, list[str]]]:
    page.evaluate(axe)
    found = page.evaluate("options => axe.run(document, options)", WCAG)
    return [
        (v["id"], [re.sub(r"\s+", " ", n["html"])[:120] for n in v["nodes"]])
        for v in found["violations"]
    ]

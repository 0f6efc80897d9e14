"""A real browser before the whole engine."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.app.clinic import PASSWORD, Clinic
from tests.browser.axe import axe_source
from tests.services.missing import required


@pytest.fixture
def clinic(tmp_path: Path) -> Iterator[Clinic]:
    """A whole engine with its people, and nothing sent yet."""
    made = Clinic(tmp_path / "data")
    yield made
    made.close()


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """A fresh window in which no script error and no blocked content goes unnoticed."""
    context = chromium.new_context(viewport={"width": 1400, "height": 900})
    opened = context.new_page()
    opened.set_default_timeout(20_000)
    faults: list[str] = []
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on(
        "console",
        lambda said: faults.append(said.text) if "Content Security Policy" in said.text else None,
    )
    yield opened
    context.close()
    assert faults == []


@pytest.fixture
def page_without_scripts(chromium: Browser) -> Iterator[Page]:
    """A window in which no script runs."""
    context = chromium.new_context(java_script_enabled=False)
    opened = context.new_page()
    opened.set_default_timeout(20_000)
    yield opened
    context.close()


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The source of axe-core."""
    with required():
        return axe_source(tmp_path_factory.mktemp("axe"))


def sign_in(page: Page, clinic: Clinic, login: str) -> None:
    """Sign in through the page."""
    page.goto(f"{clinic.server.url}/sign-in")
    page.get_by_label("Login").fill(login)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/queue")
